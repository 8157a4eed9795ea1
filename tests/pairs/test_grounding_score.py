"""How far answers stand in their sources, by hand."""

import pytest

from preflexor_pl.pairs.grounding_score import content_words, grounding, numbers_in, stem

SOURCE = "Nacre is 95 % aragonite. Its tablets, 500 nm thick, slide, and proteins bridge them."


def found(answer, source=SOURCE, question=""):
    made = grounding(answer, [source], question)
    return made.found, made.total, made.invented


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        ("The tablets slide.", (2, 2, ())),
        (
            "The tablet was sliding, bridged by a protein.",
            (4, 4, ()),
        ),  # tablet slide bridge protein
        ("The tablets dissolve in acid.", (1, 3, ())),
        ("It has 95% aragonite.", (2, 2, ())),
        ("It has 95 percent aragonite.", (2, 2, ())),
        ("It has 80 % aragonite.", (1, 2, ("80 %",))),
        ("The tablets are 0.5 µm thick.", (3, 3, ())),
        ("The tablets are 500 nanometres thick.", (3, 3, ())),
        ("The tablets are 500 µm thick.", (2, 3, ("500 um",))),
        ("Tablets, tablets, TABLETS.", (1, 1, ())),
        ("So it is.", (0, 0, ())),
        ("", (0, 0, ())),
    ],
)
def test_words_and_numbers_are_looked_for_in_the_source(answer, counts):
    assert found(answer) == counts


def test_what_the_question_says_is_no_evidence():
    answer = "The tablets slide at 20 °C."
    assert found(answer, question="How do tablets move at 20 °C?") == (1, 1, ())


def test_the_score_is_a_share_and_an_answer_that_adds_nothing_has_none():
    assert grounding("The tablets dissolve.", [SOURCE]).score == 1 / 2
    assert grounding("Nacre.", [SOURCE], "Why nacre?").score == 0


def test_of_two_answers_that_stand_whole_in_the_source_the_fuller_ranks_higher():
    short, full = (grounding(text, [SOURCE]) for text in ("It slides.", "The tablets slide."))
    assert (short.score, full.score) == (1, 1)
    assert (short.rank, full.rank) == (1 / 3, 2 / 4)


def test_several_sources_count_together():
    assert grounding("Silk and nacre bend.", ["Silk bends.", "Nacre."]).score == 1


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("about 3,000 times", [("3000", "")]),
        ("1.0 GPa and 1 GPa", [("1e+09", "Pa"), ("1e+09", "Pa")]),
        ("2,5 MPa", [("2.5e+06", "Pa")]),
        ("10⁶ cycles, 10^6 cycles, 10^{6}", [("1e+06", "")] * 3),
        ("1.2 × 10⁵ Pa and 1.2e5 Pa", [("120000", "Pa"), ("120000", "Pa")]),
        ("5-10 nm", [("5", ""), ("1e-08", "m")]),
        ("mfp-5, C60 and H2O", []),
        ("1. First\n2) Second", []),
        ("25 °C is 25 degrees Celsius", [("25", "°C"), ("25", "°C")]),
        ("5 seconds", [("5", "s")]),
        ("5 mice", [("5", "")]),
        (r"$1.1\,\mathrm{GPa}$ and $1.1~\text{GPa}$", [("1.1e+09", "Pa")] * 2),
        (r"$5\,\mu\mathrm{m}$ and $5\ \mu m$", [("5e-06", "m")] * 2),
        (r"$1.5 \times 10^{3}\,\mathrm{Hz}$", [("1500", "Hz")]),
        (r"$27\,\%$ at $37^\circ\mathrm{C}$", [("27", "%"), ("37", "°C")]),
        (r"$10\,000$ cycles", [("10000", "")]),
        (r"the friction $\mu$ is 0.3", [("0.3", "")]),
    ],
)
def test_numbers_are_read_with_their_units(text, numbers):
    assert [(number.value, number.unit) for number in numbers_in(text)] == numbers


def test_a_number_without_a_unit_is_matched_by_its_value():
    assert found("It is 5 GPa.", "Modulus (GPa): 5") == (1, 1, ())
    assert found("It is 5.", "It is 5 GPa.") == (1, 1, ())
    assert found("It is 5 GPa.", "It is 5 mm.") == (0, 1, ("5 GPa",))


@pytest.mark.parametrize(
    "words",
    ["stretch stretches stretched stretching", "bridge bridges bridged bridging",
     "property properties", "stop stops stopped stopping", "glass glasses", "slow slowly"],
)  # fmt: skip
def test_forms_of_a_word_have_one_stem(words):
    assert len({stem(word) for word in words.split()}) == 1


def test_words_of_any_script_are_found_and_commands_of_latex_are_none():
    assert content_words("蜘蛛丝很强韧") == content_words("强韧 蜘蛛丝 很")
    assert "frac" not in content_words(r"the \frac{stress}{strain}")


@pytest.mark.parametrize(
    "odd", ["\ud800 silk", "�", "٣ أنسجة", "<|x|>", "5" * 400, "1e9999", "10^-999"]
)
def test_no_text_is_too_odd(odd):
    grounding(odd, [odd], odd)


def test_units_in_latex_are_no_words():
    assert found(r"$\sigma = 1.1\,\mathrm{GPa}$", "1.1 GPa") == (1, 1, ())
    assert found(r"$\sigma = 1.1\,\mathrm{MPa}$", "1.1 GPa") == (0, 1, ("1.1 MPa",))
