"""A model of a given shape with random weights and its own tokenizer: nothing is downloaded.

One byte is one token. The rest of the vocabulary are words that no text contains, and the special
tokens of a run at the end. The cost of a step or a token does not depend on the weights.
"""

import json
from pathlib import Path
from typing import Any

from preflexor_pl.core.markers import MARKERS

DATA = Path(__file__).parent / "data"
END = "<|im_end|>"
SPECIAL = ("<|endoftext|>", END, *MARKERS)


def config_of(name: str) -> Any:
    """The transformers config ``benchmarks/data/<name>.json``."""
    from transformers import AutoConfig

    settings = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return AutoConfig.for_model(settings.pop("model_type"), **settings)


def tokenizer_of(size: int) -> Any:
    """A tokenizer of ``size`` tokens: bytes, unused words, and special tokens at the end."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = sorted(pre_tokenizers.ByteLevel.alphabet())
    names += [f"w{number}" for number in range(len(names), size - len(SPECIAL))]
    vocabulary = {name: number for number, name in enumerate([*names, *SPECIAL])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token=END,
        pad_token=SPECIAL[0],
        additional_special_tokens=list(MARKERS),
    )


def save_random_model(name: str, folder: Path, device: Any) -> Path:
    """Save weights in bfloat16 and the tokenizer, and return the folder.

    Args:
        name: name of the config in ``data``.
        folder: folder to save in.
        device: device to draw the weights on.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = config_of(name)
    tokenizer = tokenizer_of(config.vocab_size)
    config.eos_token_id, config.bos_token_id = tokenizer.eos_token_id, None
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
