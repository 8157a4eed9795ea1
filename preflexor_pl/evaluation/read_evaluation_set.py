"""What an evaluation measures, read from its options and the first run."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.hub import require_model
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.settings import Sampling
from preflexor_pl.corpus.seen_documents import names_of
from preflexor_pl.evaluation.evaluation_set import EvaluationSet
from preflexor_pl.evaluation.facts import by_stratum, read_items
from preflexor_pl.evaluation.model_specs import BASE, Spec, model_specs, parse_spec
from preflexor_pl.pairs.pair import PreferencePair, read_pairs
from preflexor_pl.pairs.round_folders import markers_of
from preflexor_pl.reasoning.model_info import NAMED, ModelInfo, model_info
from preflexor_pl.reasoning.settings import ReasoningSettings
from preflexor_pl.server.generator import named_server


def read_evaluation_set(options: argparse.Namespace) -> tuple[EvaluationSet, list[Spec]]:
    """What to measure, and which models; the first run decides where no option does.

    Raises:
        ConfigError: a model, a file or an option cannot be used, or a model has trained on the
            documents of the questions.
    """
    models = _models(options)
    first = models[0]
    pairs_file = options.pairs or (first.run / "held_out/pairs.jsonl" if first.run else None)
    if pairs_file is None or not pairs_file.is_file():
        raise ConfigError(f"{first.name} is no run with held-out pairs: give --pairs FILE")
    pairs = read_pairs(pairs_file)[: options.questions or None]
    if len(pairs) < 2:
        raise ConfigError(f"{pairs_file} holds {len(pairs)} pairs: at least two are needed")
    embedder = options.embedder or first.embedder
    if not embedder:
        raise ConfigError(f"{first.name} is no run: give --embedder")
    require_model(embedder, "--embedder")
    items, written = _facts(options, first)
    check_unseen(models, pairs, pairs_file)
    asked = EvaluationSet(
        pairs,
        items,
        written,
        embedder,
        recursion(options),
        options.variants,
        first.system_prompt,
        options.dtype,
        options.batch_size,
        options.seed,
        markers_of(pairs_file) or first.markers,
    )
    return asked, model_specs(options, first.base)


def named_models(options: argparse.Namespace) -> list[ModelInfo]:
    """The models in their order, without the base: one at least.

    Raises:
        ConfigError: there is none, or it cannot be had.
    """
    names = dict.fromkeys(parse_spec(text, 0)[0] for text in options.models)
    models = [model_info(name) for name in names if name != BASE]
    if not models:
        raise ConfigError("give one model besides base: its base is measured with it")
    return models


def _models(options: argparse.Namespace) -> list[ModelInfo]:
    """The models in their order, without the base; each of them, base and judge can be had."""
    models = named_models(options)
    server = named_server(options.judge or "", "--judge", options.key_env)
    others = (BASE if server else options.judge or BASE, models[0].base)
    for info in (*models, *(model_info(name) for name in others if name != BASE)):
        try:
            _ = info.identity
        except ConfigError as error:  # it names an option of another command
            raise ConfigError(str(error).removeprefix(f"{NAMED}: ")) from error
    return models


def _facts(options: argparse.Namespace, first: ModelInfo) -> tuple[dict[str, Any], dict[str, Any]]:
    """The items by stratum, and those of them that are answered in writing."""
    if options.no_facts:
        return {}, {}
    if first.run is None:
        raise ConfigError(f"{first.name} is no run, whose split the facts need: --no_facts")
    every = read_items(options.facts)
    items = by_stratum(every, *first.documents, 0, options.seed)
    written = by_stratum(every, *first.documents, options.items, options.seed)
    left_out = len(every) - sum(map(len, items.values()))
    if left_out:
        log_line(
            f"{left_out} items of {options.facts} are on no document of {first.name}: left out"
        )
    return items, written


def recursion(options: argparse.Namespace) -> ReasoningSettings:
    """How models and critics are sampled: greedy, as in the evaluation of a round."""
    penalty = ReasoningSettings().critic.repetition_penalty
    return ReasoningSettings(
        model=Sampling(options.max_new_tokens, 0.0),  # greedy, as in the evaluation of a round
        critic=Sampling(options.critic_max_new_tokens, 0.0, repetition_penalty=penalty),
        seed=options.seed,
        stop_when_unchanged=False,
    )


def check_unseen(
    models: Sequence[ModelInfo], pairs: Sequence[PreferencePair], pairs_file: Path
) -> None:
    """Refuse a model that trained, in any of its phases, on a document of the questions.

    Raises:
        ConfigError: names the model and the documents.
    """
    first = models[0]
    if first.run is None or not (first.run / "graph").is_dir():
        log_line(f"{first.name} is no run: whether models trained on {pairs_file} is not known")
        return
    library = first.library
    ids = {id for pair in pairs for id in pair.chunk_ids}
    documents = {library.chunks[id].document for id in ids & library.chunks.keys()}
    if not ids or ids - library.chunks.keys():
        log_line(
            f"{pairs_file} is not all about the documents of {first.name}: whether models trained "
            "on the others is not known"
        )
    for info in models:
        seen = documents.intersection(names_of(library.hashes, info.lineage.trained))
        if seen:
            raise ConfigError(
                f"{info.name} trained, in this phase or in one before it, on what the questions "
                f"of {pairs_file} are about ({', '.join(sorted(seen))[:200]}): evaluate runs that "
                "held the same documents out together, or give --pairs on other documents"
            )
        if not info.lineage.complete:
            log_line(
                f"{info.name}: it is not known what all of its phases trained on, perhaps on the "
                "documents of the questions"
            )
