"""Writes the result of a phase: a folder that plain peft and transformers load, with a card."""

import json
from pathlib import Path
from typing import Any

import torch

from preflexor_pl.policy.adapters import ADAPTER
from preflexor_pl.policy.language_model import LanguageModel
from preflexor_pl.policy.load import dtype_name
from preflexor_pl.policy.previous_phase import CARD, WEIGHTS, PreviousPhase

_HEAD = """---
base_model: {model}
library_name: {library}
tags: [preflexor_pl, preference-optimisation, reasoning]
---
# {title}

"""

_ADAPTER = """LoRA weights and the rows of the thinking markers, trained by preflexor_pl. The
tokenizer in this folder has the markers that the tokenizer of the base model lacks; the values that
their rows started with are in `base.json`.{stacked}

```python
import json, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "{folder}"
known = json.load(open(f"{{folder}}/base.json"))
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(known["location"], dtype=torch.{dtype})
if len(tokenizer) > model.get_input_embeddings().num_embeddings:
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
with torch.no_grad():
    for table, rows in known["first_rows"].items():
        for token, row in rows.items():
            getattr(model, f"get_{{table}}_embeddings")().weight[int(token)] = torch.tensor(row)
{load}
```
"""

_ALONE = "model = PeftModel.from_pretrained(model, folder)"
_STACK = """names = known["phases"]
model = PeftModel.from_pretrained(model, f"{folder}/{names[0]}", adapter_name=names[0])
for name in names[1:]:
    model.load_adapter(f"{folder}/{name}", adapter_name=name)
model.load_adapter(folder, adapter_name="default")
model.base_model.set_adapter([*names, "default"])"""
_STACKED = " The adapters of earlier phases are in {names}; all of them are on together."

_WHOLE = """Every weight of {model}, trained by preflexor_pl.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = AutoModelForCausalLM.from_pretrained("{folder}")
```
"""

_TAIL = """
Ask with the trigger that it was trained with: `How does nacre resist cracks? {trigger}`
Its answers have the form of reasoning; check whether they are true.
"""


def write_newest(policy: LanguageModel, folder: Path) -> None:
    """Save the adapter that trains and its marker rows, in peft's own format."""
    policy.model.save_pretrained(folder, selected_adapters=[ADAPTER], save_embedding_layers=False)


def write_adapter(
    policy: LanguageModel, start: PreviousPhase | None, trained_rows: list[int], folder: Path
) -> None:
    """Save all adapters, marker rows, tokenizer, ``base.json`` and a model card into ``folder``.

    Args:
        policy: a peft model with the adapters of all phases.
        start: what the phases before left; None in a first phase.
        trained_rows: ids of the markers whose rows this phase trained.
        folder: is there already.
    """
    write_newest(policy, folder)
    phases = [name for name in policy.model.peft_config if name != ADAPTER]
    for phase in phases:
        _write_earlier(policy.model, phase, folder / phase)
    inner = policy.inner
    tables = {"input": inner.get_input_embeddings(), "output": inner.get_output_embeddings()}
    record = {
        **_record(policy, start, trained_rows),
        "phases": phases,
        "first_rows": {name: _rows(table, policy.marker_ids) for name, table in tables.items()},
    }
    names = ", ".join(f"`{name}/`" for name in phases)
    body = _ADAPTER.format(
        folder=folder.as_posix(),
        dtype=record["dtype"],
        stacked=_STACKED.format(names=names) if phases else "",
        load=_STACK if phases else _ALONE,
    )
    _finish(policy, folder, record, "peft", f"A thinking adapter for {policy.source.name}", body)


def _write_earlier(model: Any, phase: str, folder: Path) -> None:
    """Save an earlier phase's matrices; ``first_rows`` has its marker rows.

    Not by peft, which looks for the rows of every adapter where one has any.
    """
    from safetensors.torch import save_file

    model.peft_config[phase].save_pretrained(str(folder))
    weights = {
        name.replace(f".{phase}", ""): p.detach().cpu().contiguous()
        for name, p in model.named_parameters()
        if f".{phase}." in name
    }
    save_file(weights, folder / WEIGHTS)


def write_whole(
    policy: LanguageModel, start: PreviousPhase | None, trained_rows: list[int], folder: Path
) -> None:
    """Save every weight, the tokenizer, ``base.json`` and a model card into ``folder``.

    Args:
        policy: a transformers model.
        start: what the phases before left; None in a first phase.
        trained_rows: ids of the markers whose rows this phase trained.
        folder: is there already.
    """
    policy.model.save_pretrained(folder)
    none = {"phases": [], "first_rows": {}, "under": "", "under_sha256": ""}
    record = {**_record(policy, start, trained_rows), **none, "whole": True}
    name = policy.source.name
    body = _WHOLE.format(model=name, folder=folder.as_posix())
    _finish(policy, folder, record, "transformers", f"A thinking model from {name}", body)


def _record(
    policy: LanguageModel, start: PreviousPhase | None, trained_rows: list[int]
) -> dict[str, Any]:
    """What ``base.json`` says of every artifact."""
    names = policy.tokenizer.convert_ids_to_tokens
    base_weights = start.base_weights if start else ""
    new = {names(i): i for i in policy.new_ids}
    return {
        "model": policy.source.name,
        "location": base_weights or policy.source.location,
        "under": base_weights,
        "under_sha256": start.base_weights_sha256 if start else "",
        "sha256": policy.source.sha256,
        "dtype": dtype_name(policy.inner.dtype),
        "end_of_turn": names(policy.end_id),
        "added_tokens": new or (start.known["added_tokens"] if start else {}),
        "trained_markers": [*(start.trained_markers if start else []), *names(trained_rows)],
        **policy.strings.record,
    }


def _finish(
    policy: LanguageModel, folder: Path, record: dict[str, Any], library: str, title: str, body: str
) -> None:
    policy.tokenizer.save_pretrained(folder)
    head = _HEAD.format(model=policy.source.name, library=library, title=title)
    tail = _TAIL.format(trigger=policy.strings.suffix.strip())
    (folder / "README.md").write_text(head + body + tail, encoding="utf-8")
    (folder / CARD).write_text(json.dumps(record), encoding="utf-8")


@torch.no_grad()
def _rows(table: Any, ids: list[int]) -> dict[str, list[float]]:
    weight = getattr(table, "original_module", table).weight  # as it was before training
    return {str(i): weight[i].float().tolist() for i in ids}
