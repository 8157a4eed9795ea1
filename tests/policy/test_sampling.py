import pytest
import torch

from preflexor_pl.core.generator import Request
from preflexor_pl.core.settings import Sampling
from preflexor_pl.policy.sampling import Sampler

LOGITS = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()  # [4] probabilities that add up to 1
DRAWS = 2000
END = 3  # the token that ends a turn


def sampler(requests, suppressed=()):
    return Sampler(requests, suppressed, {END}, "cpu")


def draws(count=DRAWS, logits=LOGITS, suppressed=(), **sampling):
    """How often each token is drawn, one draw a request."""
    values = {"temperature": 1.0, "top_k": 0, "top_p": 1.0} | sampling
    requests = [Request("", sampling=Sampling(**values), seed=seed) for seed in range(count)]
    tokens = sampler(requests, suppressed).draw(logits.repeat(count, 1), range(count))
    return (torch.bincount(tokens, minlength=len(logits)) / count).tolist()


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_k": 2}, [5 / 8, 3 / 8, 0, 0]),
        ({"top_k": 9}, [0.5, 0.3, 0.15, 0.05]),  # more than there are
        ({"top_p": 0.5}, [1, 0, 0, 0]),
        ({"top_p": 0.51}, [5 / 8, 3 / 8, 0, 0]),  # the token that crosses the line stays
        ({"top_p": 0.01}, [1, 0, 0, 0]),  # the likeliest one always stays
        ({"top_k": 3, "top_p": 0.6}, [5 / 8, 3 / 8, 0, 0]),
        ({"temperature": 0.5}, [0.6849, 0.2466, 0.0616, 0.0068]),  # squares, scaled by 1 / 0.365
        ({"temperature": 0.0}, [1, 0, 0, 0]),
    ],
)
def test_tokens_are_drawn_with_their_probability(sampling, expected):
    assert draws(**sampling) == pytest.approx(expected, abs=0.04)  # sd 0.011
    assert [p == 0 for p in draws(**sampling)] == [p == 0 for p in expected]


def test_suppressed_tokens_are_never_drawn():
    assert draws(suppressed=[0, 2]) == pytest.approx([0, 6 / 7, 0, 1 / 7], abs=0.04)
    assert draws(50, suppressed=[0], temperature=0.0) == [0, 1, 0, 0]


def test_a_turn_does_not_end_before_its_least_length():
    sampling = Sampling(temperature=0.0, min_new_tokens=2)
    requests = [Request("", sampling=sampling), Request("", sampling=Sampling(temperature=0.0))]
    made = sampler(requests)
    logits = torch.tensor([[0.0, 1.0, 2.0, 9.0]] * 2)
    assert [made.draw(logits, [0, 1]).tolist() for _ in range(3)] == [[2, END], [2, END], [END] * 2]


def test_the_repetition_penalty_divides_what_is_above_zero_and_multiplies_what_is_below():
    sampling = Sampling(temperature=0.0, repetition_penalty=2.0)
    first = sampler([Request("", sampling=sampling)])
    above = torch.tensor([[3.0, 2.0, 1.6]])
    # 3 -> 1.5 once token 0 is there, then 2 -> 1 once token 1 is: 1.5, 1, 1.6; then all three are
    assert [int(first.draw(above, [0])) for _ in range(4)] == [0, 1, 2, 0]
    below = sampler([Request("", sampling=sampling)])
    logits = torch.tensor([[-1.0, -1.5]])
    assert [int(below.draw(logits, [0])) for _ in range(2)] == [0, 1]
    assert logits.tolist() == [[-1.0, -1.5]]  # the caller's logits are not touched


def test_a_draw_follows_from_its_seed_alone():
    def stream(seeds, row):
        requests = [Request("", sampling=Sampling(temperature=1.0 + s / 10), seed=s) for s in seeds]
        made = sampler(requests)
        noise = torch.Generator().manual_seed(0)
        logits = torch.randn(20, 50, generator=noise)
        rows = range(len(seeds))
        return [made.draw(step.repeat(len(seeds), 1), rows)[row].item() for step in logits]

    torch.manual_seed(0)
    alone = stream([7], 0)
    assert stream([7], 0) == alone
    assert stream([3, 7, 5], 1) == alone
    assert stream([8], 0) != alone


def test_a_row_that_left_the_batch_does_not_shift_the_others():
    requests = [Request("", sampling=Sampling(temperature=1.0), seed=seed) for seed in (1, 2, 3)]
    logits = torch.zeros(3, 50)
    whole, shrunk = sampler(requests), sampler(requests)
    assert whole.draw(logits, [0, 1, 2]).tolist() == shrunk.draw(logits, [0, 1, 2]).tolist()
    assert whole.draw(logits, [0, 1, 2]).tolist()[2] == shrunk.draw(logits[:1], [2]).item()


def test_the_global_state_takes_no_part():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = draws(20)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert draws(20) == first
