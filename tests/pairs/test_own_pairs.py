"""Pairs of one's own: how rows are read, which round has which, and what the policy completes."""

import json

import pytest

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.markers import TRIGGER
from preflexor_pl.pairs.maker import Order
from preflexor_pl.pairs.own_pair import OwnPair
from preflexor_pl.pairs.own_pairs import OwnPairs, OwnSet, read_own
from preflexor_pl.pairs.own_round import inert_but_markers
from preflexor_pl.pairs.round_folders import read_manifest
from tests.scripted import Scripted, scripted_maker
from tests.tiny import PAIR

ROW = {"prompt": "Why?", "chosen": "It bends.", "rejected": "No."}
THOUGHT = "<|thinking|>\nIt bends.\n<|/thinking|>\nIt bends."


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


CHAT = {  # as `dataset --conversational` writes them
    "prompt": [{"role": "system", "content": "Be brief."}, user("Why?")],
    "chosen": [assistant("It bends.")],
    "rejected": [assistant("No.")],
}
ULTRA = {  # the prompt as a text, and again in both conversations
    "prompt": "Why?",
    "chosen": [user("Why?"), assistant("It bends.")],
    "rejected": [user("Why?"), assistant("No.")],
    "score_chosen": 9.0,
}
IMPLICIT = {"chosen": ULTRA["chosen"], "rejected": ULTRA["rejected"]}


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        CHAT,
        ULTRA,
        IMPLICIT,
        {"question": "Why?"} | {k: ROW[k] for k in ("chosen", "rejected")},
    ],
)
def test_rows_of_every_kind_are_the_same_pair(row):
    assert read_own([row], "Be brief.") == [OwnPair("Why?", "It bends.", "No.")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet", "saved", "folder"])
def test_files_of_every_kind_hold_the_same_pairs(tmp_path, name):
    import datasets

    path, rows = tmp_path / name, [ROW, ROW | {"prompt": "How?\u2028So?"}]
    made = datasets.Dataset.from_list(rows)
    if name == "a.jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    elif name == "a.json":
        path.write_text(json.dumps(rows))
    elif name == "a.parquet":
        made.to_parquet(path)
    elif name == "saved":
        made.save_to_disk(path)
    else:
        path.mkdir()
        made.to_parquet(path / "train-0.parquet")
        made.to_parquet(path / "test-0.parquet")  # another split
    assert [pair.prompt for pair in read_own(str(path), None)] == ["Why?", "How?\u2028So?"]
    assert read_own(made, None) == read_own(str(path), None)


def test_pairs_of_an_earlier_run_keep_what_they_say():
    assert read_own([PAIR], None) == [
        OwnPair(PAIR.prompt, PAIR.chosen, PAIR.rejected, "", ("silk.md#0",))
    ]


def test_what_cannot_be_used_is_counted(capsys):
    several = {"prompt": [user("a"), assistant("b"), user("c")], "chosen": "x", "rejected": "y"}
    rows = [ROW, ROW | {"chosen": " "}, ROW | {"rejected": "It bends. "}, several, CHAT]
    assert len(read_own(rows, None)) == 2
    assert capsys.readouterr().out.splitlines() == [
        "2 pairs of your own; left out: 1 with an empty text, 1 rejected as chosen, "
        "1 with several turns",
        "  1 have a system turn that is not data.system_prompt: it is left out",
    ]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([ROW, {"prompt": "Why?"}], "row 1 is no preference pair .'chosen'"),
        ([ROW | {"prompt": None}], "row 0 is no preference pair .'no prompt, question or instr"),
        ([ROW | {"chosen": 3}], "row 0 .*a int in the place of a text or of messages"),
        ([ROW | {"chosen": [user("Why?")]}], "messages that end with the assistant's"),
        (["text"], "row 0 .*a str"),
        ([], "not one pair can be used"),
        ([ROW | {"prompt": ""}], "not one pair can be used: 1 with an empty text"),
    ],
)
def test_rows_that_are_no_pairs_are_named(rows, told):
    with pytest.raises(CorpusError, match=rf"^data\.pairs: .*{told}"):
        read_own(rows, None)


