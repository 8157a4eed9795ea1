import math

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.policy.schedules import WarmupCosine, build

PEAK = 0.8


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=PEAK)


def spread(steps, **options):
    made = WarmupCosine(optimizer(), **options)
    made.spread_over(steps)
    return made


def rates(schedule, count):
    """The rates of the next steps."""
    seen = []
    for _ in range(count):
        seen.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return seen


def test_the_rate_rises_then_falls_on_half_a_cosine_to_its_floor():
    # 10 steps: 2 of warm-up at 1/3 and 2/3, then 8 of the cosine, which ends after the last step
    seen = rates(spread(10, warmup=0.2, floor=0.1), 12)
    assert seen[:3] == pytest.approx([PEAK / 3, 2 * PEAK / 3, PEAK])
    assert seen[6] == pytest.approx(PEAK * (0.1 + 0.9 / 2))  # half way
    assert seen[10:] == pytest.approx([PEAK * 0.1] * 2)  # and stays there
    fell = [PEAK * (0.1 + 0.9 * (1 + math.cos(math.pi * n / 8)) / 2) for n in range(8)]
    assert seen[2:10] == pytest.approx(fell)


def test_without_a_warm_up_it_begins_at_the_peak_and_one_step_is_enough():
    assert rates(spread(1, warmup=0.0), 1) == [PEAK]
    assert rates(WarmupCosine(optimizer()), 3) == [PEAK] * 3  # nobody said how long the run is


def test_a_schedule_goes_on_from_its_state_to_the_bit():
    whole = rates(spread(9), 9)
    first = spread(9)
    begun = rates(first, 4)
    again = spread(9)
    again.load_state_dict(first.state_dict())
    again.optimizer.load_state_dict(first.optimizer.state_dict())
    assert begun + rates(again, 5) == whole


def test_a_run_that_goes_on_longer_is_spread_over_its_new_length():
    first = spread(4, warmup=0.0)
    rates(first, 4)
    longer = spread(8, warmup=0.0)
    longer.load_state_dict(first.state_dict())
    longer.step()
    assert longer.get_last_lr() == pytest.approx([PEAK * (1 + math.cos(math.pi * 5 / 8)) / 2])


@pytest.mark.parametrize("options", [{"warmup": 1.0}, {"warmup": -0.1}, {"floor": 1.5}])
def test_shares_that_are_none_are_refused(options):
    with pytest.raises(ValueError, match=r"model\.lr_scheduler\.\w+: got .*, must be in"):
        WarmupCosine(optimizer(), **options)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda params: torch.optim.SGD(params, lr=-1.0), "Invalid learning rate"),
        (torch.optim.LBFGS, "LBFGS needs several forward passes"),
        (lambda params: ReduceLROnPlateau(torch.optim.SGD(params)), "needs a metric"),
        (lambda params: "sgd", "got a str"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line(make, told):
    with pytest.raises(ConfigError, match=rf"^model\.optimizer: .*{told}"):
        build("model.optimizer", make, [torch.nn.Parameter(torch.ones(1))])
