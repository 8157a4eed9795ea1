"""Tasks: questions with known answers, and what checks an answer to them."""

from preflexor_pl.tasks.bank import QuestionBank
from preflexor_pl.tasks.multi_hop import MultiHop
from preflexor_pl.tasks.read import task_of
from preflexor_pl.tasks.task import Item, Split, Task, Verdict, WorkedItem

__all__ = ["Item", "MultiHop", "QuestionBank", "Split", "Task", "Verdict", "WorkedItem", "task_of"]
