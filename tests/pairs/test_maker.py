import json
from contextlib import suppress

import pytest

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.generator import Completion
from preflexor_pl.pairs.maker import Order
from preflexor_pl.pairs.pair import PreferencePair
from tests.scripted import SUBJECTS, Killed, Scripted, Shelf, kind_of, make_round, scripted_maker


def drops(folder):
    lines = (folder / "drops.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def only(kind, subject, text):
    """A reply that differs for one subject and one stage, however often it is asked."""
    return lambda k, s, again: text if (k, s) == (kind, subject) else None


def test_a_pair_says_what_it_is_and_where_it_came_from(tmp_path):
    maker = scripted_maker(enrich_chunks=1)
    pair, _ = make_round(maker, tmp_path, policy_step=12)

    rejected = maker.writers.policy.asked[0]
    assert pair == PreferencePair(
        id="0002-0000",
        prompt="How does silk carry its load? Use <|thinking|>.",
        chosen=(
            "<|thinking|>\n"
            "**Steps**: First silk takes the load, then it spreads it.\n\n"
            "**Concepts**: First silk takes the load, then it spreads it.\n"
            "<|/thinking|>\nThe layers of silk share the load."
        ),
        rejected="I think that silk is simply strong.",
        round=2,
        topic="",
        chunk_ids=["silk.md#0", "coral.md#0"],
        teacher="teacher",
        rejected_source="policy",
        policy_step=12,
        seed=rejected.seed,
        finish_reason="stop",
        grounding=0.0,  # of "layers" and "share", which the question has not, none is in a chunk
        invented_numbers=0,
    )
    assert rejected.prompt == "How does silk carry its load?"  # without the trigger
    assert (rejected.system, rejected.examples) == ("Be brief.", ())


def test_stages_run_in_order_and_every_draw_has_its_own_seed(tmp_path):
    maker = scripted_maker()
    make_round(maker, tmp_path)
    asked = maker.writers.teacher.asked + maker.writers.policy.asked
    kinds = [kind_of(request) for request in asked]
    # 2 are wanted, so 3 questions are asked: one is spare, and goes no further
    assert kinds == ["question"] * 3 + ["thinking"] * 4 + ["answer"] * 2 + ["rejected"] * 2
    assert len({request.seed for request in asked}) == len(asked)


def test_a_finished_round_is_read_back_without_asking(tmp_path):
    pairs = make_round(scripted_maker(), tmp_path)
    maker = scripted_maker()
    assert make_round(maker, tmp_path) == pairs
    assert maker.writers.teacher.asked == maker.writers.policy.asked == []


def test_a_finished_round_does_not_ask_for_its_past(tmp_path):
    def refuse():
        pytest.fail("the pairs of earlier rounds were read")

    maker = scripted_maker()
    pairs = make_round(maker, tmp_path)
    assert maker.make(tmp_path, Order(2, 2, list(maker.library.chunks), refuse)) == pairs


@pytest.mark.parametrize("wanted", [1, 2])  # so the round is complete, or is not
def test_a_round_of_another_corpus_is_never_gone_on_with(tmp_path, wanted):
    killed = Scripted("teacher", lives=[99 if wanted == 2 else 1])
    with suppress(Killed):
        make_round(scripted_maker(killed), tmp_path)
    for library in (Shelf(SUBJECTS[:-1]), Shelf(text="It is brittle.")):
        with pytest.raises(ConfigError, match=r"plan\.json was made with another corpus"):
            make_round(scripted_maker(library=library), tmp_path)
    assert len(make_round(scripted_maker(), tmp_path)) == 2


@pytest.mark.parametrize(
    ("kind", "said", "reason"),
    [
        ("question", "Silk is strong.", "not_a_question"),
        ("question", "Why silk?", "question_too_short"),
        ("question", "What does the text say about silk?", "question_mentions_source"),
        ("thinking", "", "sentence_too_short"),
        ("thinking", "It is so.", "sentence_too_short"),
        ("thinking", Completion("First silk", "length", 2), "thinking_cut"),
        ("answer", "\n", "answer_too_short"),
        ("answer", Completion("The layers of", "length", 3), "answer_cut"),
    ],
)
def test_the_teacher_is_asked_once_more_and_then_the_item_is_dropped(tmp_path, kind, said, reason):
    maker = scripted_maker(only(kind, "silk", said))
    pairs = make_round(maker, tmp_path / "bad")
    assert [pair.id for pair in pairs] == ["0002-0001", "0002-0002"]
    (drop,) = drops(tmp_path / "bad")
    assert (drop["id"], drop["reason"]) == ("0002-0000", reason)
    assert drop["text"] == (said if isinstance(said, str) else said.text)
    tries = [r for r in maker.writers.teacher.asked if kind_of(r) == kind and "silk" in r.prompt]
    assert len(tries) == (4 if kind == "thinking" else 2)  # two categories

    once = scripted_maker(
        lambda k, s, again: said if (k, s, again) == (kind, "silk", False) else None
    )
    assert [pair.id for pair in make_round(once, tmp_path / "good")] == ["0002-0000", "0002-0001"]
    assert drops(tmp_path / "good") == []


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "rejected_empty"),
        (" \n", "rejected_empty"),
        ("The layers of silk share the load. ", "rejected_equals_chosen"),
    ],
)
def test_a_rejected_answer_that_teaches_nothing_is_dropped(tmp_path, said, reason):
    maker = scripted_maker(policy=only("rejected", "silk", said))
    assert [pair.id for pair in make_round(maker, tmp_path)] == ["0002-0001", "0002-0002"]
    assert [(drop["id"], drop["reason"]) for drop in drops(tmp_path)] == [("0002-0000", reason)]


