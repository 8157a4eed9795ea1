"""A round with a strong teacher behind a server, asked with ``large``: what it writes survives."""
# ruff: noqa: E501

import json
import re

import pytest

from preflexor_pl.core.responses import parse_response
from preflexor_pl.core.settings import Sampling
from preflexor_pl.core.teacher_settings import ThinkingSettings
from preflexor_pl.pairs.prompt_files import LARGE
from preflexor_pl.server.generator import RemoteGenerator
from tests.scripted import FIRST, LIMITS, SUBJECTS, make_round, scripted_maker
from tests.server.bad_server import BadServer, good

pytestmark = pytest.mark.usefixtures("short_waits")

CATEGORIES = {
    "Reasoning Steps": "the steps",
    "Relevant Materials or Concepts": "the concepts",
    "Design Principles": "the principles",
    "Material Properties": "the properties",
    "Hypothesis": "a hypothesis",
}
BLOCKS = {
    "the steps": "1. **Loading**: {0} takes the load at pH 8.2.\n2. **Sharing**: it spreads.",
    "the concepts": "**Relevant Materials or Concepts**\n\n- {0}, e.g. its fibrils\n- sacrificial bonds",
    "the principles": "**Hierarchy**: the levels of {0} carry different loads.\n\n### Why\n\nThey differ.",
    "the properties": "| property | {0} |\n|---|---|\n| modulus | 10 GPa |\n| strain | 0.3 |",
    "a hypothesis": "If $E_f$ of {0} doubles, then\n\n$$\\sigma = \\frac{{E_f}}{{2}}\\varepsilon$$",
}
CRITIQUE = (
    "The second step does not follow.\n\nIt needs evidence about moisture within {0}, because water "
    "plasticises its matrix; state the humidity of every measurement."
)
ANSWER = (
    "In {0}, stiff crystals and soft chains share the load.\n\n1. **Stiffness.** Crystals carry it, "
    "with $E \\approx 10$ GPa.\n2. **Toughness.** Chains dissipate energy:\n\n"
    "$$W = \\int_0^{{\\varepsilon_b}} \\sigma \\, d\\varepsilon$$\n\nSo it bends before it breaks."
)
QUESTION = "How does {0} carry its load, and what would change if its chains were stiff?"


def strong_teacher(call):
    """Good texts; and for some subjects what strong teachers also send."""
    stage = {LIMITS[kind]: kind for kind in LIMITS}[call.body["max_tokens"]]
    subject = next(s for s in SUBJECTS if f"subject: {s}" in call.prompt)
    again = call.body["temperature"] != FIRST
    if (stage, subject) == ("thinking", "nacre"):
        return good("I'm sorry, but I can't help with that.")
    if (stage, subject) == ("answer", "bone"):
        return good("Three mechanisms are at work:\n\n1. Cracks are bridged.\n2. Cracks are")
    if (stage, subject, again) == ("answer", "gecko", False):
        return good("The reasons are these:")
    if (stage, subject, again) == ("answer", "spider", False):
        return good("The layers share the load until", "length")
    if stage == "thinking":
        wanted = next(what for what in BLOCKS if f": {what}. Rest on" in call.prompt)
        return good(BLOCKS[wanted].format(subject))
    text = {"question": QUESTION, "reflection": CRITIQUE, "answer": ANSWER}[stage].format(subject)
    return good(f"<think>\nThe user wants {stage}.\n</think>\n\n{text}")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("round")
    thinking = ThinkingSettings(
        CATEGORIES, Sampling(max_new_tokens=LIMITS["thinking"], temperature=FIRST), 1
    )
    with BadServer(strong_teacher) as server:
        maker = scripted_maker(
            RemoteGenerator(server.settings()), prompts=LARGE, thinking=thinking, reflection=True
        )
        pairs = make_round(maker, folder, 5, 0)
    drops = [json.loads(line) for line in (folder / "drops.jsonl").read_text().splitlines()]
    return pairs, drops, server.calls


def test_each_thing_is_asked_for_without_examples_and_stops(made):
    _, _, calls = made
    assert all("stop" not in call.body for call in calls)
    roles = {tuple(turn["role"] for turn in call.body["messages"]) for call in calls}
    assert roles == {("system", "user")}


def test_five_blocks_in_their_order_keep_lists_tables_and_formulas(made):
    pairs, _, _ = made
    subjects = [subject for subject in SUBJECTS if subject not in ("nacre", "bone")]
    assert len(pairs) == 5
    for pair, subject in zip(pairs, subjects, strict=False):
        parsed = parse_response(pair.chosen)
        assert not {*parsed.problems}
        assert re.findall(r"^\*\*(.+?)\*\*:", parsed.thinking, re.MULTILINE) == [*CATEGORIES]
        for part in (
            f"**Reasoning Steps**:\n1. **Loading:** {subject} takes the load at pH 8.2.\n2. ",
            f"**Relevant Materials or Concepts**:\n- {subject}, e.g. its fibrils\n- sacrificial",
            f"**Design Principles**: **Hierarchy:** the levels of {subject}",
            "\n\n### Why\n\nThey differ.",
            f"**Material Properties**:\n| property | {subject} |\n|---|---|\n| modulus | 10 GPa |",
            r"$$\sigma = \frac{E_f}{2}\varepsilon$$",
        ):
            assert part in parsed.thinking
        assert parsed.reflection == CRITIQUE.format(subject)
        assert parsed.answer == ANSWER.format(subject)
        assert pair.prompt.startswith(QUESTION.format(subject))
        assert "The user wants" not in pair.chosen


def test_refusals_and_what_ends_in_the_middle_are_dropped_by_name(made):
    _, drops, _ = made
    assert {(drop["id"], drop["reason"]) for drop in drops} == {
        ("0000-0001", "refusal"),
        ("0000-0002", "unfinished_list"),
    }
