"""Which rejected answer is taken, of several, and which are drawn again."""

import json

import pytest

from preflexor_pl.core.errors import CorpusError, TeacherError
from tests.scripted import Scripted, kind_of, make_round, scripted_maker

# F1 with the teacher's answer, "The layers of {} share the load.": 0, 1/2 and 6/7
FAR = "Nobody knows."
NEAR = "Layers of steel."
NEARER = "The layers of {} share the load well and"


class InTurn(Scripted):
    """Says its texts in turn for each question."""

    def __init__(self, *texts, **options):
        super().__init__("policy", **options)
        self.texts, self.counts = texts, {}

    def _answer(self, request):
        count = self.counts.get(request.prompt, 0)
        self.counts[request.prompt] = count + 1
        text = self.texts[count % len(self.texts)]
        self.reply = lambda kind, subject, again: text.format(subject)
        return super()._answer(request)


class Rules:
    """Rules by a word in the answer."""

    name = "the word"

    def __init__(self, **words):
        self.words, self.seen = words, []

    def rule(self, cases, asker):
        self.seen += cases
        return {
            name: next((r for word, r in self.words.items() if word in case.response), "wrong")
            for name, case in cases.items()
        }


def taken(folder, *texts, **options):
    maker = scripted_maker(policy=InTurn(*texts), **options)
    return [pair.rejected for pair in make_round(maker, folder)]


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def test_at_random_the_first_that_is_wrong_is_taken(tmp_path):
    texts = "", NEARER, NEAR
    assert taken(tmp_path, *texts, rejected_candidates=3, only_wrong=True) == [NEAR] * 2
    counts = {"drawn": 6, "of_use": 4, "right": 2, "wrong": 2}
    assert manifest(tmp_path)["rejected"] == counts


def test_the_closest_shares_most_words_with_the_chosen_answer(tmp_path):
    found = taken(tmp_path, FAR, NEARER, NEAR, rejected_candidates=3, rejected_choice="closest")
    assert found == [NEARER.format("silk"), NEARER.format("nacre")]


def test_the_likeliest_has_the_highest_log_prob(tmp_path):
    found = taken(
        tmp_path,
        NEARER,
        FAR,
        NEAR,
        rejected_candidates=3,
        rejected_choice="likeliest",
        likelihood=lambda pairs: [-float(len(pair.rejected)) for pair in pairs],
    )
    assert found == [FAR] * 2  # the shortest, to this policy


def test_judged_is_the_closest_of_the_wrong_ones(tmp_path):
    options = {"rejected_candidates": 3, "rejected_choice": "judged"}
    found = taken(tmp_path / "a", FAR, NEARER, NEAR, **options, examiner=Rules(share="right"))
    assert found == [NEAR] * 2
    none_is = taken(tmp_path / "b", FAR, NEARER, NEAR, **options, examiner=Rules(**{" ": "right"}))
    assert none_is == [NEARER.format("silk"), NEARER.format("nacre")]


def test_only_a_wrong_answer_makes_a_pair_and_it_is_drawn_three_times(tmp_path, capsys):
    examiner = Rules(Layers="right", layers="")
    found = taken(tmp_path, NEAR, NEARER, FAR, only_wrong=True, examiner=examiner)
    assert found == [FAR] * 2
    assert examiner.seen == [f"0002-000{n}{draw}" for draw in ("", "/1", "/2") for n in (0, 1)]
    counts = {"drawn": 6, "of_use": 6, "right": 2, "unclear": 2, "wrong": 2}
    assert manifest(tmp_path)["rejected"] == counts
    assert manifest(tmp_path)["examiner"] == "the word"
    told = "2 of 6 rejected answers ruled wrong, 2 right, 2 unclear, by the word"
    assert told in capsys.readouterr().out


def test_a_question_whose_answers_are_all_right_is_dropped(tmp_path):
    with pytest.raises(CorpusError, match="rejected_right 8"):
        taken(tmp_path, FAR, only_wrong=True, examiner=Rules(Nobody="right"))


def test_without_a_judge_shared_words_serve_and_it_is_said(tmp_path, capsys):
    found = taken(tmp_path, NEARER, FAR, only_wrong=True)
    assert found == [FAR] * 2  # 6/7 >= 0.6 counts as right
    assert "no judge is configured" in capsys.readouterr().out


def test_several_candidates_have_calls_and_seeds_of_their_own(tmp_path):
    policy = InTurn("", "", "", FAR)
    maker = scripted_maker(policy=policy, rejected_candidates=2, rejected_choice="closest")
    make_round(maker, tmp_path)
    calls = [json.loads(line)["call"] for line in (tmp_path / "calls.jsonl").open()]
    drawn = [call for call in calls if call.startswith("rejected/0002-0000")]
    assert drawn == [f"rejected/0002-0000{n}" for n in ("", "/1", "/2", "/3")]
    seeds = [r.seed for r in policy.asked if kind_of(r) == "rejected"]
    assert len(set(seeds)) == len(seeds) == 8


def test_a_judge_that_rules_nothing_is_no_judge(tmp_path):
    maker = scripted_maker(
        policy=InTurn(FAR),
        rejected_candidates=8,
        only_wrong=True,
        examiner=Rules(**{"": ""}),
    )
    with pytest.raises(TeacherError, match="of 16 answers the word called none right or wrong"):
        make_round(maker, tmp_path)
