"""The texts of the prompts: files in ``templates/``, and a folder of the user's that replaces some.

A file that would have no effect, a placeholder that nothing is put into and an example that lacks a
text are refused in one line each. What a file says is the user's own: it may say anything.
"""

import difflib
from collections.abc import Collection
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from preflexor_pl.core.config_files import parse_yaml
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.pairs.prompts import Prompts, Template, Worked
from preflexor_pl.pairs.reading import read_ruling

KEY = "data.prompts"
EXAMPLES = "examples.yaml"
TEMPLATES = tuple(field.name for field in fields(Prompts) if field.name != "examples")
FILES = (*(f"{name}.txt" for name in TEMPLATES), EXAMPLES)
MAX_BYTES = 100_000  # of one file
TOPIC = "topic"  # may be left out: random draws have none
REPLIES = "steps", "concepts"  # to category.txt

# What a reply to the built-in texts ends with: a sentence, or a paragraph, is what they ask for.
_SENTENCE, _PARAGRAPH = (". ", "\n"), ("\n",)
_STOPS = {"category": _SENTENCE, "critique": _SENTENCE, "answer": _PARAGRAPH}


def read_prompts(folder: Path) -> Prompts:
    """The built-in prompts, with those that ``folder`` has in their place.

    Raises:
        ConfigError: names the file, what is wrong with it, and what there is.
    """
    try:
        # Hidden files are those of desktops and editors.
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        what = f"{folder} cannot be read ({error.strerror})"
        raise ConfigError(f"{KEY}: {what}: give a folder with some of {_listed(FILES)}") from error
    for name in names:
        if name not in FILES:
            raise ConfigError(f"{KEY}: {_unknown(f'{folder} holds', name, FILES)}")
    if not names:
        raise ConfigError(f"{KEY}: {folder} holds none of {_listed(FILES)}")
    templates = {
        name: _template(folder, name) if f"{name}.txt" in names else getattr(BUILT_IN, name)
        for name in TEMPLATES
    }
    examples = _examples(folder / EXAMPLES) if EXAMPLES in names else BUILT_IN.examples
    return Prompts(**templates, examples=examples)


def files_of(prompts: Prompts) -> dict[str, str]:
    """Files by their names that ``read_prompts`` makes the same prompts of."""
    texts = {f"{name}.txt": getattr(prompts, name).text + "\n" for name in TEMPLATES}
    examples = [asdict(w) | {"wanted": dict(w.wanted)} for w in prompts.examples]
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 100}
    return texts | {EXAMPLES: yaml.safe_dump(examples, **options)}


def _template(folder: Path, name: str) -> Template:
    path, built_in = folder / f"{name}.txt", getattr(BUILT_IN, name)
    template = Template(_text(path))
    if template.text == built_in.text:
        return built_in
    there = f"there are {_listed(_braced(built_in.places))}"
    for place in template.places:
        if place not in built_in.places:
            raise ConfigError(
                f"{KEY}: {_unknown(f'{path} has', place, built_in.places, '{{%s}}')}; {there}; "
                "braces that are text need a space between them: { {"
            )
    for place in built_in.places:
        if place not in template.places and place != TOPIC:
            raise ConfigError(f"{KEY}: {path} lacks {{{{{place}}}}}; {there}")
    return template


def _examples(path: Path) -> tuple[Worked, ...]:
    told = parse_yaml(_text(path), path)
    if not isinstance(told, list):
        raise ConfigError(f"{KEY}: {path} must be a list of worked examples; [] gives none")
    return tuple(_worked(one, f"{path}, example {n}") for n, one in enumerate(told, 1))


def _worked(told: Any, where: str) -> Worked:
    names = [field.name for field in fields(Worked)]
    _require_keys(told, names, where, required=names)
    _require_keys(told["wanted"], REPLIES, f"{where}, wanted", required=())
    texts = {name: told[name] for name in names if name != "wanted"}
    for name, text in (*texts.items(), *told["wanted"].items()):
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(f"{KEY}: {where}: {name} must be a text, got {text!r:.60}")
    made = {name: text.strip() for name, text in texts.items()}
    if not read_ruling(made["ruling"]):
        raise ConfigError(f"{KEY}: {where}: ruling must begin with Right or Wrong")
    return Worked(**made, wanted=tuple((n, t.strip()) for n, t in told["wanted"].items()))


def _require_keys(told: Any, known: Collection[str], where: str, required: Collection[str]) -> None:
    if not isinstance(told, dict):
        raise ConfigError(f"{KEY}: {where} must have {_listed(known)}, each with its text")
    for name in told:
        if name not in known:
            raise ConfigError(f"{KEY}: {_unknown(f'{where} has', str(name), known)}")
    for name in required:
        if name not in told:
            raise ConfigError(f"{KEY}: {where} lacks {name}; an example has {_listed(known)}")


def _text(path: Path) -> str:
    """A file's text, without the blank space around it."""
    try:
        if not path.is_file():
            raise ConfigError(f"{KEY}: {path} is no file")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{KEY}: {path} is longer than {MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{KEY}: {path} is not UTF-8: save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{KEY}: {path} cannot be read ({error.strerror})") from error


def _unknown(what: str, name: str, known: Collection[str], form: str = "%s") -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
    return f"{what} {form % name!r:.80}, which is not known (did you mean {form % near}?)"


def _braced(places: Collection[str]) -> list[str]:
    return [f"{{{{{place}}}}}" for place in places]


def _listed(names: Collection[str]) -> str:
    return ", ".join(names)


def _built_in() -> Prompts:
    folder = Path(__file__).with_name("templates")
    templates = {n: Template(_text(folder / f"{n}.txt"), _STOPS.get(n, ())) for n in TEMPLATES}
    return Prompts(**templates, examples=_examples(folder / EXAMPLES))


BUILT_IN = _built_in()
CONCRETE, RUBBER = BUILT_IN.examples
