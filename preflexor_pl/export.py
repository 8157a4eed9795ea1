"""One plain model from a finished run: ``python -m preflexor_pl.export runs/exo --out exported``.

The base, never in 4 bit, takes the marker rows and the adapters of all phases into its weights: a
transformers model that needs neither peft nor this package. It gets its name only when the folder,
read back from disk, gives the logits of the unmerged adapters.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from preflexor_pl.core.errors import ConfigError, NumericalError, ResourceError
from preflexor_pl.core.hub import HUB_ID, quiet_loading
from preflexor_pl.core.markers import REFLECT_END, REFLECT_START, THINK_END, THINK_START, TRIGGER
from preflexor_pl.core.packages import locate
from preflexor_pl.core.progress import say

if TYPE_CHECKING:
    from torch import Tensor

    from preflexor_pl.policy.language_model import LanguageModel
    from preflexor_pl.policy.start import Start

# How far the logits may be from the adapters', both computed in float32. In float32 merging only
# reorders sums: the largest difference. In bfloat16 it rounds each weight: the difference as a
# share of the logits' spread, in the worst text. SmolLM2-135M with two phases had 0.9 %, random
# models of 2 layers up to 1.7 %, and SmolLM2 without its second phase, of 8 steps, 10 %. (Computed
# in bfloat16 it would have 4 %: too near.)
BOUNDS = {"float32": 1e-3, "bfloat16": 0.05}
QUESTION = f"How does nacre resist cracks?{TRIGGER}"
RESPONSE = (
    f"{THINK_START}\nPlates of mineral slide past each other.\n{THINK_END}\n"
    f"{REFLECT_START}\nIt should name the protein between them.\n{REFLECT_END}\nThe plates slide."
)
EXPORTED = "Exported by preflexor_pl"  # a folder whose card says so may be overwritten
PLAIN_CHAT = (  # what core.chat renders where the tokenizer has no template, as a template
    "{{ bos_token or '' }}{% for turn in messages %}{% if turn.role == 'system' %}"
    "{{ turn.content }}\n\n{% elif turn.role == 'user' %}User: {{ turn.content }}\nAssistant:"
    "{% else %} {{ turn.content }}\n{% endif %}{% endfor %}"
)

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


def main(args: Sequence[str]) -> int:
    """Export, push where that is asked for, and return the exit code."""
    options = _parsed(args)
    from preflexor_pl.cli import quiet_libraries

    quiet_libraries()
    export(options.run, options.out, options.dtype, options.overwrite, options.push_to_hub)
    if options.push_to_hub:
        from preflexor_pl.publish import publish

        url = publish(options.out, options.push_to_hub, "export", private=not options.public)
        say(f"Pushed to {url}")
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (--help shows the usage)")


def _parsed(args: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="python -m preflexor_pl.export",
        description="Merge what a run trained into one plain transformers model.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, help="a finished run, or the adapter that one left")
    parser.add_argument("--out", type=Path, required=True, help="folder of the merged model")
    parser.add_argument(
        "--dtype",
        choices=["auto", *BOUNDS],
        default="auto",
        help="of the merged weights; auto: bfloat16 where the processor has it",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an older export in --out")
    parser.add_argument("--push_to_hub", metavar="OWNER/NAME", help="push it there, private")
    parser.add_argument("--public", action="store_true", help="push it for all to see")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(args)
    repo_id = options.push_to_hub
    if repo_id is not None and not ("/" in repo_id and HUB_ID.fullmatch(repo_id)):
        parser.error(f"--push_to_hub: {repo_id!r} is not of the form OWNER/NAME")
    if options.public and not repo_id:
        parser.error("--public is of no use without --push_to_hub")
    return options


def export(
    run: Path, out: Path, dtype: str = "auto", overwrite: bool = False, repo_id: str | None = None
) -> None:
    """Write the merged model, its tokenizer and its card into ``out``, and check it.

    On the CPU; the memory holds the weights once, in float32 whatever ``dtype`` is.

    Args:
        run: a finished run, or the folder of an adapter or of whole weights that one left.
        out: a folder that is not there, is empty, or holds an older export.
        dtype: of the weights: auto, float32 or bfloat16.
        overwrite: replace an older export.
        repo_id: where the card says the model is; None is ``out``.

    Raises:
        ConfigError: there is no finished run, its base cannot be had, or ``out`` holds other files.
        NumericalError: the folder does not give the adapters' logits; it is not kept.
        ResourceError: the disk is full.
    """
    from preflexor_pl.policy.load import resolve_dtype
    from preflexor_pl.policy.start import KEY

    run, out, chosen = run.expanduser(), out.expanduser(), resolve_dtype(dtype)
    if not run.is_dir():
        raise ConfigError(f"{run} does not exist: give a finished run, or the folder of an adapter")
    _require_free(out, overwrite)
    try:
        lineage = _lineage(run)
        with _made(out) as part, quiet_loading():
            tokenizer, told = _write(run, lineage, chosen, part)
            size = sum(file.stat().st_size for file in part.iterdir()) / 1e9
            card = _card(tokenizer, lineage, _name(chosen), repo_id or out.as_posix())
            (part / "README.md").write_text(card, encoding="utf-8")
    except ConfigError as error:  # the key is fit's
        raise ConfigError(str(error).removeprefix(f"{KEY}: ")) from error
    what = f"{_what(lineage[-1])}, {size:.2f} GB in {_name(chosen)}"
    say(f"{out}: {what}; read back, its logits differ from the adapters' {told}")


def _require_free(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    card = out / "README.md"
    if not card.is_file() or EXPORTED not in card.read_text(encoding="utf-8", errors="replace"):
        raise ConfigError(f"--out: {out} holds something else: give a folder that is not there")
    if not overwrite:
        raise ConfigError(f"--out: {out} holds an older export: add --overwrite to replace it")


@contextlib.contextmanager
def _made(out: Path) -> Iterator[Path]:
    """A folder to write to that takes the place of ``out`` when the block ends well."""
    from safetensors import SafetensorError

    place = out.resolve()
    part = place.with_name(f".{place.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if place.exists():
            shutil.rmtree(place)
        os.replace(part, place)
    except SafetensorError as error:
        raise ResourceError(f"cannot write {out}: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _lineage(run: Path) -> "list[Start]":
    """What the phases left, the first one first, as far back as the runs' configs lead."""
    from preflexor_pl.policy.start import read_start

    found = [read_start(str(run))]
    adapters = len(found[0].adapters)
    while name := _at(_config(found[0]), "model.policy.start_from"):
        try:
            before = read_start(name)
        except ConfigError:
            if len(found) == adapters:  # it is what all the adapters stand on
                raise
            break
        if before.folder in [start.folder for start in found]:
            break
        found.insert(0, before)
    return found


