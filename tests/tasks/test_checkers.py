"""Checkers by tables: an answer and what it counts as; and answers that want to do harm."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflexor_pl.tasks import checkers
from preflexor_pl.tasks.answer_text import contains, read_option
from preflexor_pl.tasks.checkers import Choice, Contains, Number, OneOf, make_checker
from preflexor_pl.tasks.quantities import quantities

OPTIONS = ["cell wall", "a layer of wax", "chitin", "the cell membrane"]
RIGHT, WRONG, UNREADABLE = "right", "wrong", "unreadable"


@pytest.mark.parametrize(
    ("expected", "answer", "verdict"),
    [
        ("Nacre", "nacre", RIGHT),
        ("Nacre", "  Nacre.\n", RIGHT),
        ("Nacre", "**Nacre**", RIGHT),
        ("Nacre", "**Nacre.**", RIGHT),
        ("Nacre", "\u201cNacre\u201d!", RIGHT),
        ("Nacre", "`nacre`", RIGHT),
        ("Nacre", "_'nacre'_", RIGHT),
        ("Nacre", "It is nacre", WRONG),
        ("Nacre", "nacr", WRONG),
        ("Nacre", "nacre nacre", WRONG),
        ("a layer of wax", "A  layer\nof\u00a0wax", RIGHT),
        ("\ufb01bre", "fibre", RIGHT),
        ("stra\u00dfe", "STRASSE", RIGHT),
        ("4.5", "4.5", RIGHT),
        ("4.5", "4.", WRONG),
        ("f'", "f'", RIGHT),
        ("f'", "f", WRONG),
        ("x", "", UNREADABLE),
        ("x", " \n", UNREADABLE),
        ("x", "**", UNREADABLE),
        ("x", "...", UNREADABLE),
    ],
)
def test_exact(expected, answer, verdict):
    assert make_checker("exact", expected, {}).check(answer) == verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [("Wax", RIGHT), ("waxes.", RIGHT), ("paraffin", RIGHT), ("some wax", WRONG), ("", UNREADABLE)],
)
def test_one_of(answer, verdict):
    checker = make_checker("one_of", "wax", {"accept": ["waxes", "paraffin"]})
    assert checker.check(answer) == verdict


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ("B", 1),
        ("B.", 1),
        (" (B) ", 1),
        ("**B**", 1),
        ("B: a layer of wax", 1),
        ("B\nIt repels water.", 1),
        ("B, not A", 1),
        ("Answer: D", 3),
        ("The answer is C.", 2),
        ("the right answer is: C", 2),
        ("The correct answer is option A.", 0),
        ("Option C is right.", 2),
        ("The letter is D", 3),
        ("C because it is strong", 2),
        ("It is a layer of  WAX.", 1),
        ("A layer of wax covers it.", 1),
        ("A layer of something", None),
        ("A-bonded chitin", 2),
        ("B - a layer", 1),
        ("The answer is Chitin", 2),
        ("chitin or a layer of wax", None),
        ("Because of it", None),
        ("E", None),
        ("", None),
    ],
)
def test_which_option_an_answer_names(answer, named):
    assert read_option(answer, OPTIONS) == named


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("B", RIGHT),
        ("B: a layer of wax", RIGHT),
        ("The answer is **B**.", RIGHT),
        ("A layer of wax.", RIGHT),
        ("chitin it is", WRONG),
        ("A", WRONG),
        ("C, since it is strong", WRONG),
        ("wax", WRONG),
        ("**wax**", WRONG),
        ("D", UNREADABLE),
        ("I do not know", UNREADABLE),
        ("wax or chitin", UNREADABLE),
        ("a layer of wax covers it", UNREADABLE),
        ("", UNREADABLE),
    ],
)
def test_choice(answer, verdict):
    """One option is a part of another: an answer that is one of them names it."""
    checker = make_checker(
        "choice", "", {"options": ["chitin", "a layer of wax", "wax"], "right": 1}
    )
    assert checker.check(answer) == verdict


def test_up_to_26_options_have_letters():
    options = tuple(f"option number {n}" for n in range(26))
    assert Choice(options, 25).check("Z") == RIGHT
    assert Choice(options, 25).check("The answer is Y") == WRONG


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("About 4 GPa.", RIGHT),
        ("It is four gigapascal", RIGHT),
        ("14 GPa", WRONG),
        ("4 GPa\u00e4", WRONG),
        ("nothing", WRONG),
        ("", UNREADABLE),
        (" .", UNREADABLE),
    ],
)
def test_contains(answer, verdict):
    checker = make_checker("contains", "4 GPa", {"accept": ["four gigapascal"]})
    assert checker.check(answer) == verdict
    assert contains(answer, "4 GPa") == (verdict == RIGHT and "4" in answer)


@pytest.mark.parametrize(
    ("expected", "details", "answer", "verdict"),
    [
        # plain numbers
        ("42", {}, "42", RIGHT),
        ("42", {}, "It has 41 or rather 42.", RIGHT),
        ("42", {}, "42, not 41", WRONG),
        ("42", {}, "42 of them", RIGHT),
        ("42", {}, "none", UNREADABLE),
        ("42", {}, "", UNREADABLE),
        ("42", {}, "CO2", UNREADABLE),
        ("42", {}, "**42**", RIGHT),
        ("42", {}, "$\\boxed{42}$", RIGHT),
        ("42", {}, "4 2", WRONG),
        ("-3", {}, "\u22123", RIGHT),
        ("-3", {}, "3", WRONG),
        ("10", {}, "5\u201310", RIGHT),
        ("1234567", {}, "1,234,567", RIGHT),
        ("1234567", {}, "1 234 567", RIGHT),
        ("1234567", {}, "1\u202f234\u202f567", RIGHT),
        ("1234567", {}, "1'234'567", RIGHT),
        ("1234567.5", {}, "1.234.567,5", RIGHT),
        ("1234.5", {}, "1 234,5", RIGHT),
        ("3.14", {}, "3,14", RIGHT),
        ("0.125", {}, "0,125", RIGHT),
        ("3", {}, "1, 2, 3", RIGHT),
        ("3", {}, "1,2,3", RIGHT),
        ("0.5", {}, "1/2", RIGHT),
        ("0.5", {}, "\u00bd", RIGHT),
        ("0.5", {}, ".5", RIGHT),
        ("1", {}, "1/0", UNREADABLE),
        ("1", {}, "1e999", UNREADABLE),
        ("150000", {}, "1.5e5", RIGHT),
        ("150000", {}, "1.5E+05", RIGHT),
        ("150000", {}, "1.5\u00d710^5", RIGHT),
        ("150000", {}, "1.5 x 10\u2075", RIGHT),
        ("150000", {}, "1,5\u00b710**5", RIGHT),
        ("150000", {}, "$1.5 \\times 10^{5}$", RIGHT),
        ("0.00001", {}, "10\u207b\u2075", RIGHT),
        # tolerances
        ("3.14159", {}, "3.14", WRONG),
        ("3.14159", {"tolerance": 0.002}, "3.14", RIGHT),
        ("3.14159", {"relative_tolerance": 0.01}, "3.15", RIGHT),
        ("3.14159", {"relative_tolerance": 0.001}, "3.15", WRONG),
        ("0", {"relative_tolerance": 0.1}, "0.01", WRONG),
        ("0", {"tolerance": 0.1}, "0.01", RIGHT),
        # units
        ("4", {"unit": "GPa"}, "4 GPa", RIGHT),
        ("4 GPa", {}, "4GPa", RIGHT),
        ("4 GPa", {}, "4000 MPa", RIGHT),
        ("4 GPa", {"unit": "MPa"}, "4000", RIGHT),
        ("4 GPa", {}, "4", RIGHT),
        ("4 GPa", {}, "4000", WRONG),
        ("4 GPa", {}, "4 m", WRONG),
        ("4 GPa", {}, "4 GPa\u00b7m", WRONG),
        ("4 GPa", {}, "4e9 N/m\u00b2", RIGHT),
        ("4 GPa", {}, "4 gigapascals", RIGHT),
        ("4 GPa", {}, "4 GPa in 1999", RIGHT),
        ("4 GPa", {}, "4 GPa at 300 K", RIGHT),
        ("4 GPa", {}, "it takes 4 in total", RIGHT),
        ("4 GPa", {}, "3 GPa, no, 4 GPa", RIGHT),
        ("4 GPa", {}, "4 GPa, no, 3 GPa", WRONG),
        ("4 GPa", {}, "$4\\,\\text{MPa}$", WRONG),
        ("4 GPa", {}, "**4** MPa", WRONG),
        ("5 kg", {}, "5 kg mass", RIGHT),
        ("5 N", {}, "5 N m", WRONG),
        ("5 m", {}, "5 m/s", WRONG),
        ("5", {"unit": "in"}, "5 in", RIGHT),
        ("5", {"unit": "in"}, "5 in out of 7", RIGHT),
        ("5", {"unit": "cm"}, "5 in out of 5", RIGHT),
        ("5", {"unit": "cm"}, "50 mm", RIGHT),
        ("5 %", {}, "5 percent", RIGHT),
        ("5 %", {}, "5%", RIGHT),
        ("200 \u00b5m", {}, "200 \u03bcm", RIGHT),
        ("200 \u00b5m", {}, "0.2 mm", RIGHT),
        ("1 m/s", {}, "3.6 km/h", RIGHT),
        ("1 m/s", {}, "1 m s\u207b\u00b9", RIGHT),
        ("1 m/s", {}, "1 metre per second", RIGHT),
        ("2 W/(m K)", {}, "2 W\u00b7m^-1\u00b7K^-1", RIGHT),
        ("2 W/(m K)", {}, "2 W m-1 K-1", RIGHT),
        ("10 m2", {}, "10 m\u00b2", RIGHT),
        ("30 MPa\u221am", {}, "30 MPa\u00b7m^(1/2)", RIGHT),
        ("5 kJ/mol", {}, "5000 J mol^-1", RIGHT),
        # degrees
        ("25 \u00b0C", {}, "25 \u00b0C", RIGHT),
        ("25 \u00b0C", {}, "298.15 K", RIGHT),
        ("25 \u00b0C", {}, "298.15 Kelvin", RIGHT),
        ("25 \u00b0C", {}, "77 \u00b0F", RIGHT),
        ("25 \u00b0C", {}, "25 \u2103", RIGHT),
        ("25 \u00b0C", {}, "25 degrees Celsius", RIGHT),
        ("25 \u00b0C", {}, "25 deg C", RIGHT),
        ("25 \u00b0C", {}, "25 C", RIGHT),
        ("25 \u00b0C", {}, "25 K", WRONG),
        ("-5 \u00b0C", {}, "\u22125\u00b0C", RIGHT),
        ("90\u00b0", {}, "90 degrees", RIGHT),
        ("298.15", {"unit": "K", "tolerance": 0.5}, "25 \u00b0C", RIGHT),
    ],
)
def test_number(expected, details, answer, verdict):
    assert make_checker("number", expected, details).check(answer) == verdict


@pytest.mark.parametrize(
    ("kind", "expected", "details", "told"),
    [
        ("exact", " ", {}, "says nothing"),
        ("exact", "...", {}, "says nothing"),
        ("one_of", "a", {"accept": [""]}, "says nothing"),
        ("contains", "a", {"accept": ["a", ""]}, "says nothing"),
        ("choice", "", {"options": ["a"], "right": 0}, "2 to 26 options that differ"),
        ("choice", "", {"options": ["a", "A "], "right": 0}, "2 to 26 options that differ"),
        (
            "choice",
            "",
            {"options": [f"n{n}" for n in range(27)], "right": 0},
            "2 to 26 options that differ",
        ),
        ("number", "many", {}, "holds no number"),
        ("number", "1", {"unit": "wingbeats"}, "'wingbeats' is no unit"),
        ("number", "1 m", {"unit": "K"}, "cannot be given in K"),
        ("number", "1", {"tolerance": -1.0}, "tolerance is -1.0, must be >= 0"),
        ("number", "1", {"relative_tolerance": float("nan")}, "relative_tolerance is nan"),
    ],
)
def test_what_cannot_be_checked_is_refused(kind, expected, details, told):
    with pytest.raises(ValueError, match=told):
        make_checker(kind, expected, details)


# Answers that want to do harm

CHECKERS = [
    OneOf(("wax",)),
    Contains(("111 111",)),
    Choice(("wax", "1,1"), 0),
    Number(25.0, "degC"),
]
PARTS = [
    *(
        "1",
        "1,111",
        "1.111",
        "1,",
        "1 ",
        "1 111",
        "1,111.",
        "1e",
        "1/1",
        "10^1",
        "1×10^",
        "½",
        "1 m ",
    ),
    *("1 m/", "m/(", "1 (", "1 GPa·", "1 K⁻¹ ", "° ", "deg ", "^", "⁵", "**", "√(", "{", "\\text "),
    *(
        "-",
        " ",
        "\n",
        "'",
        '"',
        "*",
        "_",
        "\0",
        "\ud800",
        "the ",
        "A ",
        "B-",
        "\ufdfa",
        "\u0301",
        "İ",
    ),
]


@pytest.mark.parametrize("part", PARTS)
def test_a_megabyte_takes_no_time(part, monkeypatch):
    """Read in full it takes seconds, where a bad pattern takes days; by default it is not read."""
    answer = part * (10**6 // len(part.encode(errors="replace")))
    assert {checker.check(answer) for checker in CHECKERS} == {UNREADABLE}
    monkeypatch.setattr(checkers, "MAX_CHARS", 10**7)
    start = time.process_time()
    assert {checker.check(answer) for checker in CHECKERS} <= {RIGHT, WRONG, UNREADABLE}
    assert time.process_time() - start < 60


@given(st.text() | st.lists(st.sampled_from(PARTS)).map("".join))
def test_no_answer_makes_a_checker_raise(answer):
    for checker in CHECKERS:
        assert checker.check(answer) in (RIGHT, WRONG, UNREADABLE)


@given(
    st.floats(-1e15, 1e15).filter(lambda number: number == 0 or abs(number) > 1e-15),
    st.sampled_from(["{}", "{} GPa", "It is {:.17g}.", "**{}**", "\u2248{}"]),
)
def test_a_number_is_read_as_python_writes_it(number, written):
    assert Number(number, "GPa").check(written.format(number)) == RIGHT


@given(st.integers(-(10**12), 10**12), st.sampled_from([",", "\u202f", "'"]))
def test_thousands_are_read_whatever_separates_them(number, by):
    [found] = quantities(f"{number:,}".replace(",", by))
    assert found.value == number
