"""Which documents are held out: whole groups of near-copies, the same in every phase."""

import random
from collections.abc import Mapping

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.corpus.seen_documents import Lineage, names_of


def held_out_documents(
    hashes: Mapping[str, str], groups: Mapping[str, str], count: int, seed: int, lineage: Lineage
) -> set[str]:
    """The documents to hold out.

    What earlier phases held out stays held out, all of it, with its near-copies, and what they
    trained on is not held out, nor its near-copies; the seed chooses among the other groups.

    Args:
        hashes: of the documents' contents, by their ids (``lineage.hashes_of``).
        groups: of the same documents (``near_copies``).
        count: groups to hold out, >= 0; a document without near-copies is one.
        seed: chooses which.
        lineage: what the phases before used.

    Raises:
        ConfigError: there are not more than ``count`` groups, or earlier phases left none to hold
            out, or none to train on.
    """
    documents, whole = sorted(hashes), len(set(groups.values()))
    if not 0 <= count < whole:
        copies = f" ({whole} without near-copies)" if whole < len(documents) else ""
        what_to_do = f"give 0 to {whole - 1}" if whole > 1 else "add documents to data.corpus"
        raise ConfigError(
            f"data.held_out: {count} documents cannot be held out of {len(documents)}{copies}; "
            f"{what_to_do}"
        )
    used = lineage.trained | lineage.held_out
    kept = names_of(hashes, lineage.unseen)
    fixed = {groups[name] for name in documents if hashes[name] in used}
    free = [name for name in documents if groups[name] == name and name not in fixed]
    held = {groups[name] for name in kept}
    held.update(random.Random(seed).sample(free, min(len(free), max(0, count - len(held)))))
    new = {name for name in documents if groups[name] in held and hashes[name] not in used}
    if count and not held:
        raise ConfigError(
            f"data.held_out: the phases before trained on all {len(documents)} documents, so "
            "none is left to evaluate on: add documents to data.corpus"
        )
    if len(new) + len(kept) == len(documents):
        raise ConfigError(
            f"data.corpus: the phases before held out all of its {len(documents)} documents, "
            "so none is left to train on: add documents"
        )
    return new.union(kept)
