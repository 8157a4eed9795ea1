"""LoRA adapters and trained marker rows: stack them, switch them, save and load what trains.

Each phase adds an adapter; those of earlier phases stay frozen. With all adapters off the model is
the base to the bit.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.settings import LoRASettings
from preflexor_pl.policy.model_errors import in_one_line
from preflexor_pl.policy.previous_phase import WEIGHTS, lora_weights

ADAPTER = "default"  # the adapter that trains; this is the name that peft loads by default


def stack_earlier(model: Any, folders: Sequence[Path]) -> Any:
    """``model`` with the frozen adapters in ``folders``, the oldest first, all of them on.

    Raises:
        ConfigError: an adapter does not fit the model.
    """
    from peft import LoraConfig

    for number, folder in enumerate(folders, 1):
        config = LoraConfig.from_pretrained(str(folder))
        config.trainable_token_indices = None  # the rows are in the base's table already
        model = _add(model, f"phase-{number}", config)
        _fill(model, f"phase-{number}", folder, lora_weights(folder))
    if folders:
        activate(model, list(model.peft_config))
    return model


def attach_lora(
    model: Any,
    settings: LoRASettings,
    trained_rows: list[int],
    seed: int,
    excluded: Sequence[str] = (),
) -> Any:
    """Add a new adapter, and copies of ``trained_rows`` of embedding and head, that train.

    Args:
        model: a transformers model, or a peft model with earlier adapters; all frozen.
        settings: rank, scale and target layers.
        trained_rows: ids of the marker rows that train with the adapter.
        seed: of the adapter's first values.
        excluded: names of layers that ``all-linear`` leaves out.

    Returns:
        The peft model with all adapters on.

    Raises:
        ConfigError: peft has no adapter for these layers, or none that can be merged.
    """
    config = _lora_config(model, settings, trained_rows, excluded)
    with in_one_line("model.policy.lora.target_modules"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wrapped = _add(model, ADAPTER, config)
        for layer in _lora_layers(wrapped):  # refused now, not when the run is exported
            adapted_weight(layer)
    for name, parameter in wrapped.named_parameters():
        if f".{ADAPTER}" in name:
            parameter.data = parameter.data.float()
    activate(wrapped, list(wrapped.peft_config))
    return wrapped


def _lora_config(
    model: Any, settings: LoRASettings, trained_rows: list[int], excluded: Sequence[str]
) -> Any:
    from peft import LoraConfig

    everywhere = settings.target_modules == "all-linear"
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.target_modules,
        exclude_modules=list(excluded) if everywhere and excluded else None,
        trainable_token_indices=_rows_by_table(model, trained_rows),
        task_type="CAUSAL_LM",
    )


def _add(model: Any, name: str, config: Any) -> Any:
    from peft import PeftModel, get_peft_model

    from preflexor_pl.policy.kernels.lora_linear import use_lora_linear

    use_lora_linear(config)
    with warnings.catch_warnings():  # peft warns of patterns that it makes for experts itself
        warnings.simplefilter("ignore")
        if not isinstance(model, PeftModel):
            return get_peft_model(model, config, adapter_name=name)
        model.add_adapter(name, config)
    return model


def load_adapter(model: Any, folder: Path) -> None:
    """Load the adapter and the rows that train from a folder that ``Policy.save`` wrote.

    Raises:
        ConfigError: the file is missing or damaged, or does not fit the model.
    """
    from peft import load_peft_weights
    from safetensors import SafetensorError

    if not (folder / WEIGHTS).is_file():
        raise ConfigError(f"{folder} holds no {WEIGHTS}")
    try:
        weights = load_peft_weights(str(folder), device="cpu")
    except SafetensorError as error:
        raise ConfigError(f"{folder / WEIGHTS} is damaged ({error})") from error
    _fill(model, ADAPTER, folder, weights)


def _fill(model: Any, name: str, folder: Path, weights: dict[str, Tensor]) -> None:
    from peft import set_peft_model_state_dict

    try:
        loaded: Any = set_peft_model_state_dict(model, weights, adapter_name=name)
        lacking = [key for key in loaded.missing_keys if f".{name}." in key]
        wrong = [*loaded.unexpected_keys, *lacking]
    except RuntimeError as error:
        raise ConfigError(f"{folder}: its adapter does not fit the model: {error}") from error
    if wrong:
        raise ConfigError(f"{folder}: its adapter does not fit the model: {', '.join(wrong[:3])}")


def _rows_by_table(model: Any, rows: list[int]) -> dict[str, list[int]] | None:
    if not rows:
        return None
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    names = table_names(model)
    return {names[0]: rows} if tied else dict.fromkeys(names, rows)


def table_names(model: Any) -> tuple[str, str]:
    """Module names of a model's embedding and of its head."""
    modules = {id(module): name for name, module in model.named_modules()}
    tables = model.get_input_embeddings(), model.get_output_embeddings()
    embedding, head = (modules[id(table)].split(".")[-1] for table in tables)
    return embedding, head


def activate(model: Any, names: Sequence[str]) -> None:
    """Switch on the adapters ``names`` and no others; of these only the newest trains."""
    if names:
        model.base_model.enable_adapter_layers()
        model.base_model.set_adapter(list(names), inference_mode=True)
    else:
        model.base_model.disable_adapter_layers()
    if ADAPTER in names:
        for name, parameter in model.named_parameters():
            if f".{ADAPTER}" in name:
                parameter.requires_grad_(True)


@contextmanager
def using(model: Any, names: Sequence[str]) -> Iterator[None]:
    """A context with the adapters ``names`` alone on; without names the model is the base."""
    activate(model, names)
    try:
        yield
    finally:
        activate(model, list(model.peft_config))


def _lora_layers(model: Any) -> Iterator[Any]:
    from peft.tuners.lora import LoraLayer

    return (module for module in model.modules() if isinstance(module, LoraLayer))


def adapted_weight(layer: Any) -> nn.Parameter:
    """The frozen weight under a LoRA layer: a matrix, or a tensor of experts."""
    base, name = layer.get_base_layer(), getattr(layer, "parameter_name", "weight")
    weight = getattr(base, name, None)
    if not isinstance(weight, nn.Parameter):
        raise TypeError(f"the adapter of a {type(base).__name__} cannot be merged into its weights")
    return weight


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors that train, by name."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def load_trained_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Copy a :func:`trained_state` into the tensors that train; KeyError if names differ."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if parameters.keys() != state.keys():
        raise KeyError(", ".join(sorted(parameters.keys() ^ state.keys())[:4]))
    for name, parameter in parameters.items():
        parameter.copy_(state[name])
