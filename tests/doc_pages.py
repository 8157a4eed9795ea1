"""The pages that tests hold to the code, and what stands in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")))
}
EVERYTHING = "\n".join(PAGES.values())
_BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:python -m preflexor_pl\.|preflexor )(\w+)(.*)")


def blocks(language, text=EVERYTHING):
    return [body for name, body in _BLOCK.findall(text) if name == language]


def block_with(language, part):
    [found] = [body for body in blocks(language) if part in body]
    return found


def prose(text):
    """A page without its fenced blocks."""
    return _BLOCK.sub("", text)


def shell_lines(text=EVERYTHING):
    """The commands in a page's bash blocks, without the comments behind them."""
    lines = "".join(blocks("bash", text)).replace("\\\n", " ").splitlines()
    return [re.split(r"\s+#\s", line)[0] for line in lines if line and not line.startswith("#")]


def commands(name, text=EVERYTHING):
    """The arguments of each call of a command of ours."""
    found = [_COMMAND.fullmatch(line) for line in shell_lines(text)]
    return [match[2].split(" > ")[0] for match in found if match and match[1] == name]


def configs():
    """The YAML files that pages show, by their names."""
    named = [re.match(r"# (\w+\.yaml)", body) for body in blocks("yaml")]
    return {match[1]: match.string for match in named if match}
