"""One plain model from a finished run: ``python -m preflexor_pl.export runs/exo --out exported``.

The weights of the base take in the marker rows and the adapters of all phases; the result needs
neither peft nor this package. The folder appears under its name only when the model, read back from
disk, gives the logits of the unmerged adapters.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from preflexor_pl.cli.entry import Parser, guarded, quiet_libraries
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.files import replaced_folder
from preflexor_pl.core.hub import HUB_ID, quiet_loading
from preflexor_pl.core.progress import log_line


def main(args: Sequence[str]) -> int:
    """Export, push where that is asked for, and return the exit code."""
    options = _parsed(args)
    quiet_libraries()
    export(options.run, options.out, options.dtype, options.overwrite, options.push_to_hub)
    if options.push_to_hub:
        from preflexor_pl.core.hub_upload import publish

        url = publish(options.out, options.push_to_hub, "export", private=not options.public)
        log_line(f"Pushed to {url}")
    return 0


def _parsed(args: Sequence[str]) -> argparse.Namespace:
    parser = Parser("export", "Merge what a run trained into one plain transformers model.")
    parser.add_argument("run", type=Path, help="a finished run, or the adapter that one left")
    parser.add_argument("--out", type=Path, required=True, help="folder of the merged model")
    parser.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16"],
        default="auto",
        help="of the merged weights; auto: bfloat16 where the processor is fast at it",
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
    from preflexor_pl.corpus.seen_documents import UNKNOWN, read_lineage
    from preflexor_pl.evaluation.model_card import model_card, what_it_is
    from preflexor_pl.policy.exported_model import phases_of, write_merged
    from preflexor_pl.policy.load import dtype_name, resolve_dtype
    from preflexor_pl.policy.previous_phase import KEY

    run, out, chosen = run.expanduser(), out.expanduser(), resolve_dtype(dtype)
    if not run.is_dir():
        raise ConfigError(f"{run} does not exist: give a finished run, or the folder of an adapter")
    _check_out(out, overwrite)
    try:
        phases = phases_of(run)
        with replaced_folder(out) as part, quiet_loading():
            tokenizer, difference = write_merged(phases[-1], chosen, part)
            (read_lineage(phases[-1].folder) or UNKNOWN).write(part)
            size = sum(file.stat().st_size for file in part.iterdir()) / 1e9
            card = model_card(tokenizer, phases, dtype_name(chosen), repo_id or out.as_posix())
            (part / "README.md").write_text(card, encoding="utf-8")
    except ConfigError as error:  # it names a key of fit
        raise ConfigError(str(error).removeprefix(f"{KEY}: ")) from error
    what = f"{what_it_is(phases[-1])}, {size:.2f} GB in {dtype_name(chosen)}"
    log_line(f"{out}: {what}; read back, its logits differ from the adapters' {difference}")


def _check_out(out: Path, overwrite: bool) -> None:
    from preflexor_pl.evaluation.model_card import EXPORTED

    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    card = out / "README.md"
    if not card.is_file() or EXPORTED not in card.read_text(encoding="utf-8", errors="replace"):
        raise ConfigError(f"--out: {out} holds something else: give a folder that is not there")
    if not overwrite:
        raise ConfigError(f"--out: {out} holds an older export: add --overwrite to replace it")


if __name__ == "__main__":
    sys.exit(guarded(main))
