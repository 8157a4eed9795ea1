"""The tokenizer and the limits of a policy, without its weights."""

from types import SimpleNamespace
from typing import Any

from preflexor_pl.core.chat import end_of_turn_id
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.hub import quiet_loading
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.policy.language_model import max_positions_of, strings_for
from preflexor_pl.policy.load import stops_of
from preflexor_pl.policy.markers import register_tokens
from preflexor_pl.policy.model_errors import FOREIGN, reason_of
from preflexor_pl.policy.model_source import find_model
from preflexor_pl.policy.previous_phase import markers_of, read_previous_phase


def tokenizer_of(settings: PolicySettings) -> Any:
    """What a collator needs of the policy: its tokenizer with the markers, and its limits.

    Raises:
        ConfigError: the tokenizer does not load, or a policy would refuse it.
    """
    from transformers import AutoConfig, AutoTokenizer

    location = find_model(settings.model_name).location
    start = read_previous_phase(settings.start_from) if settings.start_from else None
    if start and start.base_weights:
        location = start.base_weights
    try:
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
            whole = AutoConfig.from_pretrained(location, trust_remote_code=False)
            generation = _generation_config(location, whole)
    except (OSError, *FOREIGN) as error:
        reason = reason_of(error)
        raise ConfigError(f"{settings.model_name}: its tokenizer did not load: {reason}") from error
    strings = strings_for(whole, markers_of(settings, start))
    markers, _ = register_tokens(tokenizer, settings.add_tokens, strings)
    end_of_turn = settings.end_of_turn or (start.known.get("end_of_turn") if start else None)
    stops = stops_of(generation)
    end_id = end_of_turn_id(tokenizer, stops, end_of_turn, settings.model_name)
    return SimpleNamespace(
        tokenizer=tokenizer,
        markers=markers,
        strings=strings,
        end_id=end_id,
        max_positions=max_positions_of(whole),
    )


def _generation_config(location: str, config: Any) -> Any:
    """The generation config that the model would get from ``from_pretrained``."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(location)
    except OSError:  # the folder has none
        return GenerationConfig.from_model_config(config)