@pytest.mark.parametrize(
    ("name", "content", "error", "told"),
    [
        ("none.jsonl", None, ConfigError, "there is no"),
        ("a.csv", b"prompt", ConfigError, "must be one of .jsonl"),
        ("a.jsonl", b'{"prompt": 1\n', CorpusError, "a.jsonl:1 is not JSON"),
        ("a.json", b"[1, ", CorpusError, "a.json cannot be read"),
        ("a.parquet", b"PAR1", CorpusError, "a.parquet cannot be read"),
        ("a.jsonl", b"\xff\xfe\x00", CorpusError, "a.jsonl cannot be read"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, content, error, told):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=rf"data\.pairs: .*{told}"):
        read_own(str(tmp_path / name), None)


def rows(count):
    return [ROW | {"prompt": f"Why {n}?"} for n in range(count)]


def test_every_pair_is_taken_once_before_any_is_taken_again():
    own = OwnSet(OwnPairs(rows(12)), 2, None, seed=3)
    assert (len(own.train), len(own.held)) == (10, 2)
    assert not {p.prompt for p in own.train} & {p.prompt for p in own.held}
    taken = [[pair.prompt for pair in own.of_round(index, 5)] for index in range(4)]
    assert len({*taken[0], *taken[1]}) == len({*taken[2], *taken[3]}) == 10
    assert taken[0] + taken[1] != taken[2] + taken[3]  # in another order
    again = OwnSet(OwnPairs(rows(12)), 2, None, seed=3)
    assert [pair.prompt for pair in again.of_round(1, 5)] == taken[1]
    assert len(own.of_round(0, 99)) == 10


def test_the_same_prompt_is_never_on_both_sides():
    own = OwnSet(OwnPairs([*rows(6), *rows(6)]), 3, None, seed=0)
    assert (len(own.train), len(own.held)) == (6, 6)


def test_a_question_with_its_trigger_and_without_is_held_out_whole():
    both = [*rows(6), *({**row, "prompt": row["prompt"] + TRIGGER} for row in rows(6))]
    own = OwnSet(OwnPairs(both), 3, None, seed=0)
    asked = [{p.prompt.removesuffix(TRIGGER) for p in some} for some in (own.train, own.held)]
    assert (len(own.held), asked[0] & asked[1]) == (6, set())


def test_shares_and_first_rounds():
    own = OwnSet(OwnPairs(rows(9), share=0.25), 2, None, seed=0)
    assert not own.held  # the corpus gives the questions that are held out
    assert len(own.of_round(3, 8)) == 2
    first = OwnSet(OwnPairs(rows(9), "first"), 2, None, seed=0)
    assert (len(first.of_round(0, 4)), first.of_round(1, 4)) == (4, [])


def test_too_few_prompts_to_hold_some_out_are_refused():
    with pytest.raises(ConfigError, match=r"data\.held_out_questions: 9 .* 9 .*at most 8"):
        OwnSet(OwnPairs(rows(9)), 9, None, seed=0)
    with pytest.raises(ConfigError, match=r"2 cannot be held out of the 1 .*3 prompts or more"):
        OwnSet(OwnPairs([ROW] * 9), 2, None, seed=0)


@pytest.mark.parametrize("source", [5, {"train": [ROW]}])
def test_what_is_no_source_is_refused(source):
    with pytest.raises(ValueError, match=r"data\.pairs\.source: got"):
        OwnPairs(source)


@pytest.mark.parametrize("options", [{"share": 0}, {"share": 1.5}, {"rounds": "last"}])
def test_settings_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=r"data\.pairs\.(share|rounds): got"):
        OwnPairs([ROW], **options)


def test_pairs_on_held_out_documents_are_left_out(capsys):
    own = OwnSet(OwnPairs([PAIR, ROW], share=0.5), 1, None, seed=0)
    own.without({"silk.md"})
    assert [pair.prompt for pair in own.train] == ["Why?"]
    assert "1 rest on held-out documents" in capsys.readouterr().out


