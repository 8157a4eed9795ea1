import subprocess
import sys

import numpy as np
import pytest

from preflexor_pl.core.errors import CorpusError, ResourceError
from preflexor_pl.corpus import CorpusGraph
from preflexor_pl.corpus.checks import checked_vectors
from preflexor_pl.corpus.hnsw_index import HNSWIndex
from preflexor_pl.corpus.index_meta import INDEX, META, GraphRefused
from preflexor_pl.corpus.node_ids import SearchFilter


def clustered(nodes, dim, clusters, spread, seed=0):
    """Clusters one after the other, the order that HNSW likes least."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(clusters, dim)), nodes // clusters, axis=0)
    return (centres + spread * rng.normal(size=centres.shape)).astype(np.float32)


def names(nodes):
    return [f"n{i}" for i in range(nodes)]


def exact(vectors, queries, k):
    """Similarity of the k-th neighbour by brute force, [Q]."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    return np.sort(queries @ unit.T, axis=1)[:, -k]


SQUARE = np.array([[1, 0], [0, 1], [-1, 0], [1, 1]], dtype=np.float32)


@pytest.fixture
def square():
    return CorpusGraph.build(["east", "north", "west", "northeast"], SQUARE)


def test_by_hand(square):
    ids, similarities = square.search([[2, 0.0]], 4)
    assert ids == [["east", "northeast", "north", "west"]]
    assert similarities[0] == pytest.approx([1, 0.5**0.5, 0, -1])
    assert square.neighbours("north", 2) == (["northeast", "east"], pytest.approx([0.5**0.5, 0]))
    assert len(square) == 4
    assert "north" in square


@pytest.mark.parametrize(
    ("space", "similarities"), [("ip", [2, 2, 0, -2]), ("l2", [-1, -2, -5, -9])]
)
def test_other_spaces(space, similarities):
    graph = CorpusGraph.build(names(4), SQUARE, space=space)
    assert graph.search([[2, 0]], 4)[1][0] == pytest.approx(similarities)


@pytest.mark.parametrize("spread", [0.3, 0.01])
def test_recall_against_exact_search(spread):
    vectors = clustered(2000, 64, 20, spread)
    graph = CorpusGraph.build(names(2000), vectors)
    queries = clustered(2000, 64, 20, spread, seed=1)[::20]
    _, similarities = graph.search(queries, 10)
    tenth = exact(vectors, queries, 10)
    assert (np.array(similarities) >= tenth[:, None] - 1e-6).mean() >= 0.99


def test_a_cluster_is_found_from_another():
    # With M = 16 and in this order the index falls into parts that no search leaves.
    vectors = clustered(300, 8, 3, 1e-4)
    graph = CorpusGraph.build(names(300), vectors)
    assert len(graph.search(vectors[:1], 300)[0][0]) == 300
    assert graph.search(vectors[:1], 5, within=names(300)[-5:])[0][0] != []


def test_two_thirds_duplicates():
    vectors = clustered(900, 16, 10, 0.3)
    vectors[300:] = np.tile(vectors[:300], (2, 1)) * 4  # cosine: the same direction
    graph = CorpusGraph.build(names(900), vectors)
    ids, similarities = graph.search(vectors, 3)
    for i, (found, row) in enumerate(zip(ids, similarities, strict=True)):
        assert found == [f"n{i % 300}", f"n{i % 300 + 300}", f"n{i % 300 + 600}"]
        assert row == pytest.approx([1, 1, 1], abs=1e-6)
    assert graph.neighbours("n301", 2)[0] == ["n1", "n601"]


def test_two_thirds_almost_duplicates():
    vectors = clustered(900, 16, 10, 0.3)
    vectors[300:] = np.tile(vectors[:300], (2, 1)) * 3  # exact but for the last bits
    graph = CorpusGraph.build(names(900), vectors)
    assert np.array(graph.search(vectors, 3)[1]) == pytest.approx(1, abs=1e-6)


def test_same_seed_same_graph(tmp_path):
    vectors = clustered(500, 16, 5, 0.3)
    for run in "ab":
        CorpusGraph.build(names(500), vectors, seed=7).save(tmp_path / run)
    assert (tmp_path / "a" / INDEX).read_bytes() == (tmp_path / "b" / INDEX).read_bytes()
    assert (tmp_path / "a" / META).read_bytes() == (tmp_path / "b" / META).read_bytes()


