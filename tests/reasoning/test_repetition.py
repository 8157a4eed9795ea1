import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflexor_pl.core.markers import MARKERS, THINK_END, THINK_START
from preflexor_pl.reasoning.repetition import cut_repetition

PHRASE = "the layers share the load"  # five words


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("no " * 12, "no"),
        ("It bends. " + "no " * 12, "It bends. no"),
        ("No no NO " + "no " * 9, "No"),
        (f"{PHRASE} " * 3, PHRASE),
        (f"{PHRASE}\n\n" * 3, PHRASE),
        (f"First {PHRASE} " + f"{PHRASE} " * 3, f"First {PHRASE}"),
        (f"{PHRASE} " * 3 + "the lay", PHRASE),  # cut off within a word
        (f"{PHRASE} " * 3 + "the layers share the", PHRASE),
        (f"share the load {PHRASE} " + f"{PHRASE} " * 2, "share the load the layers"),
        (" ".join(f"w{i}" for i in range(80)) + " ", None),
        ((" ".join(f"w{i}" for i in range(80)) + " ") * 3, " ".join(f"w{i}" for i in range(80))),
        ("a" * 32, "a"),
        ("丝绸会弯曲所以坚韧" * 4, "丝绸会弯曲所以坚韧"),
        ("It is ha" + "ha" * 20 + "h", "It is ha"),
        (f"It bends.{THINK_END}" + "ha" * 20, f"It bends.{THINK_END}ha"),
        ("It bends " + "=-" * 40 + " \n", "It bends =-"),
        (THINK_START * 20, THINK_START),
        (f"{THINK_START}It bends.{THINK_END}Yes." * 4, f"{THINK_START}It bends.{THINK_END}Yes."),
        (f"{THINK_START} {THINK_END} " * 6, f"{THINK_START} {THINK_END}"),
    ],
)
def test_a_loop_is_cut_to_its_first_occurrence(text, cut):
    assert cut_repetition(text) == ((text, False) if cut is None else (cut, True))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "no",
        "no, no, no",
        "no " * 11,  # fewer than twelve words
        f"{PHRASE} " * 2,  # said twice
        f"{PHRASE} " * 2 + "the layers share the",
        f"{PHRASE} " * 3 + "and that is all",  # it went on
        (" ".join(f"w{i}" for i in range(81)) + " ") * 3,  # a longer phrase than is looked for
        "a" * 31,
        "ha" * 40 + THINK_END,
        "5>" + THINK_START * 3,
        "a" * 40 + " and that is all",
        "Silk bends, nacre slides, bone heals.",
        "1. Silk bends. 2. Nacre bends. 3. Bone bends. 4. Wood bends.",
    ],
)
def test_what_is_no_loop_stays(text):
    assert cut_repetition(text) == (text, False)


words = st.lists(st.sampled_from([*MARKERS, "a", "b ", "c\n", "ha", " ", "<", "|>"]), max_size=60)


@given(words.map("".join) | st.text())
def test_any_text_is_a_beginning_of_itself(text):
    kept, looped = cut_repetition(text)
    assert text.startswith(kept)
    assert looped == (len(kept) < len(text))
    assert not looped or kept.strip()


@given(words.map("".join), st.sampled_from(["x y z w ", "xyz ", f"{THINK_END}x "]))
def test_a_loop_at_the_end_is_found_after_any_text(before, phrase):
    kept, looped = cut_repetition(before + " " + phrase * 30)
    assert looped
    assert len(kept) <= len(before) + 1 + len(phrase)


def test_long_texts_take_little_time():
    start = time.perf_counter()
    for text in (
        "a" * 6000 + " b",
        "ab" * 3000 + "c" * 10 + "d" * 6,
        "a b " * 6000 + "c",
        "a" * 6000 + "bcdefghijklmnopqrstuvw",
        "word " * 20000,
    ):
        cut_repetition(text)
    assert time.perf_counter() - start < 3
