"""One plain model from a finished run: ``python -m preflexor_pl.export runs/exo --out exported``.

The base, never in 4 bit, takes the marker rows and the adapters of all phases into its weights: a
transformers model that needs neither peft nor this package. It gets its name only when the folder,
read back from disk, gives the logits of the unmerged adapters.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preflexor_pl.cli.entry import Parser, guarded, quiet_libraries
from preflexor_pl.core.errors import ConfigError, NumericalError
from preflexor_pl.core.files import replaced_folder
from preflexor_pl.core.hub import HUB_ID, quiet_loading
from preflexor_pl.core.markers import MarkerStrings
from preflexor_pl.core.progress import log_line
from preflexor_pl.evaluation.model_card import EXPORTED, QUESTION, model_card, what_it_is
from preflexor_pl.policy.run_record import at, config_of, trained_for

if TYPE_CHECKING:
    from torch import Tensor

    from preflexor_pl.policy.finished_model import TrainedModel
    from preflexor_pl.policy.previous_phase import PreviousPhase

# How far the logits may be from the adapters', both computed in float32. In float32 merging only
# reorders sums: the largest difference. In bfloat16 it rounds each weight: the difference as a
# share of the logits' spread, in the worst text. SmolLM2-135M with two phases had 0.9 %, random
# models of 2 layers up to 1.7 %, and SmolLM2 without its second phase, of 8 steps, 10 %. (Computed
# in bfloat16 it would have 4 %: too near.)
BOUNDS = {"float32": 1e-3, "bfloat16": 0.05}
RESPONSE = (
    "{think_start}\nPlates of mineral slide past each other.\n{think_end}\n"
    "{reflect_start}\nIt should name the protein between them.\n{reflect_end}\nThe plates slide."
)
PLAIN_CHAT = (  # what core.chat renders where the tokenizer has no template, as a template
    "{{ bos_token or '' }}{% for turn in messages %}{% if turn.role == 'system' %}"
    "{{ turn.content }}\n\n{% elif turn.role == 'user' %}User: {{ turn.content }}\nAssistant:"
    "{% else %} {{ turn.content }}\n{% endif %}{% endfor %}"
)


def main(args: Sequence[str]) -> int:
    """Export, push where that is asked for, and return the exit code."""
    options = _parsed(args)
    quiet_libraries()
    export(options.run, options.out, options.dtype, options.overwrite, options.push_to_hub)
    if options.push_to_hub:
        from preflexor_pl.callbacks.push_to_hub import publish

        url = publish(options.out, options.push_to_hub, "export", private=not options.public)
        log_line(f"Pushed to {url}")
    return 0


def _parsed(args: Sequence[str]) -> argparse.Namespace:
    parser = Parser("export", "Merge what a run trained into one plain transformers model.")
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
    from preflexor_pl.corpus.lineage import UNKNOWN, read_lineage
    from preflexor_pl.policy.load import resolve_dtype
    from preflexor_pl.policy.previous_phase import KEY

    run, out, chosen = run.expanduser(), out.expanduser(), resolve_dtype(dtype)
    if not run.is_dir():
        raise ConfigError(f"{run} does not exist: give a finished run, or the folder of an adapter")
    _require_free(out, overwrite)
    try:
        lineage = _lineage(run)
        with replaced_folder(out) as part, quiet_loading():
            tokenizer, told = _write(lineage, chosen, part)
            (read_lineage(lineage[-1].folder) or UNKNOWN).write(part)
            size = sum(file.stat().st_size for file in part.iterdir()) / 1e9
            card = model_card(tokenizer, lineage, _name(chosen), repo_id or out.as_posix())
            (part / "README.md").write_text(card, encoding="utf-8")
    except ConfigError as error:  # the key is fit's
        raise ConfigError(str(error).removeprefix(f"{KEY}: ")) from error
    what = f"{what_it_is(lineage[-1])}, {size:.2f} GB in {_name(chosen)}"
    log_line(f"{out}: {what}; read back, its logits differ from the adapters' {told}")


def _require_free(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    card = out / "README.md"
    if not card.is_file() or EXPORTED not in card.read_text(encoding="utf-8", errors="replace"):
        raise ConfigError(f"--out: {out} holds something else: give a folder that is not there")
    if not overwrite:
        raise ConfigError(f"--out: {out} holds an older export: add --overwrite to replace it")


def _lineage(run: Path) -> "list[PreviousPhase]":
    """What the phases left, the first one first, as far back as the runs' configs lead."""
    from preflexor_pl.policy.previous_phase import read_previous_phase

    found = [read_previous_phase(str(run))]
    adapters = len(found[0].adapters)
    while name := at(config_of(found[0]), "model.policy.start_from"):
        try:
            before = read_previous_phase(name)
        except ConfigError:
            if len(found) == adapters:  # it is what all the adapters stand on
                raise
            break
        if before.folder in [start.folder for start in found]:
            break
        found.insert(0, before)
    return found


def _write(lineage: "list[PreviousPhase]", dtype: Any, part: Path) -> tuple[Any, str]:
    """Save the merged model and read it back: the tokenizer, and how far the logits differ."""
    import torch

    from preflexor_pl.policy.finished_model import TrainedModel
    from preflexor_pl.policy.load import load_base
    from preflexor_pl.policy.merge import fold
    from preflexor_pl.policy.model_source import ModelSource

    start = lineage[-1]
    language = TrainedModel(start, _name(dtype), "eager")
    stacked = language.model.float()
    texts = _texts(language.tokenizer, start.markers)
    before = _logits(stacked, texts)
    whole = (fold(stacked) if start.adapters else stacked).to(dtype)
    _save(language, whole, trained_for(start), part)
    del language, stacked, whole
    source = ModelSource("what was written", str(part), "")
    model, tokenizer = load_base(source, torch.float32, "eager", key="--out")
    if _texts(tokenizer, start.markers) != texts:
        raise NumericalError("the exported tokenizer gives other ids: nothing was exported")
    return tokenizer, _compared(before, _logits(model, texts), _name(dtype))


def _texts(tokenizer: Any, markers: MarkerStrings) -> list[list[int]]:
    """Ids that the check is made on: with and without the trigger, and with all markers."""
    from preflexor_pl.core.chat import chat_ids, encode

    asked, plain = (chat_ids(tokenizer, QUESTION + tail) for tail in (markers.suffix, ""))
    response = encode(tokenizer, RESPONSE.format(**asdict(markers)))
    return [plain, asked + response, response]


def _logits(model: Any, texts: list[list[int]]) -> "list[Tensor]":
    """[T, V] of each text."""
    import torch

    with torch.inference_mode():
        return [model(input_ids=torch.tensor([ids]), use_cache=False).logits[0] for ids in texts]


def _save(language: "TrainedModel", model: Any, asked: dict[str, Any], part: Path) -> None:
    from transformers import GenerationConfig

    from preflexor_pl.corpus.lineage import TRAINED_FOR

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
    setattr(model.config, TRAINED_FOR, asked)
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


if __name__ == "__main__":
    sys.exit(guarded(main))
