"""A reasoner from the options of ``python -m preflexor_pl.reason``."""

import argparse
from dataclasses import replace
from typing import Literal

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.settings import Sampling
from preflexor_pl.pairs.judge import PairwiseJudge
from preflexor_pl.pairs.prompt_files import KEY, read_prompts
from preflexor_pl.reasoning.model_info import model_info
from preflexor_pl.reasoning.models import load_model, load_reader
from preflexor_pl.reasoning.recursion import Reasoner
from preflexor_pl.reasoning.settings import ReasoningSettings


def build_reasoner(options: argparse.Namespace) -> Reasoner:
    """The reasoner that the options of ``reason`` describe.

    Raises:
        ConfigError: an option cannot be used, or a model cannot be had.
    """
    settings = _settings(options)  # refused before anything loads
    size, key_env = options.batch_size, options.key_env
    names = {"critic": options.critic, "judge": options.judge}
    if options.judge == "critic":
        names.pop("judge")
    others = {
        role: load_reader(name, size, options.dtype, f"--{role}", key_env)
        for role, name in names.items()
        if name
    }
    library = model_info(options.model).library if settings.chunks else None
    loaded = load_model(options.model, options.dtype)
    info = loaded.info
    trained: Literal["reflection", "thinking"] = "reflection" if info.reflects else "thinking"
    system = info.system_prompt if options.system_prompt is None else options.system_prompt
    settings = replace(
        settings,
        variant=options.variant or trained,
        system_prompt=system,
        trigger=loaded.thinks,
        markers=loaded.model.strings,
    )
    critic = others.get("critic") or loaded.base(size)
    if not options.critic and not loaded.has_base:
        log_line(f"{options.model} comes without its base: it is its own critic (--critic MODEL)")
    judge = None
    if options.judge:
        judge = PairwiseJudge(others.get("judge", critic), options.seed)
    return Reasoner(loaded.generator(size), critic, settings, judge, library)


def _settings(options: argparse.Namespace) -> ReasoningSettings:
    roles = {
        name: getattr(options, name)
        for name in ("critic_prompt", "integrator_prompt")
        if getattr(options, name) is not None
    }
    try:
        prompts = read_prompts(options.prompts).critic
    except ConfigError as error:
        raise ConfigError(str(error).replace(KEY, "--prompts")) from error
    defaults = ReasoningSettings()
    model = _sampling(defaults.model, options)
    critic = _sampling(defaults.critic, options, "critic_")
    try:
        return ReasoningSettings(
            iterations=options.iterations,
            model=model,
            critic=critic,
            prompts=prompts,
            thinking_prefix=options.thinking_prefix,
            integrate=not options.no_integrate,
            stop_when_unchanged=not options.keep_going,
            stop_when_worse=not options.keep_going,
            chunks=options.context,
            seed=options.seed,
            **roles,
        )
    except ValueError as error:
        raise ConfigError(f"--{str(error).replace('chunks', 'context')}") from error


def _sampling(default: Sampling, options: argparse.Namespace, prefix: str = "") -> Sampling:
    names = "max_new_tokens", "temperature"
    try:
        return replace(default, **{name: getattr(options, prefix + name) for name in names})
    except ValueError as error:
        raise ConfigError(f"--{prefix}{error}") from error
