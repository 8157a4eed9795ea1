import pytest

from preflexor_pl.core.responses import parse_response
from preflexor_pl.pairs import reply_parsing as reading


@pytest.mark.parametrize(
    ("reply", "block", "reason"),
    [
        ("It bends before it breaks", "It bends before it breaks.", ""),
        (" It bends before it breaks. \n", "It bends before it breaks.", ""),
        ("Does it bend before?", "Does it bend before?", ""),
        ("它先弯曲 然后 才会 断裂。", "它先弯曲 然后 才会 断裂。", ""),
        ("It bends: $$E = mc^2$$", "It bends: $$E = mc^2$$", ""),
        ("It bends well.", "It bends well.", "sentence_too_short"),
        ("", "", "sentence_too_short"),
        ("It bends as follows:", "It bends as follows:", "ends_in_colon"),
        ("I'm sorry, I can't.", "I'm sorry, I can't.", "refusal"),
        ("It bends.\n\nThen it breaks", "It bends.\n\nThen it breaks", ""),
        ("**Steps**: 1. It bends.\n2. Then", "1. It bends.\n2. Then", "unfinished_list"),
        ("**Steps:** It bends, then breaks.", "It bends, then breaks.", ""),
        ("### steps\n\nIt bends, then breaks.", "It bends, then breaks.", ""),
        ("Steps: It bends, then breaks.", "It bends, then breaks.", ""),
        ("Steps of silk: it bends.", "Steps of silk: it bends.", ""),
        ("**One**: it bends so.\n- **Two** : it", "**One:** it bends so.\n- **Two:** it", ""),
    ],
)  # fmt: skip
def test_a_block_keeps_its_form_and_loses_its_own_heading(reply, block, reason):
    assert reading.read_block(reply, "Steps") == (block, reason)


@pytest.mark.parametrize(
    "block",
    ["1. It bends.\n2. It breaks.", "- It bends.", "| a | b |\n|---|---|\n| 1 | 2 |", "$$E$$"],
)
def test_what_needs_a_line_of_its_own_begins_on_one(block):
    said = reading.thinking_text({"Steps": block, "Concepts": "That."})
    assert said == f"**Steps**:\n{block}\n\n**Concepts**: That."


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("It bends, so it is tough.", ""),
        ("It is so.", "answer_too_short"),
        ("I cannot answer this question.", "refusal"),
        ("It bends for these reasons:", "ends_in_colon"),
        ("It bends.\n\n1. One way.\n2.", "unfinished_list"),
    ],
)
def test_an_answer_is_whole(reply, reason):
    assert reading.read_answer(reply) == (reply, reason)


def test_a_chosen_response_is_well_formed():
    blocks = {"Steps": " First this. ", "Concepts": "That."}
    response = reading.chosen_response(blocks, " So it is.\n")
    assert response == (
        "<|thinking|>\n**Steps**: First this.\n\n**Concepts**: That.\n<|/thinking|>\nSo it is."
    )
    assert parse_response(response).problems == ()
    assert parse_response(response).answer == "So it is."


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("It bends, then it breaks.", "repeats_thinking"),  # all of its 4 words
        ("It bends, then it really breaks.", ""),  # 4 of 5 are known: at the limit
        ("It bends a lot, then it breaks twice.", ""),
        ("It does not.", "sentence_too_short"),
    ],
)
def test_a_criticism_says_more_than_the_thinking(reply, reason):
    assert reading.read_critique(reply, "First it bends, and then it breaks.")[1] == reason
