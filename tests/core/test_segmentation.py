"""Where sentences and words end, in many scripts; the bars in a text are where it is cut."""

import pytest

from preflexor_pl.core.segmentation import (
    asks,
    ends_sentence,
    last_word_start,
    sentence_spans,
    sentences,
    words,
)


@pytest.mark.parametrize(
    "text",
    [
        "Why does E. coli grow at pH 8.2? |See Fig. 3 of Smith et al. Nature shows. |It is so.",
        "Dr. Smith of St. Ives came. |J. B. Haldane (cf. Ref. 4, pp. 3–5) and vs. Nature agree.",
        "e.g. Silk, i.e. Fibroin, is tough, approx. 5 times. |The end.",
        '"Is it?" he asked. |"It is." |She left.',
        "1. Heat the sample. |2. Cool it.\n|3. Stop. |Is it so? |No. |It costs 3.5 euros.",
        "A line\nbroken here. |Next one.\n\n|A new paragraph",
        "Нить прочна. |Она тянется, т. е. Волокно живёт. |См. рис. 3. |А. С. Пушкин писал.",
        "Το μετάξι είναι ανθεκτικό. |Γιατί; |Επειδή τεντώνεται.",
        "रेशम मजबूत है। |यह खिंचता है। |क्या यह सच है?",
        "丝很强韧。|它能拉伸。|为什么？|因为强。",
        "これは本です。|「そうですか。」|と言った。",
        "الحرير قوي. |لماذا؟ |لأنه يتمدد.",
        "𝔘 is a letter. |So is 𠮷. |And 🎉 is not.",
    ],
)
def test_sentences(text):
    assert sentences(text.replace("|", "")) == [part.strip() for part in text.split("|")]


def test_spans_are_places_in_the_text():
    text = "  𝔘 one.\n\n \nTwo\nthree. "
    assert [text[start:end] for start, end in sentence_spans(text)] == ["𝔘 one.", "Two\nthree."]
    assert sentences("") == sentences(" \n\n ") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don't heat, at pH 8.2, naïve cells!", "Don't heat at pH 8.2 naïve cells"),
        ("丝能拉伸。", "丝 能 拉伸"),
        ("ไหมมีความแข็งแรง", "ไหม มี ความ แข็ง แรง"),
        ("रेशम मजबूत है।", "रेशम मजबूत है"),
        ("𝔘x – 🎉 y", "𝔘x y"),
        ("", ""),
    ],
)
def test_words(text, found):
    assert list(words(text)) == found.split()


@pytest.mark.parametrize(
    ("text", "end", "cut"),
    [
        ("tough silk stretches", 14, 11),  # within "stretches"
        ("tough silk stretches", 11, 11),  # just before it
        ("toughness-of-silk", 13, 13),
        ("ไหมมีความแข็งแรง", 8, 5),  # silk | has | strength
        ("丝能拉伸", 3, 2),
        ("x" * 40, 10, 10),
    ],
)
def test_no_word_is_cut_where_there_is_another_place(text, end, cut):
    assert last_word_start(text, 0, end) == cut
    assert last_word_start("𝔘" + text, 1, end + 1) == cut + 1


@pytest.mark.parametrize(
    ("text", "ends", "is_question"),
    [
        ("It is.", True, False),
        ("It is", False, False),
        ("as shown by Smith et al.", False, False),
        ("E. coli and", False, False),
        ('Is it "so"? ', True, True),
        ('He asked: "Is it?"', True, True),
        ("Γιατί;", True, True),
        ("It is so;", False, False),
        ("为什么？", True, True),
        ("它能拉伸。", True, False),
        ("لماذا؟", True, True),
        ("यह खिंचता है।", True, False),
        ("", False, False),
        ('"', False, False),
    ],
)
def test_how_a_text_ends(text, ends, is_question):
    assert (ends_sentence(text), asks(text)) == (ends, is_question)


def test_lone_surrogates_and_nuls_break_nothing():
    assert sentences("One\ud800. Two\x00.") == ["One\ud800.", "Two\x00."]
    assert list(words("a\udc80b")) == ["a", "b"]
