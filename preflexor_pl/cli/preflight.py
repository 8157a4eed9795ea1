"""What a run needs, asked before anything heavy loads: fit stops at the first that is not there.

Each thing is checked by the room that knows it; here is only which of them a config asks for.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from preflexor_pl.cli.checkpoint_order import readable
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.hub import require_model
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.core.teacher_settings import TeacherSettings
from preflexor_pl.corpus.data_rows import require_rows
from preflexor_pl.corpus.index_meta import META
from preflexor_pl.corpus.sources import require_corpus
from preflexor_pl.pairs.own_pairs import stand_alone
from preflexor_pl.policy.load import require_attention, require_quantization
from preflexor_pl.policy.model_source import require_cache
from preflexor_pl.policy.previous_phase import markers_of, read_previous_phase

_CLASS_PATH = re.compile(r"(\w+\.)+[A-Z]\w*")


def preflight(config: Any) -> None:
    """Refuse what cannot work.

    Args:
        config: the whole of it, as the parser gives it.

    Raises:
        ConfigError: names the key and says what to do.
    """
    for _, check_value in requirements(config):
        check_value()


def requirements(config: Any) -> Iterator[tuple[str, Callable[[], object]]]:
    """What a config asks for: its key and value, and what raises ConfigError if it is not there."""
    policy = config.get("model.policy") or PolicySettings()
    teacher = config.get("data.teacher") or TeacherSettings()
    if "class_path" in vars(teacher):  # an object of the user's own
        teacher = TeacherSettings()
    index, own = config["data.index"], config["data.pairs"]
    source = own if isinstance(own, str) else getattr(own, "source", None)
    task = config["data.task"]
    asked: list[tuple[str, Any, Callable[[Any], object]]] = [
        ("data.corpus", corpus_of(config), require_corpus),
        ("data.index", index if isinstance(index, str) else None, _check_index),
        (
            "data.pairs",
            source if isinstance(source, str) else None,
            partial(require_rows, key="data.pairs"),
        ),
        ("data.task", task if isinstance(task, str) else None, _check_bank),
        ("model.policy.model_name", policy.model_name, _model("model.policy.model_name")),
        ("data.embedder", config["data.embedder"], _model("data.embedder")),
        ("data.teacher.model_name", teacher.model_name, _model("data.teacher.model_name")),
        ("model.policy.start_from", policy.start_from, _start(policy)),
        ("model.policy.attn_implementation", policy.attn_implementation, require_attention),
        ("model.policy.quantization", policy.quantization, _nf4("model.policy.quantization")),
        ("data.teacher.quantization", teacher.quantization, _nf4("data.teacher.quantization")),
        ("ckpt_path", config["ckpt_path"], _check_checkpoint),
    ]
    for key, value, check_value in asked:
        if value is not None:
            yield f"{key}: {value}", partial(check_value, value)
    yield "trainer: one process, and nothing that other keys set", partial(_check_trainer, config)


def corpus_of(config: Any) -> str | None:
    """The corpus that is read; None where an index, a task or own pairs stand for it."""
    unread = config["data.index"] or config["data.task"] or stand_alone(config["data.pairs"])
    return None if unread else config["data.corpus"]


def _model(key: str) -> Callable[[Any], object]:
    def check(name: str) -> None:
        require_model(name, key)
        require_cache(name)

    return check


def _start(policy: PolicySettings) -> Callable[[Any], object]:
    return lambda name: markers_of(policy, read_previous_phase(name))


def _nf4(key: str) -> Callable[[Any], object]:
    return lambda _: require_quantization(key)


def _check_trainer(config: Any) -> None:
    for key, value, instead in (
        ("accumulate_grad_batches", 1, "data.pairs_per_step sets the pairs of a step"),
        ("gradient_clip_val", None, "model.max_grad_norm limits the gradient"),
        ("precision", None, "model.policy.dtype sets the dtype of the base weights"),
    ):
        if config[f"trainer.{key}"] not in (value, None):
            raise ConfigError(f"trainer.{key}: {instead}; leave this key out")
    for key in ("max_epochs", "max_steps", "limit_train_batches"):
        if config[f"trainer.{key}"] == 0:
            raise ConfigError(
                f"trainer.{key}: 0 trains nothing: give more; generate makes pairs without training"
            )
    for key in ("devices", "num_nodes"):
        if config[f"trainer.{key}"] not in (1, "1", "auto"):
            raise ConfigError(f"trainer.{key}: one process makes the pairs as yet; set it to 1")


def _check_index(name: str) -> None:
    if not Path(name, META).is_file():
        raise ConfigError(
            f"data.index: {name} holds no graph: give the folder of one, as RUN/graph"
        )


def _check_bank(source: str) -> None:
    try:
        require_rows(source, "data.task")
    except ConfigError as error:
        hint = "; name a class as data.task.class_path" if _CLASS_PATH.fullmatch(source) else ""
        raise ConfigError(f"{error}{hint}") from error


def _check_checkpoint(name: str) -> None:
    if not Path(name).is_file():
        raise ConfigError(f"ckpt_path: {name} does not exist")
    if not readable(Path(name)):
        raise ConfigError(f"ckpt_path: {name} is damaged: leave it out to take the newest")
