"""What is embedded and what is not, and that a graph of kept vectors is the graph built anew."""

import json
import logging

import numpy as np
import pytest

from preflexor_pl.core.errors import ResourceError
from preflexor_pl.corpus import corpus_index as library_module
from preflexor_pl.corpus import vectors as module
from preflexor_pl.corpus.chunks import Chunk
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.index_meta import INDEX, META
from preflexor_pl.corpus.saved_index import CHUNKS
from preflexor_pl.corpus.vectors import VECTORS, VectorStore, embed


class Lengths:
    """A text's vector is (length, how many texts the call had): blocks can be seen in it."""

    dim = 2

    def __init__(self, identity="lengths 1"):
        self.identity = identity
        self.given = []

    def encode(self, texts):
        self.given.append(list(texts))
        return np.array([(len(text), len(texts)) for text in texts], dtype=np.float32)


def chunks(**files):
    """``silk=["a", "bb"]``: the chunks of silk.md."""
    return [
        Chunk(f"{name}.md#{n}", f"{name}.md", text, 0, len(text))
        for name, texts in files.items()
        for n, text in enumerate(texts)
    ]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "graph" / VECTORS


def rows(path, embedder, made, done=None):
    report = (lambda *args: None) if done is None else (lambda *args: done.append(args))
    vectors, fresh = embed(made, embedder, path, report)
    return vectors.tolist(), fresh


def test_only_what_is_new_is_embedded(path):
    first, second = Lengths(), Lengths()
    assert rows(path, first, chunks(bone=["a", "bb"], silk=["ccc"])) == (
        [[1, 2], [2, 2], [3, 1]],
        3,
    )
    done = []
    more = chunks(bone=["a", "bb"], nacre=["dddd"], silk=["ccc"])
    assert rows(path, second, more, done) == ([[1, 2], [2, 2], [4, 1], [3, 1]], 1)
    assert second.given == [["dddd"]]
    assert done == [(2, 4), (3, 4), (4, 4)]
    changed = chunks(bone=["a", "ee"], silk=["ccc"])
    assert rows(path, second, changed)[1] == 2
    assert second.given[1:] == [["a", "ee"]]


def test_rows_of_a_file_share_blocks_of_a_bounded_size(path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2)
    texts = [Chunk(f"r.jsonl#{n}#0", f"r.jsonl#{n}", "x" * n, 0, n) for n in range(1, 6)]
    embedder = Lengths()
    rows(path, embedder, texts[:3])
    assert embedder.given == [["x", "xx"], ["xxx"]]
    rows(path, embedder, texts)
    assert embedder.given[2:] == [["xxx", "xxxx"], ["xxxxx"]]


def test_another_embedder_has_other_vectors(path):
    made = chunks(bone=["a"])
    rows(path, Lengths(), made)
    assert rows(path, Lengths("lengths 2"), made)[1] == 1
    assert rows(path, Lengths("lengths 2"), made)[1] == 0


def test_bad_vectors_are_not_kept(path, monkeypatch):
    class Bad(Lengths):
        def encode(self, texts):
            return super().encode(texts) * np.float32(np.nan)

    made = chunks(bone=["a"])
    assert np.isnan(rows(path, Bad(), made)[0]).all()
    assert rows(path, Lengths(), made) == ([[1, 1]], 1)


@pytest.mark.parametrize("cut", [1, 40, 90])
def test_a_file_that_breaks_off_is_used_as_far_as_it_goes(path, caplog, cut):
    made = chunks(bone=["a"], nacre=["bb"], silk=["ccc"])
    want, _ = rows(path, Lengths(), made)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-cut])
    with caplog.at_level(logging.INFO, module.__name__):
        assert rows(path, Lengths(), made) == (want, 2 if cut > 76 else 1)  # a block has 76 bytes
    assert "damaged" in caplog.text
    assert path.stat().st_size == size
    assert rows(path, Lengths(), made) == (want, 0)


def test_a_flipped_file_gives_no_wrong_vector(path):
    made = chunks(bone=["a"], nacre=["bb"], silk=["ccc"])
    want, _ = rows(path, Lengths(), made)
    sound = path.read_bytes()
    for place in range(0, len(sound), 7):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 255]) + sound[place + 1 :])
        assert rows(path, Lengths(), made)[0] == want
    assert rows(path, Lengths(), made) == (want, 0)


def test_what_was_embedded_before_a_kill_is_kept(path):
    class Killed(Lengths):
        def encode(self, texts):
            if texts == ["ccc"]:
                raise KeyboardInterrupt
            return super().encode(texts)

    made = chunks(bone=["a"], nacre=["bb"], silk=["ccc"])
    with pytest.raises(KeyboardInterrupt):
        rows(path, Killed(), made)
    assert rows(path, Lengths(), made)[1] == 1


def test_what_nobody_uses_is_dropped_in_time(path):
    rows(path, Lengths(), chunks(bone=["a", "aa"], silk=["ccc"]))
    size = path.stat().st_size
    rows(path, Lengths(), chunks(silk=["ccc"]))
    assert path.stat().st_size < size
    assert rows(path, Lengths(), chunks(silk=["ccc"]))[1] == 0
    assert rows(path, Lengths(), chunks(bone=["a", "aa"], silk=["ccc"]))[1] == 2


def test_vectors_come_back_to_the_bit(path):
    block = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    VectorStore(path, "e", 3).add(b"k" * 32, block)
    kept = VectorStore(path, "e", 3).get(b"k" * 32)
    assert kept.dtype == np.float32
    assert kept.tobytes() == block.tobytes()
    assert VectorStore(path, "e", 3).get(b"l" * 32) is None


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write"):
        VectorStore(tmp_path / "file" / VECTORS, "e", 1).add(b"k" * 32, np.ones((1, 1)))


def test_a_graph_of_kept_vectors_is_the_graph_built_anew(tmp_path, embedder, monkeypatch):
    monkeypatch.setattr(library_module, "Embedder", lambda name: embedder)
    given = []
    real = embedder.encode
    monkeypatch.setattr(
        embedder, "encode", lambda texts, *args: given.extend(texts) or real(texts, *args)
    )
    corpus = tmp_path / "corpus"
    corpus.mkdir()

    def write(name, n):
        lines = [
            f"Remark {i} on {name}, which is tough{' indeed' * (7 * i % 11)}." for i in range(n)
        ]
        (corpus / f"{name}.md").write_text(" ".join(lines))

    def build(folder):
        given.clear()
        CorpusIndex.open(corpus, "minilm", 40, 0, tmp_path / folder)
        kept = json.loads((tmp_path / folder / META).read_text())
        files = [(tmp_path / folder / name).read_bytes() for name in (INDEX, CHUNKS)]
        return list(given), files, kept

    write("bone", 9)
    write("silk", 14)
    before, *_ = build("grown")
    write("nacre", 13)  # between the two
    added, *grown = build("grown")
    total, *anew = build("anew")
    assert len(added) + len(before) == len(total)
    assert all("nacre" in text for text in added)
    assert grown == anew
