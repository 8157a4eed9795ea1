"""Documents -> chunks -> vectors -> CorpusGraph; the only room that knows hnswlib."""

from preflexor_pl.corpus.graph import CorpusGraph

__all__ = ["CorpusGraph"]
