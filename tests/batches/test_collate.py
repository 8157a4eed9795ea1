"""Batches in letters: a byte is a token, ``^`` ends a turn, ``_`` is masked, ``.`` is padding."""

from dataclasses import replace

import pytest
import torch
from torch import tensor

from losses.logps import IGNORE_INDEX
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.thinking import AnswerOnly, Markers, MaskThinking, NoMasking
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.markers import MARKERS
from tests.tiny import HEAD, PAIR, letters, tiny_tokenizer

FULL = replace(PAIR, prompt="Why?", chosen="So.", rejected="Oh!")
PLAIN = "User: Why?\nAssistant:"  # 21 letters: what a tokenizer without a template makes of it


@pytest.fixture
def tokenizer():
    made = tiny_tokenizer(template=None)
    made.add_special_tokens({"additional_special_tokens": list(MARKERS)})
    return made


@pytest.fixture
def collator(tokenizer):
    def make(masking=None, max_length=64, max_prompt_length=32, tokenizer=tokenizer, seed=0):
        ids = Markers(*tokenizer.convert_tokens_to_ids(list(MARKERS)))
        end = tokenizer.eos_token_id
        masking = masking or NoMasking()
        return PairCollator(tokenizer, ids, end, masking, None, max_length, max_prompt_length, seed)

    return make


def short(tokenizer, ids):
    """Ids as text, with one letter for each special token."""
    names = {"<|im_end|>": "^", "<|thinking|>": "(", "<|/thinking|>": ")"}
    names |= {"<|reflect|>": "[", "<|/reflect|>": "]"}
    text = letters(tokenizer, ids)
    for name, letter in names.items():
        text = text.replace(name, letter)
    return text


def rows(tokenizer, batch):
    """Each row's input and, below it, its targets."""
    shown = []
    for ids, mask, labels in zip(
        batch.input_ids.tolist(), batch.attention_mask.tolist(), batch.labels.tolist(), strict=True
    ):
        tokens = [short(tokenizer, [i]) for i in ids]
        shown.append("".join(t if m else "." for t, m in zip(tokens, mask, strict=True)))
        assert all(label in (token, IGNORE_INDEX) for token, label in zip(ids, labels, strict=True))
        kept = [t if label >= 0 else "_" for t, label in zip(tokens, labels, strict=True)]
        shown.append("".join(kept))
    return shown


def test_the_prompt_is_masked_and_the_response_is_supervised_up_to_its_end(tokenizer, collator):
    made = collator()
    pair = made.tokenize(replace(FULL, rejected="Oh no!"))
    assert rows(tokenizer, made([pair], (0, 0))) == [
        f"{PLAIN}So.^...",
        f"{'_' * 21}So.^___",
        f"{PLAIN}Oh no!^",
        f"{'_' * 21}Oh no!^",
    ]


def test_chosen_rows_come_first_in_the_order_of_the_pairs(tokenizer, collator):
    made = collator()
    pairs = [
        TokenizedPair(name, [65], [66, last], [67, last]) for name, last in (("x", 16), ("y", 17))
    ]
    batch = made(pairs, (0, 0))
    assert batch.input_ids.tolist() == [[65, 66, 16], [65, 66, 17], [65, 67, 16], [65, 67, 17]]
    assert (batch.ids, len(batch)) == (("x", "y"), 2)


def test_a_response_cut_in_generation_has_no_end_of_turn(tokenizer, collator):
    made = collator()
    cut = made.tokenize(replace(FULL, finish_reason="length"))
    assert short(tokenizer, cut.chosen) == "So.^"
    assert short(tokenizer, cut.rejected) == "Oh!"


def test_markers_are_single_ids_and_thinking_is_masked(tokenizer, collator):
    made = collator(MaskThinking(keep_markers=True))
    pair = made.tokenize(replace(FULL, chosen="<|thinking|>Hm<|/thinking|>So"))
    assert rows(tokenizer, made([pair], (0, 0)))[:2] == [f"{PLAIN}(Hm)So^", f"{'_' * 21}(__)So^"]