def test_save_and_load(tmp_path):
    vectors = clustered(6000, 16, 20, 0.3)  # more than are searched exactly
    graph = CorpusGraph.build(names(6000), vectors)
    graph.remove(["n5"])
    graph.save(tmp_path / "new/folder", embedder="mini")
    loaded = CorpusGraph.load(tmp_path / "new/folder")

    assert loaded.extra == {"embedder": "mini"}
    assert loaded.ids == graph.ids
    assert loaded.search(vectors[:50], 10) == graph.search(vectors[:50], 10)
    assert loaded.sample_context(4, 1) == graph.sample_context(4, 1)
    loaded.add(["again", "new"], vectors[[5, 0]])
    assert loaded.search(vectors[5:6], 1)[0] == [["again"]]
    assert loaded.search(vectors[:1], 2)[0] == [["n0", "new"]]


def test_within_and_fewer_than_k(square):
    assert square.search([[1, 0]], 9, within=["west", "north"])[0] == [["north", "west"]]
    assert square.search([[1, 0]], 9)[0] == [["east", "northeast", "north", "west"]]
    assert square.search([[1, 0]], 9, within=[]) == ([[]], [[]])
    assert square.neighbours("east", 9, within=["east", "west"])[0] == ["west"]
    assert square.search(np.zeros((0, 2)), 1) == ([], [])


def test_a_frozenset_is_prepared_once_until_the_graph_changes(square, monkeypatch):
    made = []
    monkeypatch.setattr(
        "preflexor_pl.corpus.node_ids.SearchFilter",
        lambda *given: made.append(given) or SearchFilter(*given),
    )
    within = frozenset(["west", "north"])
    for _ in range(3):
        assert square.search([[1, 0]], 9, within)[0] == [["north", "west"]]
        assert square.neighbours("east", 1, within)[0] == ["north"]
        assert square.sample_context(1, 0, within)[0] in within
    assert len(made) == 1

    square.remove(["north"])
    with pytest.raises(ValueError, match="'north' is not in the graph"):
        square.search([[1, 0]], 9, within)
    square.add(["north"], [[3, 4]])  # another node than before
    assert square.search([[1, 0]], 9, within) == ([["north", "west"]], [pytest.approx([0.6, -1])])


def test_a_set_of_ids_may_change_between_searches(square):
    within = {"west"}
    assert square.search([[1, 0]], 9, within)[0] == [["west"]]
    within.add("north")
    assert square.search([[1, 0]], 9, within)[0] == [["north", "west"]]


