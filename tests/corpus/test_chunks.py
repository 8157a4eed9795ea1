import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preflexor_pl.core.segmentation import words
from preflexor_pl.corpus.chunks import CHARS_PER_TOKEN, split
from preflexor_pl.corpus.records import Document


class Letters:
    """A tokenizer whose tokens are the characters that are not white space."""

    def __call__(self, texts, return_offsets_mapping=False, **options):
        offsets = [[(i, i + 1) for i, c in enumerate(t) if not c.isspace()] for t in texts]
        return {"input_ids": offsets, "offset_mapping": offsets}


def texts(text, chunk_tokens, overlap=0):
    document = Document("d", "", text)
    return [chunk.text for chunk in split(document, Letters(), chunk_tokens, overlap)]


def test_sentences_fill_a_chunk_and_the_last_ones_are_carried():
    text = "Aaa aaaaaaaa. Bbb bbbbbbbb. Ccc cccccccc. Ddd dddddddd."  # 12 letters each

    assert texts(text, 24) == ["Aaa aaaaaaaa. Bbb bbbbbbbb.", "Ccc cccccccc. Ddd dddddddd."]
    assert texts(text, 24, 12) == [
        "Aaa aaaaaaaa. Bbb bbbbbbbb.",
        "Bbb bbbbbbbb. Ccc cccccccc.",
        "Ccc cccccccc. Ddd dddddddd.",
    ]
    assert texts(text, 24, 11) == texts(text, 24)


def test_ids_and_offsets():
    document = Document("a/b.md", "", "One two. Three four.")
    chunks = split(document, Letters(), 10, 0)

    assert [(c.id, c.document, c.start, c.end) for c in chunks] == [
        ("a/b.md#0", "a/b.md", 0, 8),
        ("a/b.md#1", "a/b.md", 9, 20),
    ]
    assert all(c.text == document.text[c.start : c.end] for c in chunks)


def test_a_long_sentence_is_cut_between_tokens():
    assert texts("abcdefghijklmnopqrstuvwxyz", 10) == ["abcdefghij", "klmnopqrst", "uvwxyz"]


def test_a_heading_stays_with_what_follows_it():
    text = "Aaaaaaaaaaaaaaaa.\n\n# Head\n\n## Second\n\nBbbbbbbbbbbbbbbb."
    assert texts(text, 34) == ["Aaaaaaaaaaaaaaaa.", "# Head\n\n## Second\n\nBbbbbbbbbbbbbbbb."]


def test_a_short_last_chunk_takes_sentences_from_the_one_before():
    text = "Aaaaaaaaaaaaaaaaaaa. Bbbbbbbbbbbbbb. Cccc."  # 20, 15 and 5 letters
    assert texts(text, 35) == ["Aaaaaaaaaaaaaaaaaaa.", "Bbbbbbbbbbbbbb. Cccc."]
    assert texts("Aaaaaaaa. Bbbbbbbbbbbbbb. Cccc.", 25) == ["Aaaaaaaa. Bbbbbbbbbbbbbb.", "Cccc."]


def test_abbreviations_do_not_end_a_sentence():
    text = "As Fig. 3 of Smith et al. Nature shows. It is so."
    assert texts(text, 33) == ["As Fig. 3 of Smith et al. Nature shows.", "It is so."]


def test_a_word_without_end_is_not_one_token_long(tokenizer):
    document = Document("d", "", "x" * 5000)  # for WordPiece one unknown token
    chunks = split(document, tokenizer, 20, 0)
    assert "".join(c.text for c in chunks) == document.text
    assert max(len(c.text) for c in chunks) <= 20 * CHARS_PER_TOKEN


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    text=st.one_of(
        st.text(max_size=300),
        st.lists(
            st.sampled_from(
                [
                    "Word",
                    "a",
                    "unbelievably",
                    "end.",
                    "Next",
                    "\n\n",
                    "# H\n\n",
                    "。",
                    "É",
                    "\U0001d518x",
                    "-",
                ]
            ),
            max_size=80,
        ).map(" ".join),
    ),
    limit=st.integers(4, 40),
    overlap=st.integers(0, 10),
)
def test_every_letter_is_in_a_chunk_and_none_is_too_long(tokenizer, text, limit, overlap):
    chunks = split(Document("d", "", text), tokenizer, limit, min(overlap, limit - 1))

    covered = {i for c in chunks for i in range(c.start, c.end)}
    assert all(i in covered for i, letter in enumerate(text) if not letter.isspace())
    for chunk in chunks:
        assert chunk.text == text[chunk.start : chunk.end]
        assert len(tokenizer(chunk.text, add_special_tokens=False)["input_ids"]) <= limit
    starts = [c.start for c in chunks]
    assert starts == sorted(set(starts))


@pytest.mark.parametrize(("tokens", "overlap"), [(0, 0), (10, 10), (10, -1)])
def test_sizes_that_make_no_sense(tokens, overlap):
    with pytest.raises(ValueError, match="chunk_tokens"):
        split(Document("d", "", "x"), Letters(), tokens, overlap)


@pytest.mark.parametrize(
    "sentences",
    [
        ["Нить паука прочнее стали. ", "Она тянется в пять раз. ", "Почему это так?"],
        ["Το μετάξι είναι ανθεκτικό. ", "Γιατί τεντώνεται; ", "Έτσι είναι."],
        ["रेशम बहुत मजबूत होता है। ", "यह खिंचता है। ", "क्या यह सच है?"],
        ["蜘蛛丝很强韧。", "它能拉伸五倍。", "为什么会这样？"],
    ],
)
def test_no_sentence_of_any_script_is_cut_in_two(sentences):
    whole = [sentence.strip() for sentence in sentences]
    longest = max(sum(not c.isspace() for c in sentence) for sentence in whole)
    assert texts("".join(sentences), longest) == whole


@pytest.mark.parametrize(
    "text",
    [
        "ไหมแมงมุมมีความแข็งแรงและยืดหยุ่นมากกว่าเหล็กกล้า" * 3,
        "Прочность паутины объясняется " * 6,
        "蜘蛛丝的强度和韧性来自其蛋白质的结构" * 4,
    ],
)
def test_no_word_of_a_long_sentence_is_cut_in_two(text):
    parts = [words(part) for part in texts(text, 20)]
    assert len(parts) > 3
    assert [word for part in parts for word in part] == [*words(text)]
