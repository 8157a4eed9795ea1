"""The tables of ``benchmarks/README.md``, made from the JSON files in ``benchmarks/results``.

``python -m benchmarks.report.tables`` replaces the text between the two markers there and leaves
the rest unchanged. It measures nothing. Each kind of result has an entry in ``kinds.py``; a kind
without result files has no section.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.report.kinds import KINDS, NO_ROWS, Kind, Result
from benchmarks.report.record import RESULTS

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- made by benchmarks.report.tables -->", "<!-- end of the tables -->"


def section(kind: Kind, results: Mapping[str, Result]) -> Iterator[str]:
    """Lines of a kind's section: its table over all files, notes, and origin of the results."""
    yield f"## {kind.title}\n"
    yield f"`{kind.command}` -> {', '.join(f'`results/{name}.json`' for name in results)}\n"
    yield _line(kind.head)
    yield _line(["---"] * len(kind.head))
    yield from (_line(row) for result in results.values() for row in kind.rows(result))
    yield ""
    notes = (part for r in results.values() for part in (kind.note(r), _origin(r)) if part)
    yield from (f"{line}\n" for line in dict.fromkeys(notes))


def tables(folder: Path) -> str:
    """Every section that has results."""
    lines: list[str] = []
    for kind in KINDS:
        paths = sorted(
            path for path in folder.glob(f"{kind.files}.json") if path.stem not in NO_ROWS
        )
        results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
        if results:
            lines += section(kind, results)
    return "\n".join(lines).strip()


def filled(text: str, made: str) -> str:
    """``text`` with ``made`` between the markers.

    Raises:
        ValueError: the markers are not there once each and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end or BEGIN in old + after or END in after:
        raise ValueError(f"{README.name} must have {BEGIN} and then {END}, once each")
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _origin(result: Result) -> str:
    """Machine, versions and arguments of ``record.setting``."""
    machine = dict(result["machine"])
    named = machine.pop("processor", "") or machine.pop("architecture", "")
    machine.pop("architecture", None)
    facts = [named, *(f"{name}: {value}" for name, value in machine.items())]
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    given = " ".join(result.get("arguments", []))
    arguments = f" Arguments: `{given}`." if given else ""
    return f"Machine: {', '.join(facts)}. Versions: {versions}.{arguments}"


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    README.write_text(filled(text, tables(options.results)), encoding="utf-8")


if __name__ == "__main__":
    main()
