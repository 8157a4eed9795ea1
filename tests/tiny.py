"""A model with 2 layers and a letter-by-letter tokenizer: real classes, random weights, quick.

One byte is one token, so expected ids can be read: ``letters(tokenizer, ids)`` shows them as text.
"""

from pathlib import Path
from typing import Any

from preflexor_pl.pairs.pair import PreferencePair

TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n{{ turn['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEAD = "<|im_start|>system\nBe kind.<|im_end|>\n"  # what the template puts first by itself

PAIR = PreferencePair(
    id="0000-0001",
    prompt="Why is silk tough? Use <|thinking|>.",
    chosen="<|thinking|>\nIt bends.\n<|/thinking|>\nIt bends.",
    rejected="Because.",
    round=0,
    topic="",
    chunk_ids=["silk.md#0"],
    teacher="base",
    rejected_source="policy",
    policy_step=0,
    seed=2**62,
    finish_reason="stop",
)


def tiny_tokenizer(template: str | None = TEMPLATE, **options: Any) -> Any:
    """One token a byte, ChatML's special tokens, and no marker."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: place for place, letter in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
    options = {"eos_token": "<|im_end|>"} | options
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)
    made.chat_template = template
    return made


def save_tiny_model(
    folder: Path,
    seed: int = 0,
    tied: bool = True,
    family: str = "Llama",
    config: str = "",
    template: str | None = TEMPLATE,
    **options: Any,
) -> Path:
    """Save a random model of about 30 thousand weights with its tokenizer; the folder.

    ``family``: the beginning of its classes' names in transformers; ``config``: its config's whole
    name, where it begins otherwise.
    """
    import torch
    import transformers

    tokenizer = tiny_tokenizer(template)
    settings = getattr(transformers, config or f"{family}Config")(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.2,  # logits far enough apart for likeliest tokens without ties
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
        **options,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        getattr(transformers, f"{family}ForCausalLM")(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_thinking_model(folder: Path) -> Path:
    """Save a tiny model with the tokens <think> and </think>, whose template begins to think."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    begins = TEMPLATE.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
    save_tiny_model(folder, template=begins)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<think>", "</think>"])  # not special: as Qwen3 has them
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_policy(
    folder: Path, seed: int = 0, reflection: bool = False, reference: bool = False, **settings: Any
) -> Any:
    """A Policy on the model in ``folder``, in float32."""
    from preflexor_pl.core.settings import LoRASettings, PolicySettings
    from preflexor_pl.policy.policy import Policy

    options = {"dtype": "float32", "lora": LoRASettings(rank=4, alpha=8)} | settings
    return Policy(PolicySettings(model_name=str(folder), **options), seed, reflection, reference)


def write_ok_yaml(folder: Path, model_folder: Path) -> None:
    """Put ok.yaml there, which trains a tiny model, and a small corpus for it."""
    (folder / "corpus").mkdir()
    for name in ("silk", "bone", "wood"):
        text = " ".join(f"Remark {n} on {name}, which is a tough material." for n in range(6))
        (folder / f"corpus/{name}.md").write_text(text)
    (folder / "ok.yaml").write_text(
        f"model:\n  policy:\n    model_name: {model_folder}\n    dtype: float32\n"
        "  loss:\n    class_path: losses.ORPOLoss\ndata:\n  corpus: corpus\n  held_out: 1\n"
    )


def letters(tokenizer: Any, ids: list[int]) -> str:
    """Every id as the text that it stands for, special tokens included."""
    return tokenizer.decode(ids, skip_special_tokens=False)


def refused(outcome: tuple[int, str, str], code: int, *named: str) -> None:
    """Asserts exit code, one ``error:`` line, and what it names."""
    got, _, stderr = outcome
    lines = stderr.splitlines()
    assert (got, len(lines)) == (code, 1), stderr
    assert lines[0].startswith("error: ")
    for name in named:
        assert name in lines[0]
