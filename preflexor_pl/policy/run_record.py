"""The settings of the run that left some weights, read from the files next to them."""

from typing import Any

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.policy.previous_phase import PreviousPhase


def config_of(start: PreviousPhase) -> dict[str, Any]:
    """The config of the run that left ``start``; empty if there is none next to it."""
    import yaml

    path = start.folder.parent / "config.yaml"
    if start.folder.name not in ("adapter", "model") or not path.is_file():
        return {}
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is damaged ({error})") from error


def trained_for(start: PreviousPhase) -> dict[str, Any]:
    """How the run prompted its model; an exported model has this in its config."""
    config = config_of(start)
    reflects = start.markers.reflect_start in start.trained_markers and at(
        config, "data.reflection"
    )
    asked = {"reflects": bool(reflects), "system_prompt": at(config, "data.system_prompt")}
    return asked | start.markers.record


def at(tree: Any, key: str) -> Any:
    """The value under a dotted key; None where there is none."""
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree
