"""One screen of help: the keys that people change, with what their docstrings say of them."""

import shutil
from typing import Any

from jsonargparse import ArgumentParser

from preflexor_pl.cli.config_keys import actions_of

KEYS = {
    "A run": ["config", "run", "fresh", "ckpt_path", "seed_everything", "print_config", "debug"],
    "Model and loss": [
        "model.policy.model_name",
        "model.policy.dtype",
        "model.policy.quantization",
        "model.policy.start_from",
        "model.policy.lora.rank",
        "model.loss",
        "model.lr",
    ],
    "Corpus and pairs": [
        "data.corpus",
        "data.embedder",
        "data.chunk_tokens",
        "data.topics",
        "data.pairs_per_round",
        "data.epochs_per_round",
        "data.pairs_per_step",
        "data.tokens_per_micro_batch",
        "data.max_length",
        "data.held_out",
        "data.held_out_questions",
        "data.masking",
        "data.rejected",
        "data.reflection",
        "data.system_prompt",
        "data.prompts",
        "data.teacher.model_name",
        "data.teacher.server.base_url",
        "data.teacher.server.model",
    ],
    "Trainer": ["trainer.max_epochs", "trainer.accelerator"],
}
WIDTHS = 80, 120  # letters of a line


def short_help(parser: ArgumentParser) -> str:
    """The help of the keys in ``KEYS``, a line each, with the default where there is one."""
    actions = dict(actions_of(parser))
    flags = {key: f"  --{key}{_default(actions[key])}" for keys in KEYS.values() for key in keys}
    column = max(map(len, flags.values())) + 2
    width = min(max(shutil.get_terminal_size().columns, WIDTHS[0]), WIDTHS[1]) - column
    lines = [f"usage: {parser.usage}", ""]
    for title, keys in KEYS.items():
        lines.append(f"{title}:")
        for key in keys:
            told = " ".join((actions[key].help or "").split()).replace("``", "")
            lines.append(f"{flags[key]:<{column}}{_clause(told, width)}")
    lines += ["", "A value beside a key is its default. --help_all lists every key."]
    return "\n".join(lines) + "\n"


def _default(action: Any) -> str:
    """The default, where it is a plain value."""
    value = action.default
    if isinstance(value, bool):
        return f" {str(value).lower()}"
    return f" {value}" if isinstance(value, int | float | str) and len(str(value)) < 12 else ""


def _clause(text: str, width: int) -> str:
    """The first sentence, or as many of its words as have room."""
    text = text.partition(". ")[0].partition("; ")[0].rstrip(".")
    if len(text) <= width:
        return text
    return text[: width - 1].rpartition(" ")[0].rstrip(",;:") + "…"
