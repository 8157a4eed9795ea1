"""Which rejected answer is taken, of several, and which are drawn again."""

import json
from dataclasses import replace

import pytest

from preflexor_pl.core.errors import CorpusError, TeacherError
from preflexor_pl.core.markers import THINK_START, TRIGGER
from preflexor_pl.pairs.journaled_client import PairDraft
from preflexor_pl.pairs.prompt_files import BUILT_IN
from preflexor_pl.pairs.rejection import has_trigger
from tests.scripted import (
    GOOD,
    Scripted,
    kind_of,
    make_round,
    scripted_maker,
    scripted_settings,
)

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


@pytest.mark.parametrize("rejected_trigger", [False, True])
def test_a_share_of_pairs_is_asked_and_answered_without_thinking(tmp_path, rejected_trigger):
    options = {"untriggered_share": 0.25, "rejected_trigger": rejected_trigger, "reflection": True}
    maker = scripted_maker(policy=Scripted("policy"), **options)
    pairs = make_round(maker, tmp_path, wanted=8)
    plain = [pair for pair in pairs if not pair.prompt.endswith(TRIGGER)]
    assert [pair.id[-4:] for pair in plain] == ["0000", "0002", "0005"]  # 0, 0.24, 0.09 of a turn
    for pair in plain:
        assert THINK_START not in pair.prompt
        assert pair.chosen == GOOD["answer"].format(pair.prompt.split()[2])  # How does silk ...
    for pair in pairs:
        thinks = pair not in plain
        assert pair.chosen.startswith(THINK_START) == thinks
    triggers = [request.prompt.endswith(TRIGGER) for request in maker.writers.policy.asked]
    assert triggers == [rejected_trigger and pair not in plain for pair in pairs]


def test_the_share_is_kept_and_no_topic_gets_all_of_it():
    for share in (0.1, 0.25, 0.5):
        plain = [
            n for n in range(200) if not has_trigger(PairDraft(f"0001-{n:04d}", "", []), share)
        ]
        assert abs(len(plain) - 200 * share) <= 1
        for period in (2, 3, 4, 5):  # topics take turns
            assert len({n % period for n in plain}) == period
    assert all(has_trigger(PairDraft(f"held-{n:04d}", "", []), 0.0) for n in range(200))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(ValueError, match=r"data\.untriggered_share: got .*0 to 1"):
        scripted_settings(untriggered_share=share)


def test_a_wrong_answer_ends_where_its_prompt_says(tmp_path):
    wrong = replace(BUILT_IN.wrong_answer, stop=("\n",))
    teacher = Scripted("teacher")
    prompts = replace(BUILT_IN, wrong_answer=wrong)
    maker = scripted_maker(rejected="teacher", prompts=prompts)
    maker.writers = replace(maker.writers, teacher=teacher)
    make_round(maker, tmp_path)
    stops = {request.stop for request in teacher.asked if kind_of(request) == "rejected"}
    assert stops == {("\n",)}


def test_a_teacher_that_will_not_write_a_wrong_answer_is_asked_again(tmp_path):
    refusal = "I'm sorry, but I can't write a wrong answer."

    def refuse(kind, subject, again):
        return refusal if (kind, subject) == ("rejected", "silk") else None

    pairs = make_round(scripted_maker(refuse, rejected="teacher"), tmp_path, 2, 0)
    assert refusal not in [pair.rejected for pair in pairs]
    [drop] = [json.loads(line) for line in (tmp_path / "drops.jsonl").read_text().splitlines()]
    assert (drop["id"], drop["reason"]) == ("0000-0000", "rejected_refusal")
