"""Documents -> chunks -> vectors -> CorpusGraph; the only room that knows hnswlib."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preflexor_pl.corpus.graph import CorpusGraph

__all__ = ["CorpusGraph"]


def __getattr__(name: str) -> Any:
    """The graph when it is asked for: the process of the parsers needs none of its libraries."""
    if name in __all__:
        from preflexor_pl.corpus import graph

        return getattr(graph, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
