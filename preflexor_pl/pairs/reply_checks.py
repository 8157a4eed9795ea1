"""Whether a reply is whole, and a reply at all: what ends in the middle, refuses, or is a copy.

A server's ``stop`` does not mean that a text is complete: some models end their turn after a colon,
after the number of a list item, or inside a table.
"""

import re

from preflexor_pl.core.generator import Request

MIN_LETTERS = 16  # of an example's reply: a shorter one, as a judge's word, is no copy
_NOT = (
    r"(?:can(?:no|['\u2019])?t|can not|couldn['\u2019]t|won['\u2019]t|will not|unable|not able"
    r"|not allowed|not going)"
)
_DOING = (
    r"(?:help|assist|provid|answer|compl|fulfil|writ|creat|generat|giv|offer|shar|discuss|support"
    r"|engag|respond|continu|criticis|criticiz|access|determin|tell|do)\w*"
)
_POLITELY = (
    r"(?:(?:unfortunately|regrettably|hello|hi|sure|thank you|thanks)\b[^.!?\n]{0,40}?[,.!]\s*"
    r"|(?:based on|given|from) the [^.,!?\n]{0,60},\s*)+"
)
_REFUSALS = (
    r"(?:i|we)\b[^.?!\n]{0,30}\bsorry\b",  # I'm sorry, We are very sorry
    r"(?:sorry|(?:my )?apologies)\b[,.]?\s*(?:but\s+)?(?:as an ai|i\b|we\b|that\b)",
    rf"(?:i|we) apologi[sz]e\b[^.?!\n]{{0,80}}?\b{_NOT}\b",
    r"as an? (?:ai|artificial intelligence|(?:large )?language model)\b(?!-)[^.?!\n]{0,60}?\bi\b",
    r"i['\u2019]?(?:m| am) (?:just |only )?an? (?:ai|(?:large )?language model)\b",
    rf"i(?=['\u2019 ])[^.?!,\n]{{0,20}}?\b{_NOT}\b(?: to)?[^.?!\n]{{0,30}}?\b{_DOING}\b",
    r"i(?: must| have to)? (?:respectfully )?decline\b",
    r"i (?:do not|don['\u2019]t|am not|['\u2019]m not) (?:feel )?comfortable\b",
    r"the (?:(?:provided|given) \w+|context|passage|text|document|excerpt) (?:does|do)"
    r"(?:n['\u2019]t| not) (?:contain|provide|mention|include|specify|state|give)\b",
    r"there is (?:not enough|insufficient|no) (?:\w+ )?information"
    r"(?= (?:about|on|in the|to|given|provided|available|regarding)\b|[.,;]|$)",
    r"(?:this|the) question cannot be answered"
    r"(?= (?:from|based|given|using|because|as)\b| with the (?:given|provided|available)\b"
    r"|[.,:;]|$)",
    r"(?:es tut mir leid|leider kann ich|lo siento|(?:je suis )?d[e\u00e9]sol\w*"
    r"|mi dispiace|desculpe)\b",
    r"(?:\u5bf9\u4e0d\u8d77|\u5f88\u62b1\u6b49|\u62b1\u6b49|\u7533\u3057\u8a33"
    r"|\uc8c4\uc1a1|\u0438\u0437\u0432\u0438\u043d\u0438\u0442\u0435)",  # in zh, ja, ko, ru
)
_REFUSAL = re.compile(rf"\W*(?:{_POLITELY})?(?:{'|'.join(_REFUSALS)})", re.IGNORECASE)
_FENCE = re.compile(r"^ {0,3}(```|~~~)", re.MULTILINE)
_CODE = re.compile(r"^ {0,3}(```|~~~).*?^ {0,3}\1[^\n]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_ITEM = re.compile(r"\s*(?:[-*+\u2022\u2013]|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})[.)])(?:\s+|$)")
_END = r"[.!?\u2026\u3002\uff01\uff1f\u0964;:]"
_QUOTES = r"[\"'\u2019\u201d\u00bb)\]*_]*"
_ENDED = re.compile(rf"{_END}{_QUOTES}$|\$\$?$|\\[\])]$")  # of a list item
_OPEN_ENDED = re.compile(  # but Ca2+ and Cl- are ends
    r"(?:[,;\u060c\u3001\uff0c\uff1b(\[{\\/=<&\u2013\u2014]|(?<=\s)-)[*_]*$"
    r"|(?:^|\s)(?:the|a|an|and|or|but|because|than|its|their|such as|i\.e|e\.g)$"
)
_COLON = re.compile(r"[:\uff1a][\"'\u201d\u2019*_)\]]*$")
_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")  # under a table's head
_PAIRS = (
    (r"(?<!\\)\\\[", r"(?<!\\)\\\]"),
    (r"(?<!\\)\\\(", r"(?<!\\)\\\)"),
    (r"\\begin\{", r"\\end\{"),
    (r"\\left(?![a-zA-Z])", r"\\right(?![a-zA-Z])"),
)


