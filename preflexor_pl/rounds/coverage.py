"""How far the rounds of a run have covered its corpus, and built on each other.

After each round: ``graph/graph.graphml``, of chunks and the pairs that rest on them, and a row of
its numbers in ``graph.csv``. Both follow from the corpus and the rounds' pairs alone.
"""

from collections.abc import Sequence
from pathlib import Path

from preflexor_pl.core.csv_rows import read_rows, write_row
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.earlier_answers import Note
from preflexor_pl.corpus.network import measure, nearest, network, write_graphml

MOST_CHUNKS = 50_000  # for so many, neighbours take a minute once and communities 10 s a round
CSV = "graph.csv"
GRAPHML = Path("graph") / "graph.graphml"


class Growth:
    """Keeps the graph and its numbers, round by round.

    Args:
        run: the run's folder.
        library: chunks and their graph.
        train: ids of the chunks to train on; the others are left out.
        seed: of the run.
    """

    def __init__(self, run: Path, library: CorpusIndex, train: Sequence[str], seed: int) -> None:
        self.run = run
        self.library = library
        self.train = train
        self.seed = seed
        self._near: dict[str, list[tuple[str, float]]] = {}

    def is_kept(self, index: int) -> bool:
        """Whether a round has its row, and there is a graph."""
        rows = read_rows(self.run / CSV)
        return (self.run / GRAPHML).exists() and str(index) in {row["round"] for row in rows}

    def keep(self, index: int, notes: Sequence[Note]) -> None:
        """Write graph and row of a round.

        Args:
            index: of the round.
            notes: of all rounds up to it.

        Raises:
            ResourceError: they cannot be written.
        """
        shown = self.train
        if len(shown) > MOST_CHUNKS:
            used = {link for note in notes for link in note.links}
            shown = [id for id in shown if id in used]
            if not self._near:
                log_line(
                    f"  {GRAPHML}: of {len(self.train)} chunks those that pairs rest on, and their "
                    "neighbours"
                )
        new = [id for id in shown if id not in self._near]
        if new:
            self._near |= nearest(self.library.graph, new, self.train)
        made = network(self.library.chunks, {id: self._near[id] for id in shown}, notes)
        numbers = measure(made, derive_seed(self.seed, "communities"))
        write_graphml(made, self.run / GRAPHML)
        write_row(self.run / CSV, {"round": index, **numbers})
