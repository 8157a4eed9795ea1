r"""A network small enough to draw: two pairs of near chunks, and two notes.

    c -- d      a -- b      note 1 on a and b, note 2 on b and note 1:
                  \ / \
                   1 - 2
"""

import networkx as nx
import numpy as np
import pytest

from preflexor_pl.core.errors import ResourceError
from preflexor_pl.corpus.chunks import Chunk
from preflexor_pl.corpus.earlier_answers import Note
from preflexor_pl.corpus.graph import CorpusGraph
from preflexor_pl.corpus.network import BLOCK, measure, nearest, network, write_graphml

VECTORS = {"a": [1, 0, 0], "b": [4, 3, 0], "c": [0, 0, 1], "d": [0, 3, 4]}
CHUNKS = {id: Chunk(id, f"{id}.md", f"Text {id}.", 0, 7, f"Title {id}") for id in VECTORS}
NOTES = [
    Note("pair:1", "Why a?", "So.", ("a", "b"), 0),
    Note("pair:2", "Why b?", "So.", ("b", "pair:1"), 1),
]


@pytest.fixture
def graph():
    return CorpusGraph.build(list(VECTORS), np.array(list(VECTORS.values()), np.float32))


def test_the_nearest_others_with_their_cosines(graph):
    near = nearest(graph, ["a", "d"], list(VECTORS), k=2)
    assert near == {
        "a": [("b", pytest.approx(4 / 5)), ("c", pytest.approx(0))],
        "d": [("c", pytest.approx(4 / 5)), ("b", pytest.approx(9 / 25))],
    }


def test_fewer_others_than_are_wanted_and_none_that_is_not_among_them(graph):
    assert [id for id, _ in nearest(graph, ["a"], ["a", "d", "b"], k=5)["a"]] == ["b", "d"]
    assert nearest(graph, ["a"], ["a"]) == {"a": []}


def test_many_blocks_find_what_searches_find():
    rows = np.random.default_rng(0).normal(size=(BLOCK + 300, 8)).astype(np.float32)
    ids = [str(n) for n in range(len(rows))]
    graph = CorpusGraph.build(ids, rows)
    asked = [ids[0], ids[BLOCK - 1], ids[BLOCK], ids[-1]]
    near = nearest(graph, asked, ids, k=3)
    assert {id: [other for other, _ in near[id]] for id in asked} == {
        id: graph.neighbours(id, 3)[0] for id in asked
    }


def test_numbers_by_hand(graph):
    made = network(CHUNKS, nearest(graph, list(VECTORS), list(VECTORS), k=1), NOTES)
    # Edges: ab, cd, 1a, 1b, 2b, 21. The larger community has 5 of these 6, and 10 of 12 ends.
    assert measure(made, seed=0) == {
        "nodes": 6,
        "chunks": 4,
        "notes": 2,
        "chunks_used": 2,
        "edges": 6,
        "mean_degree": 2.0,
        "max_degree": 3,
        "components": 2,
        "communities": 2,
        "modularity": round(5 / 6 - (10 / 12) ** 2 + 1 / 6 - (2 / 12) ** 2, 4),
    }
    assert made.nodes["pair:2"]["community"] == made.nodes["a"]["community"] == 0
    assert made.nodes["c"]["community"] == 1


def test_nodes_alone_have_numbers_too():
    made = network(CHUNKS, {"a": [], "b": []}, [])
    numbers = measure(made, seed=0)
    assert (numbers["components"], numbers["communities"], numbers["modularity"]) == (2, 2, 0)


def test_graphml_reads_back(graph, tmp_path):
    made = network(CHUNKS, nearest(graph, list(VECTORS), list(VECTORS), k=1), NOTES)
    measure(made, seed=0)
    write_graphml(made, tmp_path / "new" / "graph.graphml")
    read = nx.read_graphml(tmp_path / "new" / "graph.graphml")
    assert (len(read), read.size()) == (6, 6)
    assert read.nodes["a"] == {
        "kind": "chunk", "document": "a.md", "title": "Title a", "community": 0,
    }  # fmt: skip
    assert read.nodes["pair:2"] == {
        "kind": "note", "question": "Why b?", "round": 1, "community": 0,
    }  # fmt: skip
    assert read.edges["a", "b"] == {"kind": "near", "weight": pytest.approx(0.8, abs=1e-6)}
    assert read.edges["pair:2", "pair:1"] == {"kind": "rests on", "weight": 1.0}


def test_what_xml_cannot_hold_is_written_out(tmp_path):
    bad = "x\0\x1b[2J\ud800\ufffe<&>\u2028é😀"
    chunks = {bad: Chunk(bad, bad, "Text.", 0, 5, bad)}
    write_graphml(
        network(chunks, {bad: []}, [Note("pair:1", bad, bad, (bad,), 0)]), tmp_path / "g.graphml"
    )
    read = nx.read_graphml(tmp_path / "g.graphml")
    plain = "x\\x00\\x1b[2J\\ud800\\ufffe<&>\u2028é😀"
    assert read.nodes[plain] == {"kind": "chunk", "document": plain, "title": plain}
    assert read.nodes["pair:1"]["question"] == plain
    assert read.has_edge("pair:1", plain)


def test_a_graph_that_cannot_be_written_leaves_the_old_one(graph, tmp_path, monkeypatch):
    path = tmp_path / "g.graphml"
    path.write_text("old")

    def full(made, part):
        part.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nx, "write_graphml", full)
    with pytest.raises(ResourceError, match=r"g\.graphml: No space left"):
        write_graphml(network(CHUNKS, {"a": []}, []), path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]
