"""Tiny random models of the causal-LM families of transformers, with tests.tiny's letter tokenizer.

One row a family or variant: the beginning of its classes' names, and what its config needs beside
``SIZES``. Every row is built in well under a second.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.tiny import TEMPLATE, tiny_tokenizer

WINDOW = 16  # tokens that a layer with a sliding window sees: two layers reach over the padding
SIZES = {  # of these each config takes the keys that it knows
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512,
    "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "num_experts": 4,
    "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "initializer_range": 0.2, "sliding_window": WINDOW,
    "bos_token_id": None, "pad_token_id": None, "tie_word_embeddings": True,
}  # fmt: skip
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
          "v_head_dim": 8, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
          "num_key_value_heads": 4, "head_dim": None}  # fmt: skip
MIXED = {"layer_types": ["sliding_attention", "full_attention"]}
LINEAR = {"layer_types": ["linear_attention", "full_attention"]}
CONVOLVED = {"layer_types": ["conv", "full_attention"]}
MAMBA2 = {"mamba_d_state": 8, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1,
          "mamba_chunk_size": 16}  # fmt: skip
FULL = {"sliding_window": None}


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        family: the beginning of its classes' names.
        options: of its config; None leaves out one of ``SIZES``.
        config: its config's whole name, where it begins otherwise.
        model: its class's whole name, where it is not ``<family>ForCausalLM``.
        kind: ``attention``, ``experts``, ``hybrid`` (attention beside a recurrent state) or
            ``state`` (a recurrent state alone).
    """

    family: str
    options: dict[str, Any] = field(default_factory=dict)
    config: str = ""
    model: str = ""
    kind: str = "attention"


def _f(family: str, *options: dict[str, Any], **more: Any) -> Family:
    merged = {key: value for each in options for key, value in each.items()}
    return Family(family, merged, **more)