def test_markers_of_a_response_are_markers_and_all_else_is_text():
    text = "a<|im_end|><|thinking|>b<|/thinking|>c<|turn|></s>"
    assert inert_but_markers(text, ["</s>"]) == (
        "a<·|im_end|><|thinking|>b<|/thinking|>c<·|turn|><·/s>"
    )


def made(
    own, folder, policy=None, wanted=4, alone=True, problem=lambda pair: "", special_tokens=()
):
    maker = scripted_maker(None, policy, problem=problem, special_tokens=special_tokens)
    within = list(maker.library.chunks)
    pairs = maker.make(folder, Order(0, wanted, within, own=tuple(own), alone=alone))
    return maker, pairs


def test_a_round_of_own_pairs_asks_nobody(tmp_path):
    own = [
        OwnPair("Why <|/thinking|>?" + TRIGGER, THOUGHT, "No.<|im_end|>"),
        OwnPair("How?", "So.", "Hm."),
    ]
    maker, pairs = made(own, tmp_path, special_tokens=["<|thinking|>"])
    assert [(p.prompt, p.chosen, p.rejected) for p in pairs] == [
        ("Why <·|/thinking|>?" + TRIGGER, THOUGHT, "No.<·|im_end|>"),
        ("How?", "So.", "Hm."),
    ]
    assert {(p.teacher, p.rejected_source) for p in pairs} == {("own", "own")}
    assert not maker.writers.teacher.asked
    assert not maker.writers.policy.asked
    assert read_manifest(tmp_path)["own"] == 2


def test_what_is_missing_is_made_from_the_corpus(tmp_path):
    _, pairs = made([OwnPair("How?", "So.", "Hm.")], tmp_path, wanted=3, alone=False)
    assert [pair.teacher for pair in pairs] == ["own", "teacher", "teacher"]


def test_the_policy_writes_the_rejected_answer_that_a_row_lacks(tmp_path):
    policy = Scripted("policy", lambda kind, subject, again: f"I see {subject}.")
    own = [OwnPair(f"How does {name} bend?" + TRIGGER, "So.") for name in ("silk", "bone")]
    _, pairs = made(own, tmp_path, policy)
    assert [(p.rejected, p.rejected_source) for p in pairs] == [
        ("I see silk.", "policy"),
        ("I see bone.", "policy"),
    ]
    assert [request.prompt for request in policy.asked] == [
        "How does silk bend?",  # without the trigger, as data.rejected_trigger says
        "How does bone bend?",
    ]
    (tmp_path / "manifest.json").unlink()  # killed before the end: nothing is asked again
    assert made(own, tmp_path, policy)[1] == pairs
    assert len(policy.asked) == 2


def test_what_cannot_be_trained_on_is_dropped_by_its_reason(tmp_path):
    policy = Scripted("policy", lambda kind, subject, again: " ")
    own = [
        OwnPair("Good?", "Yes.", "No."),
        OwnPair("Long?", "Yes.", "No."),
        OwnPair("Open?", "<|thinking|> Hm.", "No."),
        OwnPair("How does silk bend?", "Yes."),
    ]
    problem = lambda pair: "prompt_too_long" * pair.prompt.startswith("Long")  # noqa: E731
    _, pairs = made(own, tmp_path, policy, problem=problem)
    assert [pair.prompt for pair in pairs] == ["Good?"]
    assert read_manifest(tmp_path)["drops"] == {
        "prompt_too_long": 1,
        "chosen_unclosed_thinking": 1,
        "rejected_empty": 1,
    }
    assert len(policy.asked) == 3  # tries


def test_another_file_is_another_plan(tmp_path):
    made([OwnPair("Why?", "Yes.", "No.")], tmp_path)
    with pytest.raises(ConfigError, match="other settings"):
        made([OwnPair("Why?", "Yes.", "Never.")], tmp_path)
