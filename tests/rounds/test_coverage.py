"""Four chunks of which one is held out, and two pairs; the network itself is in corpus/."""

import networkx as nx
import numpy as np
import pytest

from preflexor_pl.core.csv_rows import read_rows
from preflexor_pl.corpus.chunks import Chunk
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.earlier_answers import Note
from preflexor_pl.corpus.graph import CorpusGraph
from preflexor_pl.rounds import coverage as module
from preflexor_pl.rounds.coverage import Growth

NAMES = ["a", "b", "c", "held"]
FIRST = Note("pair:0000-0000", "Why a?", "So.", ("a",), 0)
SECOND = Note("pair:0001-0000", "Why b?", "So.", ("b", FIRST.id), 1)


@pytest.fixture
def growth(tmp_path):
    chunks = {name: Chunk(name, f"{name}.md", "Text.", 0, 5, "") for name in NAMES}
    vectors = np.array([[5, 0, 1], [4, 1, 1], [1, 4, 1], [5, 0, 2]], np.float32)
    library = CorpusIndex(chunks, CorpusGraph.build(NAMES, vectors), None, [])
    return Growth(tmp_path, library, NAMES[:3], seed=1)


def rows(growth):
    return [
        {name: float(row[name]) for name in ("round", "nodes", "chunks", "notes", "edges")}
        for row in read_rows(growth.run / "graph.csv")
    ]


def test_a_row_a_round_and_the_graph_of_the_last(growth):
    growth.keep(0, [FIRST])
    growth.keep(1, [FIRST, SECOND])
    # Three chunks, all near each other, then 1 and 3 edges to what the notes rest on.
    assert rows(growth) == [
        {"round": 0, "nodes": 4, "chunks": 3, "notes": 1, "edges": 4},
        {"round": 1, "nodes": 5, "chunks": 3, "notes": 2, "edges": 6},
    ]
    read = nx.read_graphml(growth.run / "graph/graph.graphml")
    assert sorted(read) == ["a", "b", "c", FIRST.id, SECOND.id]  # nothing that is held out
    assert list(nx.shortest_path(read, SECOND.id, "a"))[1:] in ([FIRST.id, "a"], ["b", "a"])


def test_a_round_again_changes_nothing(growth):
    assert not growth.is_kept(0)
    growth.keep(0, [FIRST])
    growth.keep(1, [FIRST, SECOND])
    assert growth.is_kept(0)
    assert growth.is_kept(1)
    assert not growth.is_kept(2)
    files = [growth.run / "graph.csv", growth.run / "graph/graph.graphml"]
    before = [file.read_bytes() for file in files]
    again = Growth(growth.run, growth.library, growth.train, growth.seed)
    again.keep(1, [FIRST, SECOND])
    assert [file.read_bytes() for file in files] == before
    files[1].unlink()
    assert not growth.is_kept(1)


def test_of_a_large_corpus_only_what_pairs_rest_on_and_its_neighbours(growth, monkeypatch, capsys):
    monkeypatch.setattr(module, "MOST_CHUNKS", 2)
    monkeypatch.setattr("preflexor_pl.rounds.coverage.nearest", nearest_one)
    growth.keep(0, [FIRST])
    growth.keep(1, [FIRST, SECOND])
    growth.keep(2, [FIRST, SECOND])
    # First a with its neighbour b; then b too, whose neighbour is a.
    assert [row["nodes"] for row in rows(growth)] == [3, 4, 4]
    told = "graph.graphml: of 3 chunks those that pairs rest on, and their neighbours"
    assert capsys.readouterr().out.count(told) == 1


def nearest_one(graph, centres, ids):
    from preflexor_pl.corpus.network import nearest

    return nearest(graph, centres, ids, k=1)