def refuses(text: str) -> bool:
    """Whether a reply says that there will be none: "I'm sorry, but I can't help with that"."""
    return bool(_REFUSAL.match(text))


def copies_example(text: str, request: Request) -> bool:
    """Whether a reply is that of a worked example of its request, word for word.

    Case, white space, punctuation and a label before it do not matter; a small model that has lost
    its task says the example again.
    """
    said = {_letters(text), _letters(text.partition(":")[2])}
    for _, reply in request.examples:
        for stop in request.stop:  # as far as the model can have said it
            reply = reply.split(stop, 1)[0]
        letters = _letters(reply)
        if len(letters) >= MIN_LETTERS and letters in said:
            return True
    return False


def _letters(text: str) -> str:
    return "".join(re.findall(r"\w", text.casefold()))


def unfinished(text: str) -> str:
    """What a reply ends in the middle of, as a slug; "" where it seems whole.

    ``unfinished_code``, ``unfinished_latex``, ``unfinished_table``, ``unfinished_list``,
    ``ends_in_colon`` or ``unfinished_sentence``. A last sentence without its full stop is whole:
    stop strings, and habits, leave it out.
    """
    text = text.strip()
    plain = _CODE.sub("code", text)
    lines = plain.split("\n")
    if _FENCE.search(plain) or lines[-1].count("`") % 2:
        return "unfinished_code"
    if _open_latex(plain):
        return "unfinished_latex"
    if _open_table(lines):
        return "unfinished_table"
    if _open_list(lines):
        return "unfinished_list"
    if _COLON.search(text):
        return "ends_in_colon"
    open_bold = lines[-1].count("**") % 2 and re.search(r"(?:^|[\s(])\*\*[^*]+$", lines[-1])
    return "unfinished_sentence" if open_bold or _OPEN_ENDED.search(plain) else ""


def _open_latex(text: str) -> bool:
    if text.count("$$") % 2:
        return True
    if any(len(re.findall(a, text)) > len(re.findall(b, text)) for a, b in _PAIRS):
        return True
    # One $ can be money: it opens a formula only where a command follows that nothing closes.
    singles = re.split(r"(?<![\\$])\$(?!\$)", text)
    return len(singles) % 2 == 0 and bool(re.search(r"\\[a-zA-Z]+", singles[-1]))


def _open_table(lines: list[str]) -> bool:
    """Whether the text ends in a table without rows, or in a row with fewer cells than its head."""
    block: list[str] = []
    for line in reversed(lines):
        if "|" not in line and not (block and _RULE.match(line) and "-" in line):
            break
        block.insert(0, line.strip())
    rules = [place for place, line in enumerate(block) if "|" in line and _RULE.match(line)]
    if not rules:
        return len(block) == 1 and len(block[0]) > 1 and block[0][0] == "|" == block[0][-1]
    head, last = block[max(0, rules[0] - 1)], block[-1]
    if rules[-1] == len(block) - 1:
        return True
    bordered = head.endswith("|") and not last.endswith("|")
    return bordered or _cells(last) < _cells(block[rules[0]])


def _cells(row: str) -> int:
    inner = row.removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return len(re.findall(r"(?<!\\)\|", inner)) + 1


def _open_list(lines: list[str]) -> bool:
    """Whether the text ends in an item without words, or in one that others show to be cut."""
    items = [place for place, line in enumerate(lines) if _ITEM.match(line)]
    if not items:
        return False
    *earlier, last = (
        " ".join(" ".join(lines[start:end]).split())
        for start, end in zip(items, [*items[1:], len(lines)], strict=True)
    )
    if any(not line.strip() for line in lines[items[-1] :]):
        return False  # a paragraph follows the list
    words = _ITEM.sub("", last, count=1).strip()
    if not re.search(r"\w|[^\x00-\x7f]", words):
        return True
    if _COLON.search(words) or re.search(r"(?:[,;]|\b(?:and|or))[*_]*$", words):
        return bool(earlier) or not words.endswith(";")
    return len(earlier) > 0 and bool(
        not _ENDED.search(words) and all(_ENDED.search(item) for item in earlier)
    )
