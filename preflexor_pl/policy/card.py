"""The adapter's folder: what plain peft and transformers need to load it, and a card for people."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preflexor_pl.policy.policy import Policy

_CARD = """---
base_model: {model}
library_name: peft
tags: [preflexor_pl, preference-optimisation, reasoning]
---
# A thinking adapter for {model}

LoRA weights and the rows of the thinking markers, trained by preflexor_pl. The tokenizer in this
folder has the markers that the base model's lacks; their first rows are in `base.json`.

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
model = PeftModel.from_pretrained(model, folder)
```

Ask with the trigger it was trained with: `How does nacre resist cracks? Use <|thinking|>.`
What it writes has the form of reasoning; whether it is true is for you to check.
"""


def write_adapter(policy: "Policy", folder: Path) -> None:
    """Save adapter, marker rows, tokenizer, ``base.json`` and a model card into ``folder``."""
    policy.model.save_pretrained(folder, save_embedding_layers=False)
    policy.tokenizer.save_pretrained(folder)
    inner = policy.inner
    tables = {"input": inner.get_input_embeddings(), "output": inner.get_output_embeddings()}
    base = {
        "model": policy.source.name,
        "location": policy.source.location,
        "sha256": policy.source.sha256,
        "dtype": str(policy.inner.dtype).removeprefix("torch."),
        "added_tokens": {policy.tokenizer.convert_ids_to_tokens(i): i for i in policy.new_ids},
        "first_rows": {name: _rows(table, policy.new_ids) for name, table in tables.items()},
    }
    (folder / "base.json").write_text(json.dumps(base), encoding="utf-8")
    card = _CARD.format(model=policy.source.name, folder=folder.as_posix(), dtype=base["dtype"])
    (folder / "README.md").write_text(card, encoding="utf-8")


def _rows(table: Any, ids: list[int]) -> dict[str, list[float]]:
    weight = getattr(table, "original_module", table).weight  # as it was before training
    return {str(i): weight[i].float().tolist() for i in ids}
