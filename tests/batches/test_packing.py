"""Where the tokens lie, in letters: P and Q are prompts, a..c and x..z responses."""

from itertools import pairwise

import pytest
import torch
from torch import tensor

from preflexor_pl.batches.packing import Span, flat_batch, packed, padded
from preflexor_pl.batches.tokenized import TokenizedPair


def ids(letters):
    return [ord(letter) for letter in letters]


def text(tokens):
    return "".join(map(chr, tokens.flatten().tolist()))


ONE = TokenizedPair("one", ids("PQ"), ids("abc"), ids("x"))
TWO = TokenizedPair("two", ids("R"), ids("d"), ids("yz"))
ALL = [([True] * 3, [True]), ([True], [True] * 2)]
SOME = [([False, True, True], [True]), ([True], [False, True])]


def test_packed_row():
    rows = packed([ONE, TWO])
    assert text(rows.input_ids) == "PQabcxRdyz"
    assert rows.position_ids.tolist() == [[0, 1, 2, 3, 4, 2, 0, 1, 1, 2]]
    assert rows.attention_mask is None
    assert rows.places == (((1, 2), (1, 5)), ((6, 7), (6, 8)))


def test_spans_say_which_keys_each_run_of_queries_sees():
    spans = packed([ONE, TWO]).spans
    assert spans.pairs == (Span(0, 2, 3, 1), Span(6, 1, 1, 2))
    row = "PQabcxRdyz"
    seen = [row[i] for i in spans.keys.tolist()]
    ends = spans.key_ends.tolist()
    runs = ["".join(seen[a:b]) for a, b in pairwise(ends)]
    assert runs == ["PQabc", "PQx", "Rd", "Ryz"]
    ends = spans.query_ends.tolist()
    runs = [row[a:b] for a, b in pairwise(ends)]
    assert runs == ["PQabc", "x", "Rd", "yz"]
    assert spans.longest == (5, 5)


def test_padded_rows():
    rows = padded([ONE, TWO], ord("."))
    assert [text(row) for row in rows.input_ids] == ["PQabc", "PQx..", "Rd...", "Ryz.."]
    assert rows.attention_mask.sum(1).tolist() == [5, 3, 2, 3]
    assert rows.position_ids.tolist() == [[0, 1, 2, 3, 4]] * 4
    assert rows.spans is None
    assert rows.places == (((1, 2), (6, 7)), ((10, 11), (15, 16)))


@pytest.mark.parametrize("rows", [packed([ONE, TWO]), padded([ONE, TWO], 0)], ids=["packed", "pad"])
def test_each_target_is_read_from_the_token_before_it(rows):
    batch = flat_batch(rows, [ONE, TWO], SOME)
    read = [chr(i) for i in rows.input_ids.flatten()[batch.sources].tolist()]
    # b after a, c after b, x after its prompt, d after its prompt, z after y.
    assert list(zip(read, text(batch.targets), strict=True)) == [
        ("a", "b"), ("b", "c"), ("Q", "x"), ("R", "d"), ("y", "z"),
    ]  # fmt: skip
    assert batch.responses.tolist() == [0, 0, 2, 1, 3]
    assert batch.lens.tolist() == [2, 1, 1, 1]
    assert batch.ids == ("one", "two")


def test_sums_go_to_their_response():
    batch = flat_batch(packed([ONE, TWO]), [ONE, TWO], SOME)
    made = batch.sums(tensor([1.0, 2.0, 4.0, 8.0, 16.0], dtype=torch.bfloat16))
    assert (made.chosen.tolist(), made.rejected.tolist()) == ([3.0, 8.0], [4.0, 16.0])
    assert (made.chosen_len.tolist(), made.rejected_len.tolist()) == ([2, 1], [1, 1])
    assert made.chosen.dtype == torch.float32


def test_by_response_undoes_the_list():
    batch = flat_batch(packed([ONE, TWO]), [ONE, TWO], ALL)
    (a, x), (d, y) = batch.by_response(torch.arange(7.0))
    assert [part.tolist() for part in (a, x, d, y)] == [[0, 1, 2], [3], [4], [5, 6]]


def test_the_references_log_probs_follow_the_mask():
    from dataclasses import replace

    known = [
        replace(ONE, reference=(tensor([-1.0, -2.0, -4.0]), tensor([-8.0]))),
        replace(TWO, reference=(tensor([-16.0]), tensor([-32.0, -64.0]))),
    ]
    made = flat_batch(packed(known), known, SOME).reference_logps()
    assert (made.chosen.tolist(), made.rejected.tolist()) == ([-6.0, -16.0], [-8.0, -64.0])
    assert flat_batch(packed([ONE, TWO]), [ONE, TWO], SOME).reference_logps() is None


def test_a_batch_moves_whole():
    batch = flat_batch(packed([ONE]), [ONE], ALL[:1]).to("meta")
    assert batch.rows.input_ids.device.type == "meta"
    assert batch.rows.spans.keys.device.type == batch.sources.device.type == "meta"
    assert batch.rows.spans.pairs == (Span(0, 2, 3, 1),)
    assert batch.ids == ("one",)
