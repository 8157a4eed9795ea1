"""The key of a call in a round's journal: written by the stages, read by the cost estimate.

``stage/item/part/attempt`` is a call to the teacher: the part is a category, or a candidate for the
answer; parts that are empty are left out. Rejected answers and rulings on them are drawn several
times, all alike: ``stage/item/number``, without the number where it is 0. So are the policy's tries
at a task's item, and the teacher's solutions of it.
"""

from dataclasses import dataclass

QUESTION, THINKING, REFLECTION, ANSWER = "question", "thinking", "reflection", "answer"
REJECTED, JUDGING = "rejected", "judging"
TRY, SOLUTION, HINTED = "try", "solution", "hinted"  # of a task's item
DRAWN_ALIKE = (
    REJECTED,
    JUDGING,
    TRY,
    SOLUTION,
    HINTED,
)  # stages whose calls have a number, and are never a second attempt


@dataclass(frozen=True)
class CallKey:
    """Names one call of a round.

    Attributes:
        stage: of the round.
        item: id of the pair in the making, or the name of what is judged.
        part: what of the item is asked for; "" where a stage asks for one thing.
        number: the attempt, 0 or 1; in ``DRAWN_ALIKE`` the number of the draw.
    """

    stage: str
    item: str
    part: str = ""
    number: int = 0

    def __str__(self) -> str:
        number = "" if self.stage in DRAWN_ALIKE and not self.number else str(self.number)
        return "/".join(filter(None, (self.stage, self.item, self.part, number)))

    @classmethod
    def parse(cls, text: str) -> "CallKey":
        """The key that is written so.

        Raises:
            ValueError: it is none.
        """
        stage, item, *rest = text.split("/")
        number = int(rest.pop()) if rest and rest[-1].isdecimal() else 0
        return cls(stage, item, "/".join(rest), number)

    @property
    def draw(self) -> str:
        """The key without its stage: what a rejected answer and the ruling on it are called."""
        return str(self).removeprefix(f"{self.stage}/")


def begins(stage: str) -> str:
    """How the keys of a stage begin."""
    return f"{stage}/"
