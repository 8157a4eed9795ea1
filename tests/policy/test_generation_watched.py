"""A response that begins as it is told to, is watched as it grows, or has no room."""

import pytest
import torch

from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.core.generator import Request
from preflexor_pl.core.settings import Sampling
from preflexor_pl.policy.generation import LocalGenerator
from tests.policy.test_adapters import disturb
from tests.tiny import letters

CLOSED = "<|thinking|>\nIt bends.\n<|/thinking|>\n"
LONGEST = 4096  # tokens that the tiny model reads
QUESTIONS = ["Why?", "How does silk bend?", "What is bone?", "Where do geckos hold on to walls?"]


@pytest.fixture
def policy(policy):
    disturb(policy)
    return policy


def greedy(tokens):
    return Sampling(max_new_tokens=tokens, temperature=0)


def every_logit(policy, change):
    """``change(out)`` becomes what the head gives."""
    policy.inner.get_output_embeddings().register_forward_hook(
        lambda module, args, out: change(out)
    )


def spell(policy, alphabet):
    """Only markers, ends of turns and the letters of ``alphabet`` are ever drawn."""
    ids = [*encode(policy.tokenizer, alphabet), *policy.marker_ids, policy.end_id]
    out_of_bounds = torch.full((len(policy.tokenizer),), -torch.inf)
    out_of_bounds[ids] = 0
    every_logit(policy, lambda out: out + out_of_bounds)


def babble(policy, alphabet):
    """A letter is as likely as it is often in ``alphabet``; markers and ends of turns are rare."""
    counts = torch.zeros(len(policy.tokenizer))
    for letter in encode(policy.tokenizer, alphabet):
        counts[letter] += 1
    counts[[*policy.marker_ids, policy.end_id]] = 0.25
    every_logit(policy, lambda out: torch.zeros_like(out) + counts.log())


def dictate(policy, text):
    """The policy says ``text`` letter by letter, then ends its turn."""
    plain = [i for letter in text for i in encode(policy.tokenizer, letter)]
    said = iter([*plain, policy.end_id])
    every_logit(
        policy, lambda out: torch.zeros_like(out).index_fill_(-1, torch.tensor(next(said)), 1)
    )


def watched(policy, asked):
    """Completions, and the pieces that each of them grew by."""
    pieces = [[] for _ in asked]
    made = LocalGenerator(policy, "policy").complete(
        asked, lambda i, grown: pieces[i].append(grown)
    )
    return made, pieces


@pytest.mark.parametrize("count", [1, 4])
def test_a_prefill_follows_the_header_and_its_markers_are_ids(policy, count):
    read = []
    policy.inner.model.register_forward_pre_hook(
        lambda module, args, given: read.append(given["input_ids"]), with_kwargs=True
    )
    asked = Request("Why?", "Be brief.", greedy(1), prefill=CLOSED)
    LocalGenerator(policy, "policy").complete([asked] * count)
    ids = torch.cat([part[0] for part in read]).tolist()  # what all share is read apart
    assert ids[: -len(encode(policy.tokenizer, CLOSED))] == chat_ids(
        policy.tokenizer, "Why?", "Be brief."
    )
    assert letters(policy.tokenizer, ids).endswith(f"<|im_start|>assistant\n{CLOSED}")
    for marker in (policy.markers.think_start, policy.markers.think_end):
        assert ids.count(marker) == 1


def test_a_greedy_text_goes_on_from_its_own_beginning_as_before(policy):
    spell(policy, "abcdefghijklmnopqrstuvwxyz ,\n")
    asked = [Request(text, "Be brief.", greedy(48)) for text in QUESTIONS]
    wholes = LocalGenerator(policy, "policy").complete(asked)
    assert len({whole.text for whole in wholes}) == 4
    for k in (1, 10, 31):
        begun = []
        for whole, request in zip(wholes, asked, strict=True):
            ids = encode(policy.tokenizer, whole.text)
            assert len(ids) == whole.tokens > k
            prefill = letters(policy.tokenizer, ids[:k])
            begun.append(Request(request.prompt, "Be brief.", greedy(48 - k), prefill=prefill))
        made = LocalGenerator(policy, "policy").complete(begun)
        assert [b.prefill + m.text for b, m in zip(begun, made, strict=True)] == [
            whole.text for whole in wholes
        ]
        assert [m.tokens for m in made] == [whole.tokens - k for whole in wholes]


