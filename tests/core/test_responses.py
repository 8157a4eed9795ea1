import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflexor_pl.core.markers import DESCRIBING_WORDS, MARKERS, TRIGGER
from preflexor_pl.core.responses import parse_response

O, C, R, E = MARKERS  # noqa: E741  open and close thinking, open and close reflection


@pytest.mark.parametrize(
    ("text", "thinking", "reflection", "answer", "problems"),
    [
        # the two forms that training asks for
        (f"{O}t{C}a", "t", None, "a", ()),
        (f" \n{O}\n t u \n{C}\n\n a b \n", "t u", None, "a b", ()),
        (f"{O}t{C}\n{R}r{E}\na", "t", "r", "a", ()),
        # no thinking
        ("a", None, None, "a", ("no_thinking",)),
        ("", None, None, "", ("no_thinking", "empty_answer")),
        (f"t{C}a", None, None, "a", ("no_thinking", "close_without_open")),
        (f"{R}r{E}a", None, "r", "a", ("no_thinking",)),
        (f"r{E}a", None, None, "a", ("no_thinking", "close_without_open")),
        # a section that is still open: no answer
        (f"{O}t", "t", None, None, ("unclosed_thinking",)),
        (f"{O}", "", None, None, ("unclosed_thinking", "empty_thinking")),
        (f"x{O}t", "t", None, None, ("unclosed_thinking", "text_before_thinking")),
        (f"{O}t{C}{R}r", "t", "r", None, ("unclosed_reflection",)),
        (f"{O}t{R}r{E}a", "t r a", "r", None, ("unclosed_thinking", "nested")),
        (f"{C}x{O}t", "t", None, None, ("unclosed_thinking", "close_without_open")),
        # nested: the outermost section counts, and one close does not close two openings
        (f"{O}t{O}u{C}v{C}a", "t u v", None, "a", ("nested",)),
        (f"{O}t{O}u{C}a", "t u a", None, None, ("unclosed_thinking", "nested")),
        (f"{O}t{R}r{C}s{E}a", "t r", "r s", "a", ("nested",)),
        # several
        (f"{O}t{C}{O}u{C}a", "t", None, "a", ("several_sections",)),
        (f"{O}t{C}x{O}u{C}a", "t", None, "a", ("several_sections", "text_between_sections")),
        (f"{O}t{C}{R}r{E}{R}s{E}a", "t", "r", "a", ("several_sections",)),
        # order and stray text
        (f"x{O}t{C}a", "t", None, "a", ("text_before_thinking",)),
        (f"{O}t{C}x{R}r{E}a", "t", "r", "a", ("text_between_sections",)),
        (f"{R}r{E}{O}t{C}a", "t", "r", "a", ("reflection_before_thinking",)),
        (f"{O}t{C}a{C}b", "t", None, "b", ("close_without_open",)),
        # empty parts
        (f"{O} \n{C}a", "", None, "a", ("empty_thinking",)),
        (f"{O}t{C}{R}{E}a", "t", "", "a", ("empty_reflection",)),
        (f"{O}t{C} \n", "t", None, "", ("empty_answer",)),
    ],
)
def test_reading(text, thinking, reflection, answer, problems):
    parsed = parse_response(text)
    assert (parsed.thinking, parsed.reflection, parsed.answer) == (thinking, reflection, answer)
    assert parsed.problems == problems


def test_a_deleted_marker_does_not_join_its_sides_into_a_new_one():
    parsed = parse_response(f"{O}<|/thin{O}x{C}king|>{C}a")
    assert parsed.answer == "a"
    assert not any(marker in parsed.thinking for marker in MARKERS)
    joined = parse_response(f"{O}<|thin{R}king|>{E}{C}a")
    assert joined.thinking == "<|thin king|>"


pieces = st.lists(st.sampled_from([*MARKERS, "t", " ", "\n", "<|", "|>", "/", "thinking"]))


@settings(max_examples=500, deadline=None)
@given(pieces.map("".join) | st.text())
def test_any_string_has_a_reading(text):
    parsed = parse_response(text)
    for part in (parsed.thinking, parsed.reflection, parsed.answer):
        assert part is None or part == part.strip()
        assert part is None or not any(marker in part for marker in MARKERS)
    assert (parsed.thinking is None) == ("no_thinking" in parsed.problems)
    unclosed = {"unclosed_thinking", "unclosed_reflection"} & set(parsed.problems)
    assert (parsed.answer is None) == bool(unclosed)
    assert parsed.answer is None or text.rstrip().endswith(parsed.answer)
    assert len(set(parsed.problems)) == len(parsed.problems)
    assert parsed == parse_response(f"\n {text} \n")


plain = st.text().map(str.strip).filter(lambda s: s and not any(marker in s for marker in MARKERS))


@settings(max_examples=200, deadline=None)
@given(plain, plain)
def test_the_form_is_read_back_as_written(thinking, answer):
    parsed = parse_response(f"{O}{thinking}{C}{answer}")
    assert (parsed.thinking, parsed.answer) == (thinking, answer)
    assert (parsed.reflection, parsed.problems) == (None, ())


@settings(max_examples=500, deadline=None)
@given(pieces.map("".join))
def test_well_formed_is_exactly_two_markers_in_order(text):
    head, opened, rest = text.partition(O)
    inside, closed, answer = rest.partition(C)
    expected = bool(
        opened
        and closed
        and not head.strip()
        and inside.strip()
        and answer.strip()
        and not any(marker in inside + "\0" + answer for marker in MARKERS)
    )
    parsed = parse_response(text)
    assert (parsed.reflection is None and not parsed.problems) == expected


def test_every_marker_has_words_of_its_own_and_the_trigger_names_the_first():
    assert set(DESCRIBING_WORDS) == set(MARKERS)
    words = [word for words in DESCRIBING_WORDS.values() for word in words]
    assert len(set(words)) == len(words)
    assert TRIGGER == " Use <|thinking|>."
