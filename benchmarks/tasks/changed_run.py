"""``fit`` with one part of a run on a task changed: ``-m benchmarks.tasks.changed_run PART ...``.

The changes are those that no setting makes, because nobody should train so.
"""

import sys
from collections.abc import Sequence
from typing import Any

from preflexor_pl.cli.entry import guarded
from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.fit import main as fit
from preflexor_pl.pairs import solutions, task_round
from preflexor_pl.pairs.verification import Checked
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.rounds import rounds
from preflexor_pl.tasks import Item, Task


def main(args: Sequence[str]) -> int:
    """Change the part and fit."""
    part, *rest = args
    if part == "rejected from the frozen base":
        _freeze_writer()
    elif part == "nothing verified":
        _verify_nothing()
    return fit(rest)


def _freeze_writer() -> None:
    """The tries are those of the base, whatever the policy has become."""

    def base(model: Any, role: str, batch_size: int) -> LocalGenerator:
        return LocalGenerator(model, "base", batch_size, name="frozen base" * (role == "policy"))

    rounds.LocalGenerator = base  # type: ignore[misc, assignment]


def _verify_nothing() -> None:
    """The teacher's first solution is chosen, whatever it says, and the policy's first try is not.

    Solutions must have the form, or they could not be trained on.
    """

    def unread(
        task: Task,
        item: Item,
        response: str,
        is_asked_to_think: bool = True,
        markers: MarkerStrings = DEFAULT,
    ) -> Checked:
        return Checked("wrong", False, None)

    def any_solution(
        self: solutions.Solver, item: Item, text: str, is_hinted: bool
    ) -> solutions.Solution | None:
        return solutions.read_solution(text)

    task_round.check_response = unread
    solutions.Solver._right = any_solution  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(guarded(main))
