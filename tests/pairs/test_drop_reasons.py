"""Reasons of drops: told in one line, and each of them in the docs."""

import ast
import re
from pathlib import Path

from preflexor_pl.pairs.drop_reasons import ADVICE, advice, by_reason

ROOT = Path(__file__).parents[2]
WHERE = [
    *(ROOT / "preflexor_pl/pairs" / f"{name}.py" for name in (
        "question_reply", "reply_parsing", "reply_checks", "stages", "journaled_client",
        "rejection", "strip_thoughts", "quotes", "task_round",
    )),
    *(ROOT / "preflexor_pl/server" / f"{name}.py" for name in ("replies", "connection")),
    ROOT / "preflexor_pl/core/model_thinking.py",
    ROOT / "preflexor_pl/batches/collate.py",
]  # fmt: skip
SLUG = re.compile(r"[a-z]+(?:_[a-z]+)+|refusal")
# f"{name}_cut" and the like, with the names that stand there
MADE_UP = {
    "_cut": ["question", "thinking", "reflection", "answer"],
    "_too_long": ["chosen", "rejected"],
    "_no_target": ["chosen", "rejected"],
    "rejected_": ["right", "unclear"],
}
CONSTANTS = {"REFUSED", "TOO_LONG", "THINKING_CUT", "ONLY_THINKING"}
NO_REASON = {
    "all_right",  # of a round of a task
    "pass_rate",
    "content_filter",
    "context_length_exceeded",
    "finish_reason",  # a field of a reply
    "of_use",
    "special_strings",
}


def reasons_in(path):
    """Slugs that are returned, assigned to a reason, or given to whoever drops or raises."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Return):
            parts = [node.value]
        elif isinstance(node, ast.Assign):
            named = {n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            parts = [node.value] if named & {"reason", "lost", "cut", "failed", *CONSTANTS} else []
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            parts = (
                node.args
                if name in {"drop", "_problem", "UnreadableReply", "RequestRefused"}
                else []
            )
        else:
            continue
        for leaf in (leaf for part in parts if part for leaf in ast.walk(part)):
            if isinstance(leaf, ast.JoinedStr):
                [text] = [v.value for v in leaf.values if isinstance(v, ast.Constant)][:1] or [""]
                names = MADE_UP.get(text, [])
                yield from (f"{n}{text}" if text[:1] == "_" else f"{text}{n}" for n in names)
            elif isinstance(leaf, ast.Constant) and SLUG.fullmatch(str(leaf.value)):
                yield leaf.value


def test_every_reason_is_in_the_docs_and_nothing_else():
    found = {reason for path in WHERE for reason in reasons_in(path)} - NO_REASON
    page = (ROOT / "docs/pairs.md").read_text(encoding="utf-8")
    docs = page.partition("## Why things are dropped")[2]
    rows = [line.split("|")[1] for line in docs.splitlines() if line.startswith("| `")]
    assert {reason for row in rows for reason in re.findall(r"`(\w+)`", row)} == found
    assert set(ADVICE) < found


def test_reasons_are_told_with_the_most_frequent_first_and_what_helps():
    reasons = ["not_a_question", "answer_cut", "answer_cut"]
    assert by_reason(reasons) == "answer_cut 2, not_a_question 1"
    assert advice(reasons) == ": raise data.teacher.answer.max_new_tokens"
    assert advice(["not_a_question"]) == advice([]) == ""