@pytest.mark.parametrize("nodes", [300, 6000])
def test_queries_together_find_what_they_find_alone(nodes):
    vectors = clustered(nodes, 8, 3, 1e-4)
    vectors[1::4] = vectors[::4]  # of equals the last may be cut off
    graph = CorpusGraph.build(names(nodes), vectors)
    queries = vectors[:: nodes // 20]
    for within in (None, frozenset(names(nodes)[nodes // 2 :])):
        ids, similarities = graph.search(queries, 7, within)
        for query, mine, near in zip(queries, ids, similarities, strict=True):
            assert graph.search(query[None], 7, within) == ([mine], [near])


def test_one_query_that_reaches_fewer_leaves_the_others_whole(monkeypatch):
    graph = CorpusGraph.build(names(4), SQUARE)
    whole = HNSWIndex._ask

    def ask(nodes, queries, k, *given):
        stuck = (queries[:, 0] < -0.9).any() and k > 2  # a search from the west meets but two
        return [] if stuck else whole(nodes, queries, k, *given)

    monkeypatch.setattr(HNSWIndex, "_ask", ask)
    assert graph.search([[1, 0], [-1, 0]], 3)[0] == [["n0", "n3", "n1"], ["n2", "n1"]]


def test_sample_context(square):
    drawn = {square.sample_context(2, seed)[0] for seed in range(40)}
    assert drawn == set(square.ids)
    assert square.sample_context(3, 5) == square.sample_context(3, 5)
    assert square.sample_context(1, 0, within=["west"]) == ["west"]
    assert set(square.sample_context(9, 0, within=["west", "east"])) == {"west", "east"}
    assert square.sample_context(2, 0, within=[]) == []


def test_remove_and_add_again(square):
    square.remove(["east", "north"])
    assert square.search([[1, 0]], 4)[0] == [["northeast", "west"]]
    with pytest.raises(ValueError, match="'east' is not in the graph"):
        square.neighbours("east", 1)
    square.add(["east", "south"], [[1, 0], [0, -1]])
    assert square.search([[1, 0]], 2)[0] == [["east", "northeast"]]
    square.remove(square.ids)
    assert (len(square), square.search([[1, 0]], 2)[0]) == (0, [[]])


def test_equally_near_ids_come_in_the_order_of_their_addition():
    around = np.array([[1, sign * n] for n in range(1, 20) for sign in (1, -1)])
    graph = CorpusGraph.build(names(38), around)
    for k in range(1, 39):
        assert graph.search([[1, 0]], k)[0] == [names(k)]


def test_one_id_of_a_shared_vector_can_go():
    graph = CorpusGraph.build(["a", "b"], [[1, 0], [1, 0]])
    assert graph.search([[1, 0]], 2, within=["b"])[0] == [["b"]]
    graph.remove(["a"])
    assert graph.search([[1, 0]], 2)[0] == [["b"]]


def test_growth_beyond_the_first_capacity():
    vectors = clustered(400, 8, 4, 0.3)
    graph = CorpusGraph.build(names(400)[:10], vectors[:10])
    for start in range(10, 400, 130):
        graph.add(names(400)[start : start + 130], vectors[start : start + 130])
    assert [row[0] for row in graph.search(vectors, 1)[0]] == names(400)


def test_an_empty_graph(tmp_path):
    graph = CorpusGraph.build([], np.zeros((0, 3)))
    assert graph.search([[1, 0, 0]], 2) == ([[]], [[]])
    graph.save(tmp_path)
    loaded = CorpusGraph.load(tmp_path)
    assert loaded.sample_context(2, 0) == []
    loaded.add(["a"], [[1, 0, 0]])
    assert loaded.search([[1, 0, 0]], 2)[0] == [["a"]]


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: g.search([[1, 0, 0]], 1), r"must be \[N, 2\], not \[1, 3\]"),
        (lambda g: g.search([1, 0], 1), r"must be \[N, 2\], not \[2\]"),
        (lambda g: g.search([["a", "b"]], 1), "must be numbers"),
        (lambda g: g.search([[NAN, 0]], 1), "vector 0 is not finite"),
        (lambda g: g.search([[1, 0], [0, 0]], 1), "vector 1 is not finite or all zeros"),
        (lambda g: g.search([[1, 0]], 0), "k must be at least 1"),
        (lambda g: g.search([[1, 0]], 1.5), "k must be a whole number"),
        (lambda g: g.search([[1, 0]], 1, within=["none"]), "'none' is not in the graph"),
        (lambda g: g.add(["x"], [[INF, 0]]), "not finite"),
        (lambda g: g.add(["x"], [[0, 0]]), "all zeros"),
        (lambda g: g.add(["x", "x"], [[1, 0], [2, 0]]), "'x' is given twice"),
        (lambda g: g.add(["y", "east"], [[1, 0], [2, 0]]), "'east' is in the graph already"),
        (lambda g: g.add(["x"], SQUARE), "1 ids for 4 vectors"),
        (lambda g: g.add([3], [[1, 0]]), "3 is not a string"),
        (lambda g: g.add("x", [[1, 0]]), "must be a list"),
        (lambda g: g.remove(["east", "none"]), "'none' is not in the graph"),
        (lambda g: g.remove(["east", "east"]), "'east' is given twice"),
        (lambda g: g.neighbours("none", 1), "'none' is not in the graph"),
        (lambda g: g.neighbours("east", 0), "k must be at least 1"),
        (lambda g: g.sample_context(0, 1), "k must be at least 1"),
        (lambda g: g.sample_context(1, 1, within=["none"]), "'none' is not in the graph"),
        (lambda g: CorpusGraph.build([], []), "dimension"),
        (lambda g: CorpusGraph.build(["a"], [[1.0]], space="manhattan"), "space must be one of"),
        (lambda g: CorpusGraph.build(["a"], [[1e30]], space="l2"), "longer than"),
    ],
)
def test_bad_input_is_a_value_error_and_changes_nothing(square, call, message):
    with pytest.raises(ValueError, match=message):
        call(square)
    assert square.search([[1, 0]], 9)[0] == [["east", "northeast", "north", "west"]]


def test_huge_and_tiny_vectors_have_a_direction():
    graph = CorpusGraph.build(["a", "b"], np.array([[1e300, 0], [0, 1e-300]]))
    assert graph.search([[1, 0]], 1) == ([["a"]], [[1.0]])


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1.0, 1e160, 1e300])
def test_a_length_whose_square_no_number_holds_is_no_error(scale):
    rows = checked_vectors(np.array([[3 * scale, 4 * scale], [1.0, 0.0]]), 2, "cosine")
    assert rows == pytest.approx(np.array([[0.6, 0.8], [1.0, 0.0]]))


