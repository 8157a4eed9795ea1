"""Masks in letters: ``(`` and ``)`` bound thinking, ``[`` and ``]`` reflection; ``#`` is masked."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflexor_pl.batches.thinking import (
    AnswerOnly,
    Markers,
    MaskThinking,
    NoMasking,
    ThinkingMask,
    answer_start,
    thinking_spans,
)

MARKERS = Markers(*map(ord, "()[]"))
responses = st.text(alphabet="()[]ab", max_size=14)
fractions = st.floats(0, 1)
masks = st.one_of(
    st.builds(MaskThinking, fractions, st.booleans()),
    st.builds(AnswerOnly, st.booleans()),
    st.just(NoMasking()),
)


def targets(mask, text, seed=0):
    return mask([ord(letter) for letter in text], MARKERS, random.Random(seed))


def show(mask, text, seed=0):
    """The text with every masked token as ``#``."""
    kept = targets(mask, text, seed)
    return "".join(letter if keep else "#" for letter, keep in zip(text, kept, strict=True))


@pytest.mark.parametrize(
    ("text", "whole", "kept_markers"),
    [
        ("(abc)de", "#####de", "(###)de"),
        ("a(b)c(d)e", "a###c###e", "a(#)c(#)e"),
        ("()a", "##a", "()a"),
        ("(a(b)c)d", "#######d", "(#####)d"),  # nested: the outermost counts, inner markers inside
        ("((a)b", "#####", "(####"),  # the outermost is never closed
        ("a(bc", "a###", "a(##"),
        ("a(", "a#", "a("),
        ("a)b", "a)b", "a)b"),
        ("a)b(c)d", "a)b###d", "a)b(#)d"),
        ("(a))b", "###)b", "(#))b"),
        ("(a)[bc]d", "###[bc]d", "(#)[bc]d"),  # reflection is not thinking
        ("(a[b]c)d", "#######d", "(#####)d"),  # but inside thinking it is
        ("[a(b)c]d", "[a###c]d", "[a(#)c]d"),
        ("abc", "abc", "abc"),
        ("", "", ""),
    ],
)
def test_mask_thinking(text, whole, kept_markers):
    assert show(MaskThinking(), text) == whole
    assert show(MaskThinking(keep_markers=True), text) == kept_markers


@pytest.mark.parametrize(
    ("text", "answer", "with_end"),
    [
        ("(ab)cd", "####cd", "###)cd"),
        ("(a)[b]cd", "######cd", "#####]cd"),
        ("[a](b)cd", "######cd", "#####)cd"),
        ("(a)b(c)d", "#######d", "######)d"),
        ("(a(b)c)d", "#######d", "######)d"),
        ("(a[b)c]d", "#######d", "######]d"),  # crossing spans are all closed
        ("a)bc", "##bc", "#)bc"),  # a close without an opening: the answer follows
        ("a]bc", "##bc", "#]bc"),
        ("(a))b", "####b", "###)b"),
        (")a", "#a", ")a"),
        ("abc", "abc", "abc"),
        ("(abc", "####", "####"),
        ("[abc", "####", "####"),
        ("(a)b[c", "######", "######"),
        ("(a)b(c", "######", "######"),
        ("((a)b", "#####", "#####"),
        ("(a[b]c", "######", "######"),
        ("(a]b", "####", "####"),  # a close of the other kind closes nothing
        ("a)b(c", "#####", "#####"),
        ("(ab)", "####", "####"),  # nothing after the close: no answer
        ("", "", ""),
    ],
)
def test_answer_only(text, answer, with_end):
    assert show(AnswerOnly(), text) == answer
    assert show(AnswerOnly(keep_end_marker=True), text) == with_end


def test_no_masking():
    assert show(NoMasking(), "(a)[b]c)d(") == "(a)[b]c)d("


@pytest.mark.parametrize(
    ("fraction", "masked"),
    [(0.0, 0), (0.04, 0), (0.05, 1), (0.5, 5), (0.55, 6), (0.94, 9), (0.95, 10), (1.0, 10)],
)
def test_the_share_is_rounded_half_up(fraction, masked):
    text = "a(bbbbbbbb)c"  # 10 tokens with both markers
    assert show(MaskThinking(fraction), text).count("#") == masked