def _write(run: Path, lineage: "list[Start]", dtype: Any, part: Path) -> tuple[Any, str]:
    """Save the merged model and read it back: the tokenizer, and how far the logits differ."""
    import torch

    from preflexor_pl.policy.adapters import fold, stack_earlier
    from preflexor_pl.policy.load import ModelSource, load_base

    start = lineage[-1]
    language = _base(run, lineage, dtype)
    start.put_rows(language.model)
    stacked = stack_earlier(language.model, start.adapters).float()
    texts = _texts(language.tokenizer)
    before = _logits(stacked, texts)
    _save(language, (fold(stacked) if start.adapters else stacked).to(dtype), part)
    del language, stacked
    source = ModelSource("what was written", str(part), "")
    model, tokenizer = load_base(source, torch.float32, "eager", key="--out")
    if _texts(tokenizer) != texts:
        raise NumericalError("the exported tokenizer gives other ids: nothing was exported")
    return tokenizer, _compared(before, _logits(model, texts), _name(dtype))


def _base(run: Path, lineage: "list[Start]", dtype: Any) -> "LanguageModel":
    """What the adapters stand on: the base, or the whole weights that a phase before them left."""
    from preflexor_pl.policy.language_model import LanguageModel
    from preflexor_pl.policy.load import ModelSource, find_model, load_base

    known, key = lineage[-1].known, f"the base of {run}"
    before = len(lineage) - 1 - len(lineage[-1].adapters)  # place of the phase under the adapters
    if before >= 0 and (under := lineage[before]).is_whole:
        source = ModelSource(known["model"], str(under.folder), under.known["sha256"])
    else:
        source = find_model(known["model"], key)
    if source.sha256 != known["sha256"]:
        raise ConfigError(f"{key}: {source.name} is another model than it was in training")
    return LanguageModel(source, *load_base(source, dtype, "eager", key=key))


