"""Held-out documents stay held out through phases of other seeds and corpora."""

import json
from dataclasses import replace

import pytest

from preflexor_pl import fit
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.seen_documents import Lineage
from preflexor_pl.evaluation.read_evaluation_set import check_unseen
from preflexor_pl.pairs.pair import read_pairs
from preflexor_pl.reasoning.model_info import model_info
from tests.run_helpers import TEXTS, Letters, leave_graph, leave_run
from tests.scripted import SUBJECTS, write_corpus
from tests.tiny import PAIR, refused
from tests.verbs import done


def held_out(run):
    return {id for pair in read_pairs(run / "held_out/pairs.jsonl") for id in pair.chunk_ids}


@pytest.mark.usefixtures("teacher")
def test_a_phase_of_another_seed_and_a_larger_corpus(call_verb, place):
    short = "--trainer.max_epochs=1"
    done(call_verb(fit, short, "--run=one"))
    first = held_out(place / "one")
    from_one = "--model.policy.start_from=one"
    for seed in range(1, 6):
        run = f"--run=seed-{seed}"
        if seed == 2:  # a document more, and the old ones under other names
            for path in list((place / "corpus").iterdir()):
                path.rename(path.with_name(f"my-{path.name}"))
            first = {f"my-{id}" for id in first}
            write_corpus(place / "more", 5)
            (place / f"more/{SUBJECTS[4]}.md").rename(place / "corpus/new.md")
        told = done(call_verb(fit, short, from_one, run, f"--seed_everything={seed}"))
        assert held_out(place / f"seed-{seed}") == first
        assert "1 of them by the phases before, which trained on 3 of all" in told
    kept = [
        json.loads((place / n / "adapter/documents.json").read_text()) for n in ("one", "seed-5")
    ]
    assert [len(one["trained"]) for one in kept] == [3, 4]
    assert kept[0]["held_out"] == kept[1]["held_out"]

    (place / "corpus" / next(iter(first)).partition("#")[0]).unlink()
    (place / "corpus/new.md").unlink()
    outcome = call_verb(fit, short, from_one, "--run=none")
    refused(outcome, 2, "data.held_out", "trained on all 3 documents")
    (place / "one/adapter/documents.json").unlink()
    assert "not known what all phases before trained on" in done(
        call_verb(fit, short, from_one, "--run=old")
    )


@pytest.fixture
def runs(tmp_path, policy, monkeypatch):
    """``runs(name, trained, held_out)``: what a run is known by that used these documents."""
    monkeypatch.setattr("preflexor_pl.corpus.corpus_index.Embedder", Letters)

    def runs(name, trained=None, held_out=(), complete=True):
        run = leave_run(tmp_path / name, policy)
        leave_graph(run)
        known = model_info(str(run))
        if trained is not None:
            both = ([known.library.hashes[name] for name in names] for names in (trained, held_out))
            Lineage(*map(frozenset, both), complete).write(run / "adapter")
        return model_info(str(run))

    return runs


def asked_about(*documents):
    return [replace(PAIR, chunk_ids=[f"{name}#0"]) for name in documents]


def test_a_model_that_trained_on_the_questions_documents_is_not_evaluated(runs, tmp_path, capsys):
    silk, bone, nacre = "silk.md", "bone.md", "nacre.md"
    first = runs("first", [silk, bone], [nacre])
    same, other = runs("same", [silk], [nacre, bone]), runs("other", [nacre], [silk])
    assert first.documents == ({silk, bone}, {nacre})
    check_unseen([first, same], asked_about(nacre), tmp_path)
    assert capsys.readouterr().out == ""
    with pytest.raises(ConfigError, match=r"other trained, .*or in one before it.*\(nacre\.md\)"):
        check_unseen([first, same, other], asked_about(nacre), tmp_path)
    check_unseen([other], asked_about(silk), tmp_path)
    with pytest.raises(ConfigError, match=r"other trained"):  # also of its own, by --pairs
        check_unseen([other], asked_about(silk, nacre), tmp_path)


def test_what_is_not_known_of_a_model_is_said(runs, tmp_path, capsys):
    first = runs("first", ["silk.md"], ["nacre.md"])
    old = runs("old", ["silk.md"], ["nacre.md"], complete=False)
    check_unseen([first, old], asked_about("nacre.md"), tmp_path)
    assert "old: it is not known" in capsys.readouterr().out
    check_unseen([first], asked_about("elsewhere.md"), tmp_path)
    assert "not all about the documents" in capsys.readouterr().out


def test_a_run_from_before_there_were_records_has_the_split_of_its_seed(runs, monkeypatch):
    known = runs("old")
    monkeypatch.setattr(CorpusIndex, "near_copies", dict.fromkeys(TEXTS, min(TEXTS)))  # one group
    trained, held = known.documents
    assert (len(trained), len(held), trained | held) == (2, 1, set(TEXTS))
    assert known.lineage.complete