def test_the_share_is_of_all_spans_together():
    # Per span, floor(0.4 * 1 + 0.5) = 0 would mask nothing; of 5 together it is 2.
    text = "(a)b(a)b(a)b(a)b(a)"
    assert show(MaskThinking(0.4, keep_markers=True), text).count("#") == 2


def test_the_draw_follows_the_seed_and_is_fair():
    text = "(" + "a" * 18 + ")b"
    draws = [show(MaskThinking(0.5), text, seed) for seed in range(200)]
    assert draws == [show(MaskThinking(0.5), text, seed) for seed in range(200)]
    assert len(set(draws)) > 150
    for position in range(20):
        assert 60 < sum(draw[position] == "#" for draw in draws) < 140  # 100 expected, sd 7


def test_the_draw_leaves_the_global_state_alone():
    random.seed(0)
    before = random.getstate()
    show(MaskThinking(0.5), "(abcdef)g")
    assert random.getstate() == before


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), float("inf"), "0.5", None, True])
def test_a_wrong_fraction_is_refused(fraction):
    with pytest.raises(ValueError, match=r"fraction must be a number in \[0, 1\]"):
        MaskThinking(fraction)


@pytest.mark.parametrize("ids", [(1, 1, 2, 3), (1, 2, 3, 1), (0, 0, 0, 0), (None,) * 4])
def test_markers_share_no_id(ids):
    with pytest.raises(ValueError, match="four different token ids"):
        Markers(*ids)


def test_the_common_type_is_abstract():
    with pytest.raises(TypeError):
        ThinkingMask()


def nesting(text, opening, closing):
    """Oracle: {position: its partner} of matched markers, and the openings without one.

    Rubs out an innermost pair again and again, as one would on paper.
    """
    partner, left = {}, [i for i in range(len(text)) if text[i] in opening + closing]
    found = True
    while found:
        found = False
        for here, there in pairwise(left):
            if text[here] == opening and text[there] == closing:
                partner[here] = there
                left = [i for i in left if i not in (here, there)]
                found = True
                break
    unclosed = [i for i in left if text[i] == opening]
    return partner, unclosed


def oracle_spans(text):
    partner, unclosed = nesting(text, "(", ")")
    tail = unclosed[0] if unclosed else len(text)
    outermost = [
        (a, b + 1, True)
        for a, b in partner.items()
        if b < tail and not any(c < a and b < d for c, d in partner.items())
    ]
    return sorted(outermost) + ([(tail, len(text), False)] if unclosed else [])


def oracle_answer(text):
    if nesting(text, "(", ")")[1] or nesting(text, "[", "]")[1]:
        return None
    start = max(text.rfind(")"), text.rfind("]")) + 1
    return start if start < len(text) else None


@given(responses)
def test_spans_and_answer_agree_with_the_oracle(text):
    ids = [ord(letter) for letter in text]
    assert thinking_spans(ids, MARKERS) == oracle_spans(text)
    assert answer_start(ids, MARKERS) == oracle_answer(text)


@given(responses, fractions, st.booleans(), st.integers(0, 9))
def test_mask_thinking_masks_its_share_and_nothing_else(text, fraction, keep_markers, seed):
    allowed = set()
    for start, stop, closed in oracle_spans(text):
        inside = range(start + 1, stop - closed) if keep_markers else range(start, stop)
        allowed |= set(inside)
    kept = targets(MaskThinking(fraction, keep_markers), text, seed)
    masked = {position for position, keep in enumerate(kept) if not keep}
    assert masked <= allowed
    assert len(masked) == math.floor(fraction * len(allowed) + 0.5)


@given(responses, st.booleans())
def test_answer_only_keeps_the_answer_and_nothing_else(text, keep_end_marker):
    start = oracle_answer(text)
    kept = targets(AnswerOnly(keep_end_marker), text)
    if start is None:
        assert not any(kept)
    else:
        answer = text[start - 1 :] if keep_end_marker and start else text[start:]
        assert kept == [False] * (len(text) - len(answer)) + [True] * len(answer)


@given(masks, responses, st.integers(0, 9))
def test_every_mask_is_repeatable_and_as_long_as_the_response(mask, text, seed):
    kept = targets(mask, text, seed)
    assert len(kept) == len(text)
    assert all(type(keep) is bool for keep in kept)
    assert kept == targets(mask, text, seed)