# Chosen responses as they are read and their targets, for each mask. The prompt has the trigger,
# whose marker opens nothing. ``room``: tokens that the prompt leaves of max_length.
ONE = "<|thinking|>Hm<|/thinking|>So."
REFLECTED = "<|thinking|>Hm<|/thinking|><|reflect|>No<|/reflect|>So."
ASKED = "User: Why? Use <|thinking|>.\nAssistant:"


@pytest.mark.parametrize(
    ("masking", "chosen", "read", "targets"),
    [
        (NoMasking(), ONE, "(Hm)So.^", "(Hm)So.^"),
        (MaskThinking(), ONE, "(Hm)So.^", "____So.^"),
        (MaskThinking(0.0), ONE, "(Hm)So.^", "(Hm)So.^"),
        (MaskThinking(keep_markers=True), ONE, "(Hm)So.^", "(__)So.^"),
        (AnswerOnly(), ONE, "(Hm)So.^", "____So.^"),
        (AnswerOnly(True), ONE, "(Hm)So.^", "___)So.^"),
        (MaskThinking(), REFLECTED, "(Hm)[No]So.^", "____[No]So.^"),
        (AnswerOnly(), REFLECTED, "(Hm)[No]So.^", "________So.^"),
        (AnswerOnly(True), REFLECTED, "(Hm)[No]So.^", "_______]So.^"),
        (AnswerOnly(True), "<|thinking|>Hm", "(Hm^", None),
        (MaskThinking(), "So.", "So.^", "So.^"),  # no marker of its own
        (AnswerOnly(), "So.", "So.^", "So.^"),
    ],
)
def test_masks_after_a_prompt_with_its_trigger(tokenizer, collator, masking, chosen, read, targets):
    before = len(tokenizer(ASKED)["input_ids"])
    made = collator(masking, max_length=before + len(read))
    asked = replace(FULL, prompt="Why? Use <|thinking|>.", chosen=chosen)
    assert made.problem(asked) == ("" if targets else "chosen_no_target")
    pair = made.tokenize(asked)
    assert short(tokenizer, pair.chosen) == read
    if targets:
        assert rows(tokenizer, made([pair], (0, 0)))[1].rstrip("_") == "_" * before + targets


@pytest.mark.parametrize("room", range(1, 8))
def test_a_chosen_response_is_refused_wherever_max_length_would_cut_it(tokenizer, collator, room):
    before = len(tokenizer(ASKED)["input_ids"])
    asked = replace(FULL, prompt="Why? Use <|thinking|>.", chosen=ONE, rejected="")
    for masking in (NoMasking(), MaskThinking(), AnswerOnly(True)):
        cut = collator(masking, max_length=before + room)  # of 8
        assert cut.problem(asked) == "chosen_too_long"
        assert cut.problem_of(cut.tokenize(asked)) == "chosen_too_long"


@pytest.mark.parametrize(
    ("rejected", "finish_reason", "problem"),
    [
        ("Oh!", "stop", ""),  # 4 with its end of turn: what the prompt leaves
        ("Oh n", "stop", "rejected_too_long"),  # its end of turn would be lost
        ("Oh n", "length", ""),  # generation cut it: it has no end of turn to lose
        ("Oh no", "length", "rejected_too_long"),
    ],
)
def test_a_rejected_response_is_never_cut_by_max_length(
    tokenizer, collator, rejected, finish_reason, problem
):
    made = collator(max_length=25)  # 21 of the prompt leave 4
    pair = replace(FULL, rejected=rejected, finish_reason=finish_reason)
    assert made.problem(pair) == problem
    assert short(tokenizer, made.tokenize(pair).rejected).rstrip("^") == rejected


@pytest.mark.parametrize(
    ("max_length", "max_prompt_length", "problem"),
    [(64, 21, ""), (64, 20, "prompt_too_long"), (25, 21, ""), (21, 21, "prompt_too_long")],
)
def test_a_prompt_that_is_too_long_drops_its_pair(collator, max_length, max_prompt_length, problem):
    assert collator(None, max_length, max_prompt_length).problem(FULL) == problem