def test_prefills_of_different_lengths_in_one_batch(policy):
    spell(policy, "abcdefghijklmnopqrstuvwxyz ")
    asked = [Request("Why?", sampling=greedy(9), prefill=p) for p in ("", CLOSED, "It is ", "I")]
    generator = LocalGenerator(policy, "policy")
    together = generator.complete(asked)
    assert together == [generator.complete([request])[0] for request in asked]
    assert len({made.text for made in together}) == 4


@pytest.mark.parametrize(
    ("text", "stop", "pieces"),
    [
        ("It bends. Then\nit holds.", (), ["It ", "bends. ", "Then\n", "it ", "holds."]),
        ("a <|im_end|> b", (), ["a ", "<·|im_end|> ", "b"]),
        ("a <|im end|> b", (), ["a ", "<·|im ", "end|> ", "b"]),
        ("a <|b c", (), ["a ", "<|b c"]),  # until its end it may become a token
        ("one two. Three", (". ",), ["one ", "two"]),
        ("one two\n\nthree", ("\n\n",), ["one ", "two"]),
        ("one\ntwo\n\nthree", ("\n\n",), ["one\n", "two"]),
        ("in the end of it", ("the end of",), ["in "]),
        ("in the end we", ("the end of",), ["in ", "the end ", "we"]),
        ("x  stop", ("stop",), ["x ", " "]),
        ("", (), []),
    ],
)
def test_a_text_is_told_word_by_word_as_soon_as_nothing_can_change_it(policy, text, stop, pieces):
    dictate(policy, text)
    [made], [told] = watched(policy, [Request("Why?", sampling=greedy(99), stop=stop)])
    assert told == pieces
    assert made.text == "".join(pieces)
    assert made.finish_reason == "stop"


def test_what_is_told_of_a_batch_joins_to_its_texts(policy):
    babble(policy, "aab  \n<<<<<<||||||||||||>>>>>>")
    stops = [(), ("a b",), ("\n\n", "b\n"), ("|>",), (" ", "<")]
    asked = [
        Request(QUESTIONS[n % 4], "Be brief.", Sampling(8 + n, 1.0, 0, 1.0), n, stop=stops[n % 5])
        for n in range(60)
    ]
    made, pieces = watched(policy, asked)
    assert ["".join(told) for told in pieces] == [one.text for one in made]
    assert made == LocalGenerator(policy, "policy").complete(asked)
    assert len({one.tokens for one in made}) > 15
    assert {one.finish_reason for one in made} == {"stop", "length"}
    assert any("<·|" in one.text for one in made)
    assert any("<|thinking|>" in one.text for one in made)
    assert sum(len(told) > 2 for told in pieces) > 10
    for told in pieces:
        for piece in told[:-1]:
            assert piece[-1].isspace()


def test_a_watched_text_is_without_its_prefill(policy):
    dictate(policy, "It holds.")
    [made], [told] = watched(policy, [Request("Why?", sampling=greedy(99), prefill=CLOSED)])
    assert (made.text, told) == ("It holds.", ["It ", "holds."])


@pytest.mark.parametrize("part", ["prompt", "prefill"])
def test_a_text_ends_where_the_model_reads_no_further(policy, part):
    room = LONGEST - len(chat_ids(policy.tokenizer, ""))
    generator = LocalGenerator(policy, "policy")
    fits, long = (
        Request(**{"prompt": "", "sampling": greedy(9)} | {part: "x" * length})
        for length in (room - 2, room)
    )
    dictate(policy, "yyyyyyyyy")
    short, empty = generator.complete([fits, long])
    assert (short.text, short.finish_reason, short.tokens) == ("yy", "length", 2)
    assert (empty.text, empty.finish_reason, empty.tokens) == ("", "length", 0)
