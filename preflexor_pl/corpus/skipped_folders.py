"""Folders that are never corpus: what this project writes, hidden ones, caches, environments.

They are known by the files in them, so one that was renamed or copied is known as well.
"""

from collections.abc import Set

RUN, GRAPH, EVALUATION = "folder of a run", "graph of a corpus", "evaluation of this project"
MODEL, CACHE, ENVIRONMENT, HIDDEN = "model", "cache", "virtual environment", "hidden"
PACKAGE = "package metadata"

OF_A_RUN = {"rounds", "held_out", "graph", "checkpoints", "adapter", "metrics.csv", "prompts"}
OF_A_ROUND = {"plan.json", "manifest.json"}
OF_AN_EVALUATION = {"judgements.jsonl", "table.md", "measured"}
WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt")


def why_no_corpus(name: str, inside: Set[str]) -> str:
    """Why a folder is no corpus; "" where it may be one.

    Args:
        name: of the folder.
        inside: names of its files and folders.
    """
    if name.startswith("."):
        return HIDDEN
    if "config.yaml" in inside and inside & OF_A_RUN:
        return RUN
    if inside & OF_A_ROUND and inside & {"calls.jsonl", "pairs.jsonl"}:
        return RUN
    if inside >= {"meta.json", "chunks.jsonl", "index.bin"}:
        return GRAPH
    if ("results.json" in inside and inside & OF_AN_EVALUATION) or inside == {"measured"}:
        return EVALUATION
    has_weights = any(file.endswith(WEIGHTS) for file in inside)
    if "adapter_config.json" in inside or ("config.json" in inside and has_weights):
        return MODEL
    if inside & {"pyvenv.cfg", "conda-meta"}:
        return ENVIRONMENT
    if name in ("__pycache__", "node_modules") or "CACHEDIR.TAG" in inside:
        return CACHE
    return PACKAGE if "PKG-INFO" in inside else ""