FAMILIES = {
    # attention in every layer
    "llama": _f("Llama"),
    "llama, untied": _f("Llama", {"tie_word_embeddings": False}),
    "apertus": _f("Apertus"),
    "arcee": _f("Arcee"),
    "bitnet": _f("BitNet"),
    "biogpt": _f("BioGpt"),
    "bloom": _f("Bloom"),
    "codegen": _f("CodeGen", {"rotary_dim": 4, "n_ctx": 512}),
    "cohere": _f("Cohere", {"logit_scale": 0.25}),
    "cohere2": _f("Cohere2", MIXED),
    "ctrl": _f("CTRL", {"dff": 48}, model="CTRLLMHeadModel"),
    "cwm": _f("Cwm", MIXED, {"bos_token_id": 1}),
    "diffllama": _f("DiffLlama"),
    "doge": _f("Doge"),
    "ernie4_5": _f("Ernie4_5"),
    "exaone4": _f("Exaone4", MIXED),
    "falcon": _f("Falcon"),
    "falcon, alibi": _f("Falcon", {"alibi": True, "new_decoder_architecture": False}),
    "gemma": _f("Gemma"),
    "gemma2": _f(
        "Gemma2",
        {"query_pre_attn_scalar": 8, "final_logit_softcapping": 30.0,
         "attn_logit_softcapping": 50.0},
    ),
    "gemma3": _f(
        "Gemma3", MIXED, {"query_pre_attn_scalar": 8}, config="Gemma3TextConfig",
    ),
    "gemma4": _f(
        "Gemma4", MIXED,
        {"vocab_size_per_layer_input": 300, "hidden_size_per_layer_input": 8,
         "global_head_dim": 8, "num_kv_shared_layers": 0},
        config="Gemma4TextConfig",
    ),
    "glm": _f("Glm"),
    "glm4": _f("Glm4"),
    "gpt2": _f("GPT2", model="GPT2LMHeadModel"),
    "gpt_bigcode": _f("GPTBigCode"),
    "gpt_neo": _f(
        "GPTNeo",
        {"attention_types": [[["global", "local"], 1]], "window_size": WINDOW},
    ),
    "gpt_neox": _f("GPTNeoX"),
    "gptj": _f("GPTJ", {"rotary_dim": 4}),
    "granite": _f("Granite", {"logits_scaling": 4.0, "embedding_multiplier": 2.0}),
    "helium": _f("Helium"),
    "hunyuan_v1_dense": _f("HunYuanDenseV1"),
    "hyperclovax": _f("HyperCLOVAX"),
    "jais2": _f("Jais2"),
    "minicpm3": _f("MiniCPM3", LATENT),
    "ministral": _f("Ministral", MIXED),
    "ministral3": _f("Ministral3", FULL),
    "mistral": _f("Mistral", FULL),
    "mistral, window": _f("Mistral"),
    "modernbert-decoder": _f(
        "ModernBertDecoder", MIXED,
        {"pad_token_id": 0, "bos_token_id": 1, "local_attention": WINDOW},
    ),
    "mpt": _f("Mpt", {"max_seq_len": 512}),
    "nanochat": _f("NanoChat"),
    "nemotron": _f("Nemotron"),
    "olmo": _f("Olmo"),
    "olmo2": _f("Olmo2"),
    "olmo3": _f("Olmo3", MIXED),
    "openai-gpt": _f("OpenAIGPT", model="OpenAIGPTLMHeadModel"),
    "opt": _f("OPT", {"ffn_dim": 48, "word_embed_proj_dim": 32, "pad_token_id": 1}),
    "persimmon": _f("Persimmon"),
    "phi": _f("Phi", {"tie_word_embeddings": False}),
    "phi3": _f("Phi3", FULL, {"pad_token_id": 0}),
    "phi3, window": _f("Phi3", {"pad_token_id": 0}),
    "phi3, longrope": _f(
        "Phi3", FULL,
        {"pad_token_id": 0, "original_max_position_embeddings": 256,
         "rope_parameters": {"rope_type": "longrope", "short_factor": [1.0] * 4,
                             "long_factor": [4.0] * 4}},
    ),
    "qwen2": _f("Qwen2"),
    "qwen2, window": _f("Qwen2", MIXED, {"use_sliding_window": True}),
    "qwen3": _f("Qwen3"),
    "qwen3, window": _f("Qwen3", MIXED, {"use_sliding_window": True}),
    "seed_oss": _f("SeedOss"),
    "smollm3": _f("SmolLM3", FULL, {"pad_token_id": 0}),
    "stablelm": _f("StableLm"),
    "starcoder2": _f("Starcoder2", FULL),
    "starcoder2, window": _f("Starcoder2"),
    "vaultgemma": _f("VaultGemma", MIXED, {"query_pre_attn_scalar": 8}),
    "xglm": _f("XGLM", {"ffn_dim": 48, "pad_token_id": 1}),
    "youtu": _f("Youtu", LATENT),
    # decoders of encoder families
    "bart": _f(
        "Bart",
        {"decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 48,
         "pad_token_id": 1},
    ),
    "bert, decoder": _f("Bert", {"is_decoder": True, "pad_token_id": 0}, model="BertLMHeadModel"),
    "big_bird": _f(
        "BigBird", {"is_decoder": True, "attention_type": "original_full", "pad_token_id": 0}
    ),
    # experts
    "afmoe": _f("Afmoe", kind="experts"),
    "cohere2_moe": _f("Cohere2Moe", kind="experts"),
    "deepseek_v2": _f("DeepseekV2", LATENT, kind="experts"),
    "deepseek_v3": _f("DeepseekV3", LATENT, kind="experts"),
    "dots1": _f("Dots1", FULL, LATENT, {"head_dim": 8}, kind="experts"),
    "ernie4_5_moe": _f("Ernie4_5_Moe", {"moe_num_experts": 4, "moe_k": 2}, kind="experts"),
    "exaone_moe": _f("ExaoneMoe", MIXED, kind="experts"),
    "flex_olmo": _f("FlexOlmo", kind="experts"),
    "glm4_moe": _f("Glm4Moe", {"first_k_dense_replace": 1}, kind="experts"),
    "gpt_oss": _f("GptOss", MIXED, kind="experts"),
    "granitemoe": _f("GraniteMoe", {"logits_scaling": 4.0}, kind="experts"),
    "granitemoeshared": _f("GraniteMoeShared", {"shared_intermediate_size": 16}, kind="experts"),
    "hunyuan_v1_moe": _f("HunYuanMoEV1", {"moe_topk": 2}, kind="experts"),
    "jetmoe": _f("JetMoe", {"kv_channels": 8, "num_key_value_heads": 2}, kind="experts"),
    "llama4": _f(
        "Llama4", {"intermediate_size_mlp": 48, "attention_chunk_size": WINDOW,
                   "num_experts_per_tok": 1, "tie_word_embeddings": False,
                   "no_rope_layers": [1, 0]},
        config="Llama4TextConfig", kind="experts",
    ),
    "minimax_m2": _f("MiniMaxM2", kind="experts"),
    "mixtral": _f("Mixtral", FULL, kind="experts"),
    "olmoe": _f("Olmoe", kind="experts"),
    "phimoe": _f("Phimoe", FULL, {"pad_token_id": 0}, kind="experts"),
    "qwen2_moe": _f("Qwen2Moe", FULL, kind="experts"),
    "qwen2_moe, window": _f(
        "Qwen2Moe", MIXED, {"use_sliding_window": True, "max_window_layers": 0}, kind="experts"
    ),
    "qwen3_moe": _f("Qwen3Moe", FULL, kind="experts"),
    # attention beside a recurrent state
    "bamba": _f("Bamba", MAMBA2, {"attn_layer_indices": [1]}, kind="hybrid"),
    "falcon_h1": _f("FalconH1", MAMBA2, {"mamba_d_ssm": 64}, kind="hybrid"),
    "granitemoehybrid": _f(
        "GraniteMoeHybrid", MAMBA2,
        {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 16}, kind="hybrid",
    ),
    "jamba": _f(
        "Jamba",
        {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
         "expert_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 4,
         "use_mamba_kernels": False},
        kind="hybrid",
    ),
    "lfm2": _f("Lfm2", CONVOLVED, kind="hybrid"),
    "lfm2_moe": _f("Lfm2Moe", CONVOLVED, {"num_dense_layers": 1}, kind="hybrid"),
    "minimax": _f("MiniMax", LINEAR, {"block_size": 16}, kind="hybrid"),
    "nemotron_h": _f(
        "NemotronH",
        {"hybrid_override_pattern": "M*-", "num_hidden_layers": 3, "mamba_num_heads": 4,
         "mamba_head_dim": 16, "ssm_state_size": 8, "n_groups": 1, "chunk_size": 16,
         "use_mamba_kernels": False},
        kind="hybrid",
    ),
    "olmo_hybrid": _f("OlmoHybrid", LINEAR, kind="hybrid"),
    "qwen3_5": _f("Qwen3_5", LINEAR, config="Qwen3_5TextConfig", kind="hybrid"),
    "qwen3_5_moe": _f("Qwen3_5Moe", LINEAR, config="Qwen3_5MoeTextConfig", kind="hybrid"),
    "qwen3_next": _f("Qwen3Next", LINEAR, kind="hybrid"),
    "recurrent_gemma": _f(
        "RecurrentGemma",
        {"lru_width": 32, "attention_window_size": WINDOW,
         "block_types": ["recurrent", "attention"]},
        kind="hybrid",
    ),
    "zamba2": _f(
        "Zamba2",
        {"layer_types": ["mamba", "hybrid"], "layers_block_type": ["mamba", "hybrid"],
         "mamba_d_state": 8, "n_mamba_heads": 4, "mamba_headdim": 16, "mamba_ngroups": 1,
         "chunk_size": 16, "num_mem_blocks": 1, "use_mamba_kernels": False},
        kind="hybrid",
    ),
    # a recurrent state alone
    "falcon_mamba": _f("FalconMamba", {"state_size": 8}, kind="state"),
    "mamba": _f("Mamba", {"state_size": 8}, kind="state"),
    "mamba2": _f(
        "Mamba2",
        {"state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 16},
        kind="state",
    ),
    "rwkv": _f("Rwkv", {"context_length": 512}, kind="state"),
    "xlstm": _f("xLSTM", {"num_heads": 4, "num_blocks": 2}, kind="state"),
}  # fmt: skip


def save_family(folder: Path, name: str, template: str | None = TEMPLATE, **options: Any) -> Path:
    """Save a tiny random model of the family ``name`` with its tokenizer; the folder.

    ``options``: of its config, over those of the row.
    """
    import torch
    import transformers

    row = FAMILIES[name]
    tokenizer = tiny_tokenizer(template)
    ids = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    kind = getattr(transformers, row.config or f"{row.family}Config")
    known = {key: value for key, value in SIZES.items() if key in _keys(kind)}
    given = {
        key: value
        for key, value in (known | row.options | options).items()
        if value is not None or SIZES.get(key, 0) is None or key == "sliding_window"
    }
    config = kind(**ids, **given)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, row.model or f"{row.family}ForCausalLM")(config)
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _keys(config: Any) -> set[str]:
    annotated = {key for each in config.__mro__ for key in getattr(each, "__annotations__", {})}
    return annotated | set(getattr(config, "attribute_map", {}))