def _texts(tokenizer: Any) -> list[list[int]]:
    """Ids that the check is made on: with and without the trigger, and with all markers."""
    from preflexor_pl.core.chat import chat_ids, encode

    asked, plain = (chat_ids(tokenizer, q) for q in (QUESTION, QUESTION.removesuffix(TRIGGER)))
    response = encode(tokenizer, RESPONSE)
    return [plain, asked + response, response]


def _logits(model: Any, texts: list[list[int]]) -> "list[Tensor]":
    """[T, V] of each text."""
    import torch

    with torch.inference_mode():
        return [model(input_ids=torch.tensor([ids]), use_cache=False).logits[0] for ids in texts]


def _save(language: "LanguageModel", model: Any, part: Path) -> None:
    from transformers import GenerationConfig

    tokenizer = language.tokenizer
    tokenizer.chat_template = tokenizer.chat_template or PLAIN_CHAT
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(language.pad_id)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=sorted(language.stop_ids),
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,  # as the held-out questions were answered
        max_new_tokens=512,
    )
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)


def _compared(before: "list[Tensor]", after: "list[Tensor]", dtype: str) -> str:
    """The difference in words; NumericalError where it is more than rounding."""
    apart = [new - old for old, new in zip(before, after, strict=True)]
    if dtype == "float32":
        difference = max(float(d.abs().max()) for d in apart)
        told = f"by {difference:.2g} at most (bound {BOUNDS[dtype]:g})"
    else:
        pairs = zip(map(_centred, apart), map(_centred, before), strict=True)
        difference = max(float(d.norm() / old.norm()) for d, old in pairs)
        told = f"by {difference:.2%} of their spread (bound {BOUNDS[dtype]:.0%})"
    if not difference <= BOUNDS[dtype]:
        raise NumericalError(
            f"the merged {dtype} weights are not what was trained: their logits differ from those "
            f"of the adapters {told}: nothing was exported"
        )
    return told


def _centred(logits: "Tensor") -> "Tensor":
    """Less each token's mean [T, V], which changes no probability."""
    return logits - logits.mean(-1, keepdim=True)


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _what(start: "Start") -> str:
    count, model = len(start.adapters), _shown(start.known["model"])
    return f"{count} adapter{'s'[: count - 1]} merged into {model}" if count else f"all of {model}"


def _card(tokenizer: Any, lineage: "list[Start]", dtype: str, name: str) -> str:
    model = lineage[-1].known["model"]
    on_hub = HUB_ID.fullmatch(model) and not Path(model).exists()
    turns = _turns(tokenizer, _at(_config(lineage[-1]), "data.system_prompt"))
    return _CARD.format(
        base=f"base_model: {model}\n" if on_hub else "",  # the hub refuses any other
        model=_shown(model),
        exported=EXPORTED,
        dtype=dtype,
        what=_what(lineage[-1]),
        name=json.dumps(name),
        turns=json.dumps(turns, ensure_ascii=False),
        trigger=TRIGGER.strip(),
        facts="\n".join(_facts(lineage)),
    )


