import pytest

from preflexor_pl.core.responses import parse_response
from preflexor_pl.pairs import reading


@pytest.mark.parametrize(
    ("reply", "question"),
    [
        ("How does nacre resist cracks?", "How does nacre resist cracks?"),
        ("how does nacre resist cracks?", "How does nacre resist cracks?"),
        ("Question: How does nacre resist cracks?", "How does nacre resist cracks?"),
        ("**Question:** How does nacre resist cracks?", "How does nacre resist cracks?"),
        ("Q: How does nacre resist cracks?", "How does nacre resist cracks?"),
        ('"How does nacre resist cracks?"', "How does nacre resist cracks?"),
        ("  How  does nacre\tresist cracks? Because", "How does nacre resist cracks?"),
        ("Sure! How does nacre resist cracks? And how does bone?", "How does nacre resist cracks?"),
        ("Good.\nHow does nacre resist cracks?", "How does nacre resist cracks?"),
        ("Why is the answer of mussels glue?", "Why is the answer of mussels glue?"),
    ],
)
def test_a_usable_question_is_taken_out_of_its_reply(reply, question):
    assert reading.read_question(reply) == (question, "")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "not_a_question"),
        ("Nacre resists cracks.", "not_a_question"),
        ("How does nacre resist\ncracks", "not_a_question"),
        ("?", "question_too_short"),
        ("Why is nacre?", "question_too_short"),
        ("What does the passage say about nacre?", "question_mentions_source"),
        ("What does the given text say about nacre?", "question_mentions_source"),
        ("According to experts, how does nacre break?", "question_mentions_source"),
        ("What did the authors find in nacre?", "question_mentions_source"),
        ("How does this resist the cracks?", "question_not_standalone"),
        ("How strong is the material in water?", "question_not_standalone"),
    ],
)
def test_a_reply_without_a_usable_question_says_why(reply, reason):
    assert reading.read_question(reply)[1] == reason


@pytest.mark.parametrize(
    ("reply", "sentence", "reason"),
    [
        ("It bends before it breaks", "It bends before it breaks.", ""),
        (" It bends\n before  it breaks. ", "It bends before it breaks.", ""),
        ("Does it bend before?", "Does it bend before?", ""),
        ("It bends well.", "It bends well.", "sentence_too_short"),
        ("", "", "sentence_too_short"),
    ],
)
def test_a_sentence_is_closed_and_has_four_words(reply, sentence, reason):
    assert reading.read_sentence(reply) == (sentence, reason)


def test_a_chosen_response_is_well_formed():
    blocks = {"Steps": " First this. ", "Concepts": "That."}
    response = reading.chosen_response(blocks, " So it is.\n")
    assert response == (
        "<|thinking|>\n**Steps**: First this.\n\n**Concepts**: That.\n<|/thinking|>\nSo it is."
    )
    assert parse_response(response).is_well_formed
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
