import pytest

from preflexor_pl.rounds.schedule import Position, begins_round, planned_steps, round_of


@pytest.mark.parametrize(("epoch", "index", "first"), [(0, 0, True), (1, 0, False), (5, 2, False)])
def test_two_epochs_are_a_round(epoch, index, first):
    assert (round_of(epoch, 2), begins_round(epoch, 2)) == (index, first)


@pytest.mark.parametrize(
    ("max_epochs", "max_steps", "epoch", "reached"),
    [
        (6, -1, 5, True),
        (6, -1, 6, False),
        (None, -1, 99, True),
        (-1, -1, 99, True),
        (6, 12, 3, True),  # 3 of 12 steps are made
        (6, 3, 3, False),
        (-1, 0, 3, False),
    ],
)
def test_the_epochs_that_a_run_reaches(max_epochs, max_steps, epoch, reached):
    assert Position(2, 3, max_epochs, max_steps).reaches(epoch) == reached


@pytest.mark.parametrize(("epoch", "reached"), [(3, True), (4, False)])
def test_steps_that_run_out_on_the_way(epoch, reached):
    # After step 3, an epoch of 4 steps ends at step 7, two at step 11.
    assert Position(2, 3, 6, 8).reaches(epoch, steps_per_epoch=4) == reached


def test_every_epoch_ends_with_a_whole_step():
    assert planned_steps([10, 10, 4], pairs_per_step=4, max_steps=-1) == 3 + 3 + 1
    assert planned_steps([10, 10, 4], pairs_per_step=4, max_steps=5) == 5
    assert planned_steps([], pairs_per_step=4, max_steps=5) == 5
    assert planned_steps([], pairs_per_step=4, max_steps=-1) == 0