def _turns(tokenizer: Any, system: str | None) -> list[dict[str, str]]:
    """The turns that the tokenizer's template renders as training rendered the question."""
    from jinja2 import TemplateError

    from preflexor_pl.core.chat import chat_ids

    user = {"role": "user", "content": QUESTION}
    turns = [{"role": "system", "content": system}, user] if system else [user]
    with contextlib.suppress(TemplateError):  # of templates that know no system turn
        made = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        if made == chat_ids(tokenizer, QUESTION, system):
            return turns
    return [{"role": "user", "content": f"{system}\n\n{QUESTION}"}]


def _facts(lineage: "list[Start]") -> Iterator[str]:
    """Lines of the card: phases, held-out metrics and licences, as far as the runs' files say."""
    from preflexor_pl.evaluation.report import read_rows, summary_lines

    start, run = lineage[-1], lineage[-1].folder.parent
    count = max(len(start.adapters), len(lineage))
    numbered = zip(range(count - len(lineage) + 1, count + 1), lineage, strict=True)
    runs = [(number, left.folder.parent, c) for number, left in numbered if (c := _config(left))]
    yield "## Training\n"
    yield from (_phase(*known) for known in runs)
    if len(runs) < count:
        yield f"- The settings of {count - len(runs)} of {count} phases are not known here."
    if _config(start) and (rows := read_rows(run / "metrics.csv")):
        questions = _read(run / "held_out/manifest.json").get("pairs")
        yield "\n## Held-out questions, before and after the last phase; measured unmerged\n"
        yield from (f"- {line}" for line in summary_lines({"held_out_questions": questions}, rows))
    yield f"\n## Licences\n\n- base: {_base_licence(start.known['model'])}"
    for corpus in dict.fromkeys(_at(config, "data.corpus") for _, _, config in runs):
        yield f"- corpus {_code(_shown(corpus))}: {_corpus_licence(Path(corpus))}"


def _phase(number: int, run: Path, config: dict[str, Any]) -> str:
    loss, rank = _at(config, "model.loss") or {}, _at(config, "model.policy.lora.rank")
    values = ", ".join(f"{key}={value}" for key, value in (loss.get("init_args") or {}).items())
    made = [_read(path)["pairs"] for path in run.glob("rounds/round-*/manifest.json")]
    chunks = run / "graph/chunks.jsonl"
    lines = chunks.read_text(encoding="utf-8").split("\n") if chunks.is_file() else []
    documents = len({json.loads(line)["document"] for line in lines if line})
    teacher = _at(config, "data.teacher.model_name")
    parts = [
        _code(f"{loss.get('class_path', '?').split('.')[-1]}({values})"),
        f"lr {_at(config, 'model.lr')}",
        f"{_read(run / 'finished.json').get('epochs', '?')} epochs",
        f"seed {_at(config, 'seed_everything')}",
        f"adapter of rank {rank}" if rank else "every weight trained",
        f"{sum(made)} pairs in {len(made)} rounds",
        f"corpus {_code(_shown(_at(config, 'data.corpus')))} of {documents or '?'} documents",
        f"teacher {_code(_shown(teacher)) if teacher else 'the base itself'}",
    ]
    return f"- phase {number}: {', '.join(parts)}"


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


def _config(start: "Start") -> dict[str, Any]:
    """The config of the run that left ``start``; empty where it lies elsewhere."""
    import yaml

    path = start.folder.parent / "config.yaml"
    if start.folder.name not in ("adapter", "model") or not path.is_file():
        return {}
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is damaged ({error})") from error


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _shown(name: str) -> str:
    """A model or folder by its name; where on this machine it lies is nobody's business."""
    return Path(name).name if Path(name).expanduser().is_absolute() else name


def _code(text: str) -> str:
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


if __name__ == "__main__":
    from preflexor_pl.cli import guarded

    sys.exit(guarded(main))
