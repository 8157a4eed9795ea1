"""A teacher that says a worked example of its prompt again: its reply makes no pair."""

import json

import pytest

from preflexor_pl.core.generator import Completion
from tests.scripted import Scripted, kind_of, make_round, scripted_maker


class Copies(Scripted):
    """Says the first worked example again in one stage, about silk; else ``GOOD``."""

    def __init__(self, stage, texts=lambda reply: reply):
        super().__init__("teacher")
        self.stage, self.texts = stage, texts

    def _answer(self, request):
        if kind_of(request) != self.stage or "subject: silk" not in request.prompt:
            return super()._answer(request)
        text = self.texts(request.examples[0][1])
        for stop in request.stop:
            text = text.split(stop, 1)[0]
        return Completion(text, "stop", 9)


@pytest.mark.parametrize("stage", ["question", "thinking", "reflection", "answer", "rejected"])
@pytest.mark.parametrize("texts", [str, str.upper, " {} ".format], ids=["same", "upper", "spaced"])
def test_a_copied_example_is_dropped_by_its_reason(tmp_path, stage, texts):
    teacher = Copies(stage, texts)
    maker = scripted_maker(teacher, reflection=True, rejected="teacher")
    pairs = make_round(maker, tmp_path)
    assert len(pairs) == 2
    assert all("silk" not in pair.prompt for pair in pairs)
    lines = (tmp_path / "drops.jsonl").read_text(encoding="utf-8").splitlines()
    [reason] = {json.loads(line)["reason"] for line in lines}
    assert reason == "rejected_" * (stage == "rejected") + "copies_example"


def test_a_copied_example_is_asked_for_once_more(tmp_path):
    again = iter([str, lambda reply: "The layers of silk share the load."])
    teacher = Copies("answer", lambda reply: next(again)(reply))
    pair, _ = make_round(scripted_maker(teacher), tmp_path)
    assert pair.chosen.endswith("The layers of silk share the load.")