def test_a_question_that_cannot_be_embedded_is_dropped(tmp_path):
    class Blind(Shelf):
        def encode(self, texts):
            return super().encode(texts) * [["silk" not in text] for text in texts]

    maker = scripted_maker(library=Blind())
    assert [pair.id for pair in make_round(maker, tmp_path)] == ["0002-0001", "0002-0002"]
    assert [drop["reason"] for drop in drops(tmp_path)] == ["question_without_vector"]


def test_thinking_that_is_too_short_is_dropped(tmp_path):
    # "**Steps**: Silk takes it well." and "**Concepts**: ..." are 10 words; the others' have 20.
    maker = scripted_maker(only("thinking", "silk", "Silk takes it well."), min_tokens=11)
    assert [pair.id for pair in make_round(maker, tmp_path)] == ["0002-0001", "0002-0002"]
    assert [drop["reason"] for drop in drops(tmp_path)] == ["thinking_too_short"]


def test_a_question_that_runs_on_is_cut_at_its_mark(tmp_path):
    said = Completion("How does silk hold a spider? It", "length", 8)
    pairs = make_round(scripted_maker(only("question", "silk", said)), tmp_path)
    assert pairs[0].prompt == "How does silk hold a spider? Use <|thinking|>."


def test_no_question_is_asked_twice(tmp_path):
    def same(kind, subject, again):
        return (
            "How does  SILK carry its load?" if (kind, subject) == ("question", "nacre") else None
        )

    pairs = make_round(
        scripted_maker(same), tmp_path / "a", asked=["how does bone carry its load?"]
    )
    assert [pair.id[-1] for pair in pairs] == ["0", "3"]  # silk and gecko
    assert [(d["id"][-1], d["reason"]) for d in drops(tmp_path / "a")] == [
        ("1", "question_asked_before"),
        ("2", "question_asked_before"),
    ]


def test_a_shortfall_is_in_the_manifest(tmp_path):
    pairs = make_round(scripted_maker(topics=3), tmp_path, wanted=3)
    assert len(pairs) == 3
    short = scripted_maker(only("answer", "nacre", "No."), topics=3)
    assert [pair.id[-1] for pair in make_round(short, tmp_path / "short", wanted=3)] == ["0", "2"]
    manifest = json.loads((tmp_path / "short/manifest.json").read_text())
    assert (manifest["wanted"], manifest["pairs"], manifest["drops"]) == (
        3,
        2,
        {"answer_too_short": 1},
    )