def test_every_truncation_and_flip_is_refused(tmp_path, square):
    square.save(tmp_path)
    for name in (INDEX, META):
        path = tmp_path / name
        whole = path.read_bytes()
        damaged = [whole[:n] for n in range(len(whole))]
        damaged += [
            whole[:n] + bytes([whole[n] ^ 1 << n % 8]) + whole[n + 1 :] for n in range(len(whole))
        ]
        for content in damaged:
            path.write_bytes(content)
            with pytest.raises(GraphRefused):
                CorpusGraph.load(tmp_path)
        path.write_bytes(whole)
    assert len(CorpusGraph.load(tmp_path)) == 4


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"format": 1}', "[" * 100_000])
def test_another_json_is_refused(tmp_path, square, content):
    square.save(tmp_path)
    (tmp_path / META).write_text(content)
    with pytest.raises(GraphRefused):
        CorpusGraph.load(tmp_path)


def test_missing_or_mixed_files_are_refused(tmp_path, square):
    with pytest.raises(CorpusError, match="no graph in"):
        CorpusGraph.load(tmp_path / "none")
    square.save(tmp_path / "a")
    CorpusGraph.build(["x"], [[1, 2, 3]]).save(tmp_path / "b")
    (tmp_path / "b" / META).replace(tmp_path / "a" / META)
    with pytest.raises(ValueError, match="not the file"):
        CorpusGraph.load(tmp_path / "a")
    (tmp_path / "a" / INDEX).unlink()
    with pytest.raises(ValueError, match="no graph in"):
        CorpusGraph.load(tmp_path / "a")


def test_a_folder_that_cannot_be_written(tmp_path, square):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write"):
        square.save(tmp_path / "file/graph")


def test_a_full_disk_is_noticed(tmp_path, square, monkeypatch):
    class Truncating:
        def __init__(self, index):
            self._index = index

        def __getattr__(self, name):
            return getattr(self._index, name)

        def save_index(self, path):
            with open(path, "wb") as handle:
                handle.write(b"half")

    square.save(tmp_path)
    monkeypatch.setattr(square._nodes, "_index", Truncating(square._nodes._index))
    with pytest.raises(ResourceError, match="disk is full"):
        square.save(tmp_path)
    assert len(CorpusGraph.load(tmp_path)) == 4  # the old one is still there
    assert sorted(path.name for path in tmp_path.iterdir()) == [INDEX, META]


def test_importing_the_graph_is_light():
    code = "import preflexor_pl.corpus, sys; print({'torch', 'transformers'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


@pytest.mark.parametrize("space", ["cosine", "l2"])
def test_a_node_out_of_reach_is_lost(space, monkeypatch):
    vectors = np.eye(6, dtype=np.float32) * 3
    vectors[4] = vectors[3]  # two ids of one node
    graph = CorpusGraph.build(list("abcdef"), vectors, space=space)
    assert graph.lost(graph.ids) == []
    whole, missed = HNSWIndex.nearest, graph._ids.node_of["d"]
    monkeypatch.setattr(
        HNSWIndex,
        "nearest",
        lambda *given: [[p for p in near if p[1] != missed] for near in whole(*given)],
    )
    assert graph.lost(graph.ids) == ["d", "e"]
    assert graph.lost(["a"]) == []
    with pytest.raises(ValueError, match="'x'"):
        graph.lost(["x"])
