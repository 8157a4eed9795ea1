"""Python and the packages that are declared, against the versions that are declared.

Versions are read from metadata: nothing is imported, so this takes no time.
"""

import platform
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from preflexor_pl.checkup.report import Report
from preflexor_pl.core.errors import ConfigError

NAME = "preflexor_pl"
PROJECT = Path(__file__).parents[2] / "pyproject.toml"
SHOWN = {  # a line each; the others, while nothing is wrong with them, share one
    "torch",
    "lightning",
    "transformers",
    "peft",
    "bitsandbytes",
    "datasets",
    "hnswlib",
    "sentence-transformers",
    "torchmetrics",
    "openai",
}
FOR_DEVELOPERS = "dev"  # an extra that no run needs


def check_packages(report: Report) -> None:
    """Find out what is missing or too old; what belongs to an extra is worth a note only."""
    python, declared = _declared()
    if SpecifierSet(python).contains(platform.python_version(), prereleases=True):
        report.ok(f"python {platform.python_version()} ({python}) in {sys.prefix}")
    else:
        report.bad(ConfigError(f"python {platform.python_version()} is not {python}: take another"))
    others = 0
    for wanted, extra in declared:
        version = _installed(wanted.name)
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            _lacking(report, wanted, extra, version)
        elif wanted.name in SHOWN or extra:
            report.ok(f"{wanted.name} {version} ({wanted.specifier})")
        else:
            others += 1
    report.ok(f"{others} more, none missing or too old")


def _lacking(report: Report, wanted: Requirement, extra: str, version: str | None) -> None:
    fact = f"{wanted.name} is missing"
    if version:
        fact = f"{wanted.name} {version} is not {wanted.specifier}"
    command = f"pip install '{wanted.name}{wanted.specifier}'"
    if extra:
        report.note(f"{fact} (extra {extra})", f"where a config asks for it: {command}")
    else:
        report.bad(ConfigError(f"{fact}: {command}"))


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _declared() -> tuple[str, list[tuple[Requirement, str]]]:
    """The versions of Python, and the requirements, each with its extra ("" for none).

    A checkout's pyproject.toml comes before the metadata of what is installed, which keeps those of
    the day it was installed on.

    Raises:
        ConfigError: neither is there.
    """
    if PROJECT.is_file():
        project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
        extras = project["optional-dependencies"] | {"": project["dependencies"]}
        python = project["requires-python"]
    else:
        python, extras = _of_installed()
    return python, [
        (Requirement(text), extra)
        for extra in sorted(extras, key=lambda name: (bool(name), name))
        for text in extras[extra]
        if extra != FOR_DEVELOPERS
    ]


def _of_installed() -> tuple[str, dict[str, list[str]]]:
    try:
        told = metadata.metadata(NAME)
    except metadata.PackageNotFoundError as error:
        raise ConfigError(f"{NAME} is not installed: pip install it, or use a checkout") from error
    extras: dict[str, list[str]] = {
        name: [] for name in ["", *(told.get_all("Provides-Extra") or [])]
    }
    for text in told.get_all("Requires-Dist") or []:
        extras[_extra_of(Requirement(text), extras)].append(text)
    return told["Requires-Python"] or "", extras


def _extra_of(wanted: Requirement, extras: Iterable[str]) -> str:
    """The extra without which a requirement is none; "" where it is one without."""
    marker = wanted.marker
    if marker is None or marker.evaluate({"extra": ""}):
        return ""
    return next((name for name in extras if name and marker.evaluate({"extra": name})), "")
