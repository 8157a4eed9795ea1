"""What any run needs of a machine: processor, memory, GPU, room on the disk."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from preflexor_pl.checkup.report import Report
from preflexor_pl.core.errors import ResourceError
from preflexor_pl.core.files import nearest_existing

GB = 1e9
SMALL_MEMORY = 4 * GB  # a short run of configs/orpo.yaml takes 3.4 at its peak
LEAST_DISK = 1 * GB  # checkpoint, adapter and round of a small model
SMALL_DISK = 5 * GB
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


def check_devices(report: Report) -> None:
    """Processor, memory, GPUs, and the dtype that ``auto`` takes here."""
    import torch

    from preflexor_pl.policy.load import dtype_name, resolve_dtype

    _check_memory(report)
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            report.ok(f"GPU {index}: {gpu.name}, {gpu.total_memory / GB:.0f} GB")
    elif torch.version.cuda:
        report.note(
            f"torch {torch.__version__} is built for CUDA {torch.version.cuda} and finds no GPU",
            "nvidia-smi shows whether there is a driver; without a GPU all runs on the processor",
        )
    elif _has_nvidia_gpu():
        report.note(
            f"an NVIDIA GPU is here, and torch {torch.__version__} is a build without CUDA",
            "install the build for your driver: https://pytorch.org/get-started/locally",
        )
    else:
        report.ok(f"no GPU; torch {torch.__version__}")
    name = dtype_name(resolve_dtype("auto"))
    why = "native" if name == "bfloat16" else "bfloat16 is not native here, and slow"
    report.ok(f"model.policy.dtype: auto is {name} ({why})")


def _check_memory(report: Report) -> None:
    import psutil

    memory = psutil.virtual_memory()
    limit = LIMIT.read_text().strip() if LIMIT.is_file() else "max"
    most = int(limit) if limit.isdecimal() else memory.total
    total, free = min(memory.total, most), min(memory.available, most)
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    fact = f"CPU cores: {cores}; {free / GB:.1f} of {total / GB:.1f} GB of memory free"
    if free < SMALL_MEMORY:
        lower = "lower data.generation_batch_size and data.tokens_per_micro_batch"
        report.note(fact, f"close what takes memory, take a smaller model, or {lower}")
    else:
        report.ok(fact)


def _has_nvidia_gpu() -> bool:
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


def check_disk(report: Report, run: Path) -> None:
    """Room where a run (or all of them), converted models and downloads go."""
    from huggingface_hub.constants import HF_HUB_CACHE

    from preflexor_pl.policy.model_source import cache_folder

    places: dict[str, Callable[[], Path]] = {
        "run": lambda: run,
        "package cache ($PREFLEXOR_CACHE)": cache_folder,  # refuses one that cannot be written
        "hub cache ($HF_HOME)": lambda: Path(HF_HUB_CACHE),
    }
    for what, place in places.items():
        with report.check("disk"):
            folder = place()
            free = shutil.disk_usage(nearest_existing(folder)).free
            fact = f"{what}: {free / GB:.1f} GB free at {folder}"
            if free < LEAST_DISK:
                report.bad(ResourceError(fact), "make room, or use another disk")
            elif free < SMALL_DISK:
                report.note(fact, "enough for a small model; a large one needs more")
            else:
                report.ok(fact)
