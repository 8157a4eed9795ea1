"""Keys are on disk in the journals of older runs: they stay byte for byte."""

import pytest

from preflexor_pl.pairs.call_key import CallKey

WRITTEN = {
    "question/0000-0003/0": CallKey("question", "0000-0003"),
    "question/0000-0003/1": CallKey("question", "0000-0003", number=1),
    "thinking/0000-0003/Reasoning Steps/1": CallKey("thinking", "0000-0003", "Reasoning Steps", 1),
    "thinking/held-0003/Cause/Effect/0": CallKey("thinking", "held-0003", "Cause/Effect"),
    "answer/0000-0003/2/1": CallKey("answer", "0000-0003", "2", 1),
    "rejected/0000-0003": CallKey("rejected", "0000-0003"),
    "rejected/0000-0003/2": CallKey("rejected", "0000-0003", number=2),
    "rejected/0001-own-0004/1": CallKey("rejected", "0001-own-0004", number=1),
    "judging/0000-0003": CallKey("judging", "0000-0003"),
    "judging/0000-0003/5": CallKey("judging", "0000-0003", number=5),
}


@pytest.mark.parametrize(("text", "key"), WRITTEN.items())
def test_a_key_is_written_and_read_again(text, key):
    assert str(key) == text
    assert CallKey.parse(text) == key


def test_a_ruling_is_called_as_the_answer_that_it_is_on():
    draw = CallKey("rejected", "0000-0003", number=2).draw
    assert draw == "0000-0003/2"
    assert str(CallKey("judging", draw)) == "judging/0000-0003/2"


def test_what_is_no_key_is_refused():
    with pytest.raises(ValueError, match="unpack"):
        CallKey.parse("question")
