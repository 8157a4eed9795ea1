"""The card of an exported model: what it is, how it was trained, and under which licences.

It is read from the files of the runs, says what they do not record, and names no local folder.
"""

import contextlib
import json
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.hub import HUB_ID
from preflexor_pl.core.packaged_models import locate
from preflexor_pl.core.tables import as_code
from preflexor_pl.pairs.round_folders import is_complete, read_manifest, round_folders
from preflexor_pl.policy.run_record import at, config_of

if TYPE_CHECKING:
    from preflexor_pl.policy.previous_phase import PreviousPhase

EXPORTED = "Exported by preflexor_pl"  # marks the folders that --overwrite may replace

_CARD = """---
{base}library_name: transformers
pipeline_tag: text-generation
tags: [preflexor_pl, preference-optimisation, reasoning]
---
# A thinking model from {model}

{exported}, in {dtype}: {what}.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

name = {name}
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForCausalLM.from_pretrained(name)
turns = {turns}
asked = tokenizer.apply_chat_template(
    turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
written = model.generate(**asked, max_new_tokens=512)[0, asked["input_ids"].shape[1] :]
print(tokenizer.decode(written))
```

`{trigger}` after a question asks for a thinking section, as in training.

**Form is not truth.** This model was trained to think before it answers. A small model does not
know the subject, its answers read better than they are, and nothing here checked a fact.

{facts}
"""


def what_it_is(start: "PreviousPhase") -> str:
    """The merged parts, in words."""
    count, model = len(start.adapters), _public_name(start.known["model"])
    if not count:
        return f"all of {model}"
    into = f"what all of {model} became in training" if start.base_weights else model
    return f"{count} adapter{'s'[: count - 1]} merged into {into}"


def model_card(tokenizer: Any, lineage: "list[PreviousPhase]", dtype: str, name: str) -> str:
    """The card, in Markdown.

    Args:
        tokenizer: of the exported model.
        lineage: the weights of each phase, the first one first.
        dtype: of the merged weights.
        name: folder or hub id in the snippet that loads the model.
    """
    model = lineage[-1].known["model"]
    on_hub = HUB_ID.fullmatch(model) and not Path(model).exists()
    from preflexor_pl.core.chat import chat_turns
    from preflexor_pl.policy.exported_model import QUESTION

    prompt = QUESTION + lineage[-1].markers.suffix
    turns = chat_turns(tokenizer, prompt, at(config_of(lineage[-1]), "data.system_prompt"))
    return _CARD.format(
        base=f"base_model: {model}\n" if on_hub else "",  # the hub refuses any other
        model=_public_name(model),
        exported=EXPORTED,
        dtype=dtype,
        what=what_it_is(lineage[-1]),
        name=json.dumps(name),
        turns=json.dumps(turns, ensure_ascii=False),
        trigger=lineage[-1].markers.suffix.strip(),
        facts="\n".join(_facts(lineage)),
    )


def _facts(lineage: "list[PreviousPhase]") -> Iterator[str]:
    """Lines of the card: phases, held-out metrics and licences, as far as the runs' files say."""
    from preflexor_pl.core.csv_rows import read_rows
    from preflexor_pl.evaluation.summary import summary_lines

    start, run = lineage[-1], lineage[-1].folder.parent
    count = max(len(start.adapters), len(lineage))
    numbered = zip(range(count - len(lineage) + 1, count + 1), lineage, strict=True)
    runs = [(n, phase.folder.parent, c) for n, phase in numbered if (c := config_of(phase))]
    yield "## Training\n"
    yield from (_phase(*run_of_phase) for run_of_phase in runs)
    if len(runs) < count:
        yield f"- The settings of {count - len(runs)} of {count} phases are not known here."
    if config_of(start) and (rows := read_rows(run / "metrics.csv")):
        questions = _read(run / "held_out/manifest.json").get("pairs")
        yield "\n## Held-out questions, before and after the last phase; measured unmerged\n"
        yield from (f"- {line}" for line in summary_lines({"held_out_questions": questions}, rows))
    yield f"\n## Licences\n\n- base: {_base_licence(start.known['model'])}"
    for corpus in filter(None, dict.fromkeys(at(c, "data.corpus") for _, _, c in runs)):
        yield f"- corpus {as_code(_public_name(corpus))}: {_corpus_licence(Path(corpus))}"


def _phase(number: int, run: Path, config: dict[str, Any]) -> str:
    loss, rank = at(config, "model.loss") or {}, at(config, "model.policy.lora.rank")
    values = ", ".join(f"{key}={value}" for key, value in (loss.get("init_args") or {}).items())
    complete = filter(is_complete, round_folders(run))
    counts = [read_manifest(folder)["pairs"] for folder in complete]
    chunks = run / "graph/chunks.jsonl"
    lines = chunks.read_text(encoding="utf-8").split("\n") if chunks.is_file() else []
    documents = len({json.loads(line)["document"] for line in lines if line})
    parts = [
        as_code(f"{loss.get('class_path', '?').split('.')[-1]}({values})"),
        _rate(config),
        f"{_read(run / 'finished.json').get('epochs', '?')} epochs",
        f"seed {at(config, 'seed_everything')}",
        f"adapter of rank {rank}" if rank else "every weight trained",
        f"{sum(counts)} pairs in {len(counts)} rounds",
        *_origins(config, documents),
    ]
    return f"- phase {number}: {', '.join(parts)}"


def _origins(config: dict[str, Any], documents: int) -> Iterator[str]:
    """Where the pairs of a phase come from."""
    own = at(config, "data.pairs")
    if own:
        source = own if isinstance(own, str) else at(own, "source")
        yield (
            f"own pairs {as_code(_public_name(source))}" if isinstance(source, str) else "own pairs"
        )
    if own and not documents:  # nothing was made from a corpus
        return
    corpus, teacher = at(config, "data.corpus"), at(config, "data.teacher") or {}
    named = f"corpus {as_code(_public_name(corpus))}" if corpus else "an index"
    yield f"{named} of {documents or '?'} documents"
    name = at(teacher, "server.model") or teacher.get("model_name") or teacher.get("class_path")
    yield f"teacher {as_code(_public_name(name)) if name else 'the base itself'}"


def _rate(config: dict[str, Any]) -> str:
    """The learning rate, with the optimiser and the schedule where they are the user's own."""
    lr = at(config, "model.lr") or at(config, "model.optimizer.init_args.lr") or "by default"
    paths = [at(config, f"model.{key}.class_path") for key in ("optimizer", "lr_scheduler")]
    return f"lr {lr}" + "".join(f", {as_code(path.rpartition('.')[2])}" for path in paths if path)


def _base_licence(model: str) -> str:
    with contextlib.suppress(ConfigError):  # it is in no package that is here
        package = locate(model).distribution
        about = metadata(package).json
        stated = str(about.get("license_expression") or about.get("license") or "").strip()
        if stated:
            return f"{stated.splitlines()[0]}, as the Python package {package} states it"
    return "see the base model's card"


def _corpus_licence(corpus: Path) -> str:
    for path in sorted(corpus.glob("LICENSE*")):
        text = path.read_text(encoding="utf-8", errors="replace").strip().split("\n\n")[0]
        return f"{path.name}: {' '.join(text.split())[:200]}"
    return "not stated"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _public_name(name: str) -> str:
    """The name of a model or folder, without the folders of this machine."""
    return Path(name).name if Path(name).expanduser().is_absolute() else name
