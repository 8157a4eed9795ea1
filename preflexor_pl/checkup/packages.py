"""Python and the declared packages, by their metadata: nothing is imported, so it takes no time."""

import platform
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from preflexor_pl.checkup.report import Report
from preflexor_pl.core.errors import ConfigError

NAME = "preflexor_pl"
PROJECT = Path(__file__).parents[2] / "pyproject.toml"
FOR_DEVELOPERS = "dev"  # an extra that no run needs
# These and what is of an extra have a line each; the others, while all is well, share one.
SHOWN = "torch lightning transformers peft bitsandbytes datasets hnswlib sentence-transformers"
SHOWN += " torchmetrics openai"


def check_packages(report: Report) -> None:
    """Find out what is missing or too old; what belongs to an extra is worth a note only."""
    python, declared = _declared()
    if SpecifierSet(python).contains(platform.python_version(), prereleases=True):
        report.ok(f"python {platform.python_version()} ({python}) in {sys.prefix}")
    else:
        report.bad(ConfigError(f"python {platform.python_version()} is not {python}: take another"))
    others = 0
    for wanted, extra in declared:
        name, needs = wanted.name, wanted.specifier
        version = next((found.version for found in metadata.distributions(name=name)), None)
        fact = f"{name} {version} is not {needs}" if version else f"{name} is missing"
        command = f"pip install '{name}{needs}'"
        if version and needs.contains(version, prereleases=True):
            if name in SHOWN.split() or extra:
                report.ok(f"{name} {version} ({needs})")
            else:
                others += 1
        elif extra:
            report.note(f"{fact} (extra {extra})", f"where a config asks for it: {command}")
        else:
            report.bad(ConfigError(f"{fact}: {command}"))
    report.ok(f"{others} more, none missing or too old")


def _declared() -> tuple[str, list[tuple[Requirement, str]]]:
    """The versions of Python, and the requirements, each with its extra ("" for none).

    A checkout's pyproject.toml comes before the metadata of what is installed, which keeps those of
    the day it was installed on.

    Raises:
        ConfigError: neither is there.
    """
    if PROJECT.is_file():
        project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
        python, extras = project["requires-python"], project["optional-dependencies"]
        extras[""] = project["dependencies"]
        declared = [(Requirement(text), extra) for extra in extras for text in extras[extra]]
    else:
        found = list(metadata.distributions(name=NAME))
        if not found:
            raise ConfigError(f"{NAME} is not installed: pip install it, or use a checkout")
        python = found[0].metadata["Requires-Python"] or ""
        declared = [(one, _extra_of(one)) for one in map(Requirement, found[0].requires or [])]
    declared = [(wanted, extra) for wanted, extra in declared if extra != FOR_DEVELOPERS]
    return python, sorted(declared, key=lambda pair: pair[1])


def _extra_of(wanted: Requirement) -> str:
    """The extra that a requirement of the metadata belongs to; "" where it is of none."""
    found = re.search(r'extra == "([^"]+)"', str(wanted.marker))
    return found[1] if found else ""
