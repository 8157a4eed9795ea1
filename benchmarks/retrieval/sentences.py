"""Vectors of real sentences, from text that every machine with this project's ``.venv`` has.

The sentences are those of the docstrings of installed packages, cut and selected by rule, each
once, in a seeded order. Their all-MiniLM vectors (384 numbers, length 1) take minutes on one core;
they are computed once and kept in the cache folder, under the versions of everything they come
from.
"""

import ast
import hashlib
import random
import re
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preflexor_pl.core.files import replaced
from preflexor_pl.core.progress import stage
from preflexor_pl.core.settings import DEFAULT_EMBEDDER
from preflexor_pl.corpus.embedder import Embedder
from preflexor_pl.policy.model_source import cache_folder

PACKAGES = {  # import name -> distribution
    "datasets": "datasets",
    "lightning": "lightning",
    "matplotlib": "matplotlib",
    "networkx": "networkx",
    "numpy": "numpy",
    "pandas": "pandas",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "sympy": "sympy",
    "torch": "torch",
    "transformers": "transformers",
}
RULE = "1"  # version of the rule that selects sentences
SENTENCE_END = re.compile(
    r"(?<=[.!?\u2026])[\"'\u201d\u2019)\]]*\s+(?=[\"'\u201c\u2018(\[]?[A-Z0-9])"
)  # part of the rule: the splitter of the corpus may change, these vectors may not
PLAIN = re.compile(r"[A-Z][\w ,;:'()/-]+\.")  # no code, no mark-up
WORDS = range(6, 41)
MOST_PER_FILE = 30  # so that no package's style dominates

Rows = NDArray[np.float32]


def sentence_vectors(count: int) -> tuple[Rows, str]:
    """Vectors [count, 384] of different sentences, and the name of their cache file.

    Raises:
        SystemExit: the installed packages have too few sentences.
    """
    embedder = Embedder(DEFAULT_EMBEDDER, device="cpu")
    versions = [f"{name} {version(name)}" for name in PACKAGES.values()]
    origin = hashlib.sha256("\n".join([RULE, embedder.identity, *versions]).encode())
    name = f"sentences-{count}-{origin.hexdigest()[:16]}"
    path = cache_folder() / f"{name}.npy"
    if not path.exists():
        texts = sentences(count)
        with stage("embedding sentences, once", count) as progress:
            rows = embedder.encode(texts, lambda done, _: progress.advance(done - progress.done))
        with replaced(path) as part, part.open("wb") as file:
            np.save(file, rows)
    return np.load(path), name


def sentences(count: int) -> list[str]:
    """The first ``count`` sentences, in an order that does not depend on ``count``.

    Raises:
        SystemExit: there are too few.
    """
    files = sorted(path for name in PACKAGES for path in _files(name))
    random.Random(0).shuffle(files)
    selected: dict[str, None] = {}
    with stage("reading docstrings", count) as progress:
        for path in files:
            in_file = dict.fromkeys(s for text in _docstrings(path) for s in _cut(text))
            new = [sentence for sentence in in_file if sentence not in selected]
            selected.update(dict.fromkeys(new[:MOST_PER_FILE]))
            progress.advance(min(len(selected), count) - progress.done)
            if len(selected) >= count:
                return list(selected)[:count]
    raise SystemExit(f"error: {len(selected)} sentences in {', '.join(PACKAGES)}, not {count}")


def _files(package: str) -> Iterator[Path]:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"error: {package} is not installed: run this with .venv")
    folder = Path(spec.origin).parent
    return (path for path in folder.rglob("*.py") if "tests" not in path.parts)


def _docstrings(path: Path) -> Iterator[str]:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    try:
        parsed = ast.parse(path.read_bytes())
    except SyntaxError:  # syntax of a newer Python
        return
    for node in ast.walk(parsed):
        if isinstance(node, kinds):
            yield ast.get_docstring(node) or ""


def _cut(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        if ">>>" in paragraph or "--" in paragraph:  # an example or a heading's underline
            continue
        for sentence in SENTENCE_END.split(" ".join(paragraph.split())):
            if PLAIN.fullmatch(sentence) and len(sentence.split()) in WORDS:
                yield sentence