def test_a_pair_without_a_target_is_told_before_the_batch_and_refused_in_it(tokenizer, collator):
    made = collator(AnswerOnly())
    open_end = replace(FULL, rejected="<|thinking|>Oh")
    fine = replace(FULL, id="fine")
    assert made.problem(fine) == ""
    assert made.problem(open_end) == "rejected_no_target"
    assert made.problem(replace(FULL, chosen="<|thinking|>Oh")) == "chosen_no_target"
    assert made.problem(replace(FULL, prompt="Why? " * 99)) == "prompt_too_long"
    assert made.unmasked().problem(open_end) == ""
    with pytest.raises(ValueError, match=r"no supervised token in pairs 0000-0001:"):
        made([made.tokenize(fine), made.tokenize(open_end)], (0, 0))


def test_the_reference_lies_under_the_tokens_and_is_summed_over_the_targets(collator):
    made = collator(AnswerOnly())
    pairs = [
        TokenizedPair(
            "a", [65] * 3, [66, 67], [68], reference=(tensor([-1.0, -2]), tensor([-4.0]))
        ),
        TokenizedPair("b", [65], [66], [67, 68], reference=(tensor([-8.0]), tensor([-16.0, -32]))),
    ]
    batch = made(pairs, (0, 0))
    assert batch.reference.tolist() == [
        [0, 0, 0, -1, -2], [0, -8, 0, 0, 0], [0, 0, 0, -4, 0], [0, -16, -32, 0, 0],
    ]  # fmt: skip
    batch.labels[0, 3] = batch.labels[3, 2] = -100  # a mask that is drawn anew
    sums = batch.reference_logps()
    assert (sums.chosen.tolist(), sums.rejected.tolist()) == ([-2, -8], [-4, -16])
    assert (sums.chosen_len.tolist(), sums.rejected_len.tolist()) == ([1, 1], [1, 1])
    without = [replace(pair, reference=None) for pair in pairs]
    assert made(without, (0, 0)).reference_logps() is None


def test_first_target_is_the_first_column_with_a_target_in_any_row(collator):
    made = collator()
    early = TokenizedPair("a", [65] * 3, [66, 66], [66])
    late = TokenizedPair("b", [65] * 5, [66], [66])
    assert made([late], (0, 0)).first_target == 5
    assert made([late, early], (0, 0)).first_target == 3


def test_masks_are_drawn_from_run_round_epoch_pair_and_side(tokenizer, collator):
    thinking = f"<|thinking|>{'a' * 30}<|/thinking|>b"
    pair = collator().tokenize(replace(FULL, chosen=thinking, rejected=thinking))

    def masks(draw, seed=0, **changes):
        batch = collator(MaskThinking(0.5), seed=seed)([replace(pair, **changes)], draw)
        return [tuple(row) for row in (batch.labels >= 0).tolist()]

    assert masks((0, 1)) == masks((0, 1))
    chosen, rejected = masks((0, 1))
    others = [
        masks((1, 1))[0],
        masks((0, 2))[0],
        masks((0, 1), seed=1)[0],
        masks((0, 1), id="b")[0],
    ]
    assert len({chosen, rejected, *others}) == 6


def test_a_template_puts_its_turns_around_the_prompt():
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(MARKERS)})
    ids = Markers(*tokenizer.convert_tokens_to_ids(list(MARKERS)))
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    made = PairCollator(tokenizer, ids, end, NoMasking(), None, 256, 128, 0)
    pair = made.tokenize(FULL)
    turns = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    assert letters(tokenizer, pair.prompt) == HEAD + turns
    assert letters(tokenizer, pair.chosen) == "So.<|im_end|>"


def test_a_batch_moves_as_a_whole(collator):
    made = collator()
    batch = made([made.tokenize(FULL)], (0, 0))
    moved = batch.to("meta")
    for name in ("input_ids", "attention_mask", "labels"):
        assert getattr(moved, name).device == torch.device("meta")
    assert (moved.ids, moved.first_target) == (batch.ids, batch.first_target)
