"""The table of model families in docs/models.md: ``python -m tests.family_table`` writes it anew.

Each cell is what a tiny random model of the family did, with the shipped settings: tests compare
the page with what they measure.
"""

import re
import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import torch

from losses import ORPOLoss
from preflexor_pl.core.errors import PreflexorError
from preflexor_pl.export import export
from preflexor_pl.policy.adapters import ADAPTER
from preflexor_pl.policy.gradient_check import check_gradients
from preflexor_pl.policy.layout_check import choose_batching
from preflexor_pl.policy.lora_targets import kinds_of, left_out_experts
from preflexor_pl.policy.merge import merged
from tests.families import FAMILIES, save_family
from tests.family_checks import decodes_as_generate
from tests.policy.test_packed import learned, made_of, pairs_of, stirred
from tests.tiny import tiny_policy

PAGE = Path(__file__).parents[1] / "docs/models.md"
COLUMNS = "family", "loads", "decodes", "layout", "adapters", "folds", "exports"
HEAD = "| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS) + "\n"
OFF = 1e-4  # most that float32 may differ, as a share of the largest


def measured(name: str, folder: Path) -> tuple[str, ...]:
    """The cells of the row ``name``; ``folder`` is empty."""
    with redirect_stdout(StringIO()):
        model = save_family(folder / "model", name)
        try:
            policy = tiny_policy(model)
        except PreflexorError as error:
            return name, f"no: {_reason(error, model)}", *[""] * 5
        decodes = decodes_as_generate(policy) or "yes"
        layout = _trains(policy)
        return (
            name,
            "yes",
            decodes,
            layout,
            _adapters(policy),
            _folds(policy),
            _exports(policy, folder),
        )


def _trains(policy) -> str:
    """The layout that serves: transformers' own log-probs, row by row, and gradients of them."""
    check_gradients(policy)
    stirred(policy)
    pairs = pairs_of(policy)
    layout = choose_batching(policy, made_of(policy, "packed"))
    collator = made_of(policy, layout)
    batch = collator(pairs, (0, 0))
    with torch.no_grad():
        ours = [row for pair in batch.by_response(policy.token_logps(batch)) for row in pair]
        theirs = [_alone(policy, p.prompt, side) for p in pairs for side in (p.chosen, p.rejected)]
    for mine, their in zip(ours, theirs, strict=True):
        assert float((mine - their).abs().max()) <= OFF * float(their.abs().max())
    _, loss, gradients = learned(policy, collator, pairs, ORPOLoss())
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    return layout


def _alone(policy, prompt, response):
    logits = policy.inner(input_ids=torch.tensor([prompt + response]), use_cache=False).logits[0]
    logps = logits.float().log_softmax(-1)[len(prompt) - 1 : -1]
    return logps.gather(1, torch.tensor(response)[:, None])[:, 0]


def _adapters(policy) -> str:
    passed_over = policy.model.peft_config[ADAPTER].exclude_modules or ()
    left_out = [kinds_of(sorted(passed_over))] if passed_over else []
    left_out += left_out_experts(policy.model)
    return f"all but {', '.join(left_out)}" if left_out else "yes"


@torch.no_grad()
def _folds(policy) -> str:
    ids = torch.tensor([pairs_of(policy)[0].prompt])
    with policy.model.disable_adapter():
        base = policy.inner(input_ids=ids, use_cache=False).logits
    on = policy.inner(input_ids=ids, use_cache=False).logits
    with merged(policy.model):
        folded = policy.inner(input_ids=ids, use_cache=False).logits
    largest = float(on.abs().max())
    assert float((on - base).abs().max()) > 100 * OFF * largest  # there is something to fold
    return "yes" if float((on - folded).abs().max()) <= OFF * largest else "no: other logits"


def _exports(policy, folder: Path) -> str:
    policy.save(folder / "adapter")
    try:
        export(folder / "adapter", folder / "exported", "float32")
    except PreflexorError as error:
        return f"no: {_reason(error, folder)}"
    return "yes"


def _reason(error: Exception, folder: Path) -> str:
    return str(error).replace(f"{folder}: ", "").replace(str(folder), "").replace("|", "/")


def rows_of_page() -> dict[str, tuple[str, ...]]:
    """The table's rows by family."""
    found = re.findall(r"^\| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    rows = [tuple(cell.strip() for cell in line.split("|")) for line in found]
    return {row[0]: row for row in rows if len(row) == len(COLUMNS) and row != COLUMNS}


def main() -> int:
    """Measure every family and put the table into the page."""
    rows = []
    for name in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            rows.append("| " + " | ".join(measured(name, Path(folder))) + " |\n")
        sys.stderr.write(rows[-1])
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split("<!-- table -->\n")[0], text.split("<!-- end of table -->\n")[1]
    table = f"<!-- table -->\n{HEAD}{''.join(rows)}<!-- end of table -->\n"
    PAGE.write_text(before + table + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