def test_a_round_without_a_pair_is_an_error_with_its_reasons(tmp_path):
    def bad(kind, subject, again):
        if kind == "question":
            return "No." if subject == "silk" else None
        return ""

    with pytest.raises(CorpusError, match="8 tries: sentence_too_short 7, not_a_question 1"):
        make_round(scripted_maker(bad), tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_topics_are_searched_for_and_asked_about(tmp_path):
    maker = scripted_maker(topics=["webs", "glue"], questions_per_topic=2, library=Shelf(["coral"]))
    with_numbers = iter("abcd")
    maker.writers.teacher.reply = lambda kind, subject, again: (
        f"How does coral {next(with_numbers)} grow?" if kind == "question" else None
    )
    pairs = make_round(maker, tmp_path, wanted=4)
    assert [pair.topic for pair in pairs] == ["webs", "glue", "webs", "glue"]
    assert [pair.chunk_ids for pair in pairs] == [["coral.md#0"]] * 4
    assert "about webs." in maker.writers.teacher.asked[0].prompt


def test_the_facts_of_a_round_are_in_its_manifest_and_on_the_screen(tmp_path, capsys):
    thought = "<|thinking|>Hm.<|/thinking|>It is strong."
    options = {"topics": ["webs", "glue"], "questions_per_topic": 4}
    policy = only("rejected", "coral", thought)  # the shelf's search finds coral first
    make_round(scripted_maker(policy=policy, **options), tmp_path, wanted=3)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["topics"] == {"webs": 2, "glue": 1}
    assert manifest["rejected_thinking"] == {"complete": 1, "any_marker": 1, "no_marker": 2}
    told = capsys.readouterr().out
    assert "round 2: pairs by topic: webs 2, glue 1\n" in told
    assert "round 2: of 3 rejected answers 1 have a complete thinking section" in told


def test_the_teacher_may_write_the_rejected_answer(tmp_path):
    maker = scripted_maker(rejected="teacher", policy=Scripted("policy", lives=[0]))
    pair = make_round(maker, tmp_path)[0]
    assert (pair.rejected_source, pair.rejected) == (
        "teacher",
        "I think that silk is simply strong.",
    )
    assert (
        "subject: silk" in maker.writers.teacher.asked[-2].prompt
    )  # it sees the facts to be wrong about


def test_a_criticism_stands_between_thinking_and_answer(tmp_path):
    maker = scripted_maker(reflection=True)
    pair, _ = make_round(maker, tmp_path)
    assert pair.chosen.endswith(
        "<|/thinking|>\n<|reflect|>\nThe reasoning leaves out how silk ends up broken.\n"
        "<|/reflect|>\nThe layers of silk share the load."
    )
    kinds = [kind_of(request) for request in maker.writers.teacher.asked]
    # one of three is expected to be lost, so for two pairs three are tried
    assert kinds[4:] == ["thinking"] * 6 + ["reflection"] * 3 + ["answer"] * 3
    answer = maker.writers.teacher.asked[-1]
    assert "leaves out how" in answer.prompt  # the answer rests on the criticism too


def test_a_criticism_that_says_the_thinking_again_is_asked_for_once_more(tmp_path):
    again = "First silk takes the load, then it spreads it."
    maker = scripted_maker(only("reflection", "silk", again), reflection=True)
    pairs = make_round(maker, tmp_path)
    assert ["silk" in pair.prompt for pair in pairs] == [False, False]
    [drop] = drops(tmp_path)
    assert (drop["reason"], drop["text"]) == ("repeats_thinking", again)
    asked = [
        r for r in maker.writers.teacher.asked if kind_of(r) == "reflection" and "silk" in r.prompt
    ]
    assert [request.sampling.temperature for request in asked] == [0.25, 0.7]


def test_with_the_trigger_the_policy_is_asked_as_it_will_be(tmp_path):
    maker = scripted_maker(rejected_trigger=True)
    pair, _ = make_round(maker, tmp_path)
    assert (
        maker.writers.policy.asked[0].prompt
        == pair.prompt
        == ("How does silk carry its load? Use <|thinking|>.")
    )


def test_a_rejected_answer_of_no_use_is_drawn_again_with_another_seed(tmp_path):
    poor = []

    def problem(pair):
        poor.append(pair.seed)
        return "rejected_no_target" if len(poor) == 1 else ""

    maker = scripted_maker(problem=problem)
    pairs = make_round(maker, tmp_path)
    assert [pair.id for pair in pairs] == ["0002-0000", "0002-0001"]
    assert pairs[0].seed == poor[2] != poor[0]
    assert len(maker.writers.policy.asked) == 3
    assert drops(tmp_path) == []


def test_a_rejected_answer_that_stays_of_no_use_is_dropped_and_made_up_for(tmp_path):
    maker = scripted_maker(problem=lambda pair: "x" if "silk" in pair.prompt else "")
    pairs = make_round(maker, tmp_path)
    assert [pair.id for pair in pairs] == ["0002-0001", "0002-0002"]
    assert [drop["reason"] for drop in drops(tmp_path)] == ["x"]


def test_what_was_lost_is_made_up_for_in_proportion(tmp_path):
    lost = {"silk", "nacre"}
    maker = scripted_maker(problem=lambda pair: "x" if lost & {*pair.prompt.split()} else "")
    pairs = make_round(maker, tmp_path, wanted=4)
    # 2 of 4 are lost, so for the 2 that are missing 4 are tried
    thought = [r for r in maker.writers.teacher.asked if kind_of(r) == "answer"]
    assert len(thought) == 8
    assert [pair.id[-4:] for pair in pairs] == ["0002", "0003", "0004", "0005"]
