r"""The texts of the prompts: two sets of files in ``templates/``, and a user's folder over either.

``small`` is for a teacher of a few hundred million parameters: worked examples, one sentence at a
time, stop strings. ``large`` is for a strong one: no examples, no stop strings, as much as the
matter needs. A folder replaces files of the set that its ``base.txt`` names, by default ``small``.

A file may begin with the strings that end its reply, between two lines of ``---``::

    ---
    stop: [". ", "\n"]
    ---

A file that would have no effect, a placeholder that nothing is put into and an example that lacks a
text are refused in one line each. What a file says is the user's own: it may say anything.
"""

import difflib
import json
import re
from collections.abc import Collection
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from preflexor_pl.core.config_files import dump_yaml, parse_yaml
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.pairs.prompts import CriticPrompts, Prompts, Template, WorkedExample
from preflexor_pl.pairs.reply_parsing import read_verdict

KEY = "data.prompts"
EXAMPLES = "examples.yaml"
BASE = "base.txt"
CRITIC = tuple(field.name for field in fields(CriticPrompts) if field.name != "examples")
TEACHER = tuple(f.name for f in fields(Prompts) if f.name not in ("critic", "examples"))
TEMPLATES = (*TEACHER, *CRITIC)
FILES = (*(f"{name}.txt" for name in TEMPLATES), EXAMPLES)
MAX_BYTES = 100_000  # of one file
MAX_STOPS = 4  # servers take no more
TOPIC = "topic"  # may be left out: random draws have none
REPLIES = "steps", "concepts"  # to category.txt
OPTIONAL = ("revised",)  # of an example

_HEAD = re.compile(r"---\n(.*?)^---(?:\n|\Z)", re.DOTALL | re.MULTILINE)


def read_prompts(where: str | Path) -> Prompts:
    """A set by its name, or the set that a folder is based on with the folder's files in place.

    Args:
        where: ``small``, ``large``, or a folder; one of these names is written ``./small``.

    Raises:
        ConfigError: names the file, what is wrong with it, and what there is.
    """
    if isinstance(where, str) and where in SETS:
        return SETS[where]
    folder = Path(where).expanduser()
    try:
        # Hidden files are those of desktops and editors.
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        what = f"{folder} cannot be read ({error.strerror})"
        there = f"small, large, or a folder with some of {_listed(FILES)}"
        raise ConfigError(f"{KEY}: {what}: give {there}") from error
    for name in names:
        if name not in (*FILES, BASE):
            raise ConfigError(f"{KEY}: {_unknown(f'{folder} holds', name, (*FILES, BASE))}")
    if not names:
        raise ConfigError(f"{KEY}: {folder} holds none of {_listed(FILES)}")
    base = SETS[_base(folder / BASE)] if BASE in names else BUILT_IN
    return _prompts(
        {
            name: _template(folder / f"{name}.txt", given) if f"{name}.txt" in names else given
            for name, given in _templates(base).items()
        },
        _examples(folder / EXAMPLES) if EXAMPLES in names else base.examples,
    )


def files_of(prompts: Prompts) -> dict[str, str]:
    """Files by their names that ``read_prompts`` makes the same prompts of."""
    texts = {f"{name}.txt": _file(template) for name, template in _templates(prompts).items()}
    examples = [asdict(w) | {"wanted": dict(w.wanted)} for w in prompts.examples]
    told = [{name: text for name, text in one.items() if text != ""} for one in examples]
    return texts | {EXAMPLES: dump_yaml(told, width=100)}


def _file(template: Template) -> str:
    stops = json.dumps(list(template.stop), ensure_ascii=False)
    return f"---\nstop: {stops}\n---\n" * bool(template.stop) + template.text + "\n"


def _templates(prompts: Prompts) -> dict[str, Template]:
    whose = dict.fromkeys(TEACHER, prompts) | dict.fromkeys(CRITIC, prompts.critic)
    return {name: getattr(some, name) for name, some in whose.items()}


def _prompts(templates: dict[str, Template], examples: tuple[WorkedExample, ...]) -> Prompts:
    whose: dict[str, Any] = {name: templates[name] for name in TEACHER}
    critic: dict[str, Any] = {name: templates[name] for name in CRITIC}
    return Prompts(**whose, critic=CriticPrompts(**critic, examples=examples), examples=examples)


def _base(path: Path) -> str:
    name = _text(path)
    if name not in SETS:
        raise ConfigError(f"{KEY}: {path} must say {' or '.join(SETS)}, got {name!r:.60}")
    return name


def _template(path: Path, built_in: Template) -> Template:
    template = _parsed(path)
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


def _parsed(path: Path) -> Template:
    """The template in a file, with the stop strings of its head where it has one."""
    text = _text(path)
    head = _HEAD.match(text)
    if not head:
        return Template(text)
    told = parse_yaml(head[1], path)
    _require_keys(told, ("stop",), f"{path}, between its lines of ---,", required=("stop",))
    stops = told["stop"]
    if not isinstance(stops, list) or not all(isinstance(s, str) and s for s in stops):
        raise ConfigError(f"{KEY}: {path}: stop must be a list of texts, got {stops!r:.60}")
    if len(stops) > MAX_STOPS:
        raise ConfigError(f"{KEY}: {path}: stop has {len(stops)} texts; {MAX_STOPS} are possible")
    return Template(text[head.end() :].strip(), tuple(stops))


def _examples(path: Path) -> tuple[WorkedExample, ...]:
    told = parse_yaml(_text(path), path)
    if not isinstance(told, list):
        raise ConfigError(f"{KEY}: {path} must be a list of worked examples; [] gives none")
    return tuple(_worked(one, f"{path}, example {n}") for n, one in enumerate(told, 1))


def _worked(told: Any, where: str) -> WorkedExample:
    names = [field.name for field in fields(WorkedExample)]
    required = [name for name in names if name not in OPTIONAL]
    _require_keys(told, names, where, required)
    _require_keys(told["wanted"], REPLIES, f"{where}, wanted", required=())
    texts = {name: told[name] for name in names if name != "wanted" and name in told}
    for name, text in (*texts.items(), *told["wanted"].items()):
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(f"{KEY}: {where}: {name} must be a text, got {text!r:.60}")
    made = {name: text.strip() for name, text in texts.items()}
    if not read_verdict(made["ruling"]):
        raise ConfigError(f"{KEY}: {where}: ruling must begin with Right or Wrong")
    return WorkedExample(**made, wanted=tuple((n, t.strip()) for n, t in told["wanted"].items()))


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


def _built_in(name: str) -> Prompts:
    folder = Path(__file__).with_name("templates") / name
    templates = {name: _parsed(folder / f"{name}.txt") for name in TEMPLATES}
    return _prompts(templates, _examples(folder / EXAMPLES))


SETS = {name: _built_in(name) for name in ("small", "large")}
BUILT_IN, LARGE = SETS["small"], SETS["large"]  # where no other is named, the small one
CONCRETE, RUBBER = BUILT_IN.examples
