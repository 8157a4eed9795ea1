"""A model by its name: a hub id, a folder, a GGUF file, or a file that a Python package ships.

A GGUF file is converted once to safetensors in the cache folder, under a lock; later loads take
seconds. Nothing falls back silently: what cannot be had is a ConfigError in one line.
"""

import hashlib
import os
import platform
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from preflexor_pl.core.errors import ConfigError, ResourceError
from preflexor_pl.core.files import writing
from preflexor_pl.core.hub import GGUF, quiet_loading, require_model
from preflexor_pl.core.packages import is_package_name, locate, verify
from preflexor_pl.core.progress import log_line
from preflexor_pl.policy.kernels.allocator import keep_freed_memory
from preflexor_pl.policy.model_errors import FOREIGN, in_one_line, reason_of

ENDS = 2**20  # bytes of a file's beginning and end that its fingerprint covers
NF4_OFF = 0.16  # half of the widest gap between two of its sixteen levels, -1 and -0.696, is 0.152
SET_CACHE = "set PREFLEXOR_CACHE to a folder that can be written"
CONVERSION = 1  # raise it when converted folders of older versions must not be used


@dataclass(frozen=True)
class ModelSource:
    """Where a model's files are.

    Attributes:
        name: as the user wrote it.
        location: folder or hub id that transformers can load.
        sha256: of the packaged file, else ``fingerprint_of`` the folder; "" for a hub id.
    """

    name: str
    location: str
    sha256: str


def find_model(name: str, key: str = "model.policy.model_name") -> ModelSource:
    """Locate ``name`` and convert it if it must be; raises ConfigError naming ``key``."""
    require_model(name, key)
    if is_package_name(name):
        found = locate(name)
        if found.path.suffix != GGUF:
            return ModelSource(name, str(found.path), found.sha256)
        # Verified once: what is converted is known by this sha256.
        location = _converted(found.path, found.sha256, partial(verify, found), key)
        return ModelSource(name, location, found.sha256)
    path = Path(name).expanduser()
    if path.is_file():
        sha256 = _fingerprint([path])
        return ModelSource(name, _converted(path, sha256, lambda: None, key), sha256)
    if not path.is_dir():
        return ModelSource(name, name, "")
    return ModelSource(name, str(path), fingerprint_of(path))


def fingerprint_of(folder: Path) -> str:
    """sha256 over names, sizes and both ends of the files: whole weights may be many gigabytes."""
    return _fingerprint(sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")]))


def _fingerprint(paths: list[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        size = path.stat().st_size
        total.update(f"{path.name}:{size};".encode())
        with path.open("rb") as file:
            total.update(file.read(ENDS))
            file.seek(max(0, size - ENDS))
            total.update(file.read(ENDS))
    return total.hexdigest()


def cache_folder() -> Path:
    """``$PREFLEXOR_CACHE``, or the user's cache folder; it need not be there.

    Raises:
        ConfigError: there is none, as for a user without a home.
        ResourceError: it cannot be written.
    """
    from platformdirs import user_cache_dir

    try:
        folder = Path(os.environ.get("PREFLEXOR_CACHE") or user_cache_dir("preflexor_pl"))
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except (RuntimeError, OSError) as error:  # the first: no home is known
        raise ConfigError(f"no folder to keep models in ({error}): {SET_CACHE}") from error
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise ResourceError(f"{folder}, to keep models in, cannot be written: {SET_CACHE}")
    return folder


def require_cache(name: str) -> None:
    """Refuse a model that has to be converted where there is no folder to keep it in.

    Raises:
        ConfigError: names the variable to set.
    """
    file = locate(name).path if is_package_name(name) else Path(name)
    if file.suffix == GGUF:
        cache_folder()


def _converted(file: Path, sha256: str, check: Callable[[], None], key: str) -> str:
    """The folder of a GGUF file's weights; ``check`` is called before they are converted."""
    from filelock import FileLock

    folder = cache_folder() / f"{file.stem}-{sha256[:16]}-v{CONVERSION}"
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "config.json").exists():
            check()
            log_line(f"Converting {file.name} once (about a minute); kept in {folder}")
            quiet = redirect_stderr(StringIO())  # transformers draws its own bar
            with in_one_line(f"{key}: {file} did not convert"), quiet_loading(), quiet:
                _convert(file, folder)
    return str(folder)


def _convert(gguf: Path, folder: Path) -> None:
    try:
        import gguf as _  # noqa: F401  (transformers needs it and says so in 20 lines)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{gguf.name} is a GGUF file and the gguf package is missing: pip install gguf"
        ) from error
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    loaded = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    # The loaded model still counts as quantised and refuses to be saved: a plain twin takes its
    # weights.
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    settings["_name_or_path"] = gguf.stem
    plain = type(loaded)(type(loaded.config)(**settings))
    plain.load_state_dict(loaded.state_dict())
    half_made = folder.with_suffix(".part")
    shutil.rmtree(half_made, ignore_errors=True)
    plain.save_pretrained(half_made)
    tokenizer.save_pretrained(half_made)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(half_made, folder)


def resolve_dtype(name: str) -> torch.dtype:
    """The dtype that ``auto``, ``float32`` or ``bfloat16`` stands for on this processor."""
    if name != "auto":
        return torch.float32 if name == "float32" else torch.bfloat16
    return torch.bfloat16 if _has_bf16() else torch.float32


def _has_bf16() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if platform.machine() in ("x86_64", "AMD64"):  # without avx512_bf16 it is emulated, and slow
        return torch.cpu._is_avx512_bf16_supported()
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def load_base(
    source: ModelSource,
    dtype: torch.dtype,
    attention: str = "sdpa",
    quantization: str | None = None,
    key: str = "model.policy.model_name",
) -> tuple[Any, Any]:
    """The model and its tokenizer, as they come.

    Args:
        source: where its files are.
        dtype: of its weights; of its matrix products where they are quantised.
        attention: attention kernel of transformers. A model that has no ``sdpa`` gets ``eager``,
            which is announced.
        quantization: ``4bit`` or None.
        key: the setting to name in an error.

    Returns:
        (model in eval mode, tokenizer).
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    keep_freed_memory()
    try:
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(source.location, trust_remote_code=False)
            model = AutoModelForCausalLM.from_pretrained(
                source.location,
                dtype=dtype,
                attn_implementation=attention,
                quantization_config=_nf4(dtype) if quantization else None,
                trust_remote_code=False,  # without it transformers asks on the terminal
            )
    except torch.OutOfMemoryError:
        raise
    except (OSError, SafetensorError, *FOREIGN) as error:
        if "attn_implementation" in str(error) and attention == "sdpa":
            log_line(f"{source.name} has no sdpa attention: it runs with eager")
            return load_base(source, dtype, "eager", quantization, key)
        if "attn_implementation" in str(error):
            raise ConfigError(
                f"model.policy.attn_implementation: {source.name} has no {attention}: use eager"
            ) from error
        raise ConfigError(f"{key}: {source.name} did not load: {reason_of(error)}") from error
    if quantization:
        _keep_layout(model)
    return model.eval(), tokenizer


def stops_of(generation_config: Any) -> list[int]:
    """The ids at which a model stops by itself, as its ``generation_config`` names them."""
    ids = generation_config.eos_token_id
    listed = ids if isinstance(ids, list | tuple) else [ids]
    return [token for token in listed if token is not None and token >= 0]


def _keep_layout(model: Any) -> None:
    """Stop bitsandbytes from repacking weights at their first use without a gradient on a CPU.

    It rounds the scales to bfloat16 on the way, so that policy and reference would differ.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def require_attention(name: str) -> None:
    """Refuse an attention kernel that is not there; loads nothing.

    Raises:
        ConfigError: says what to install, or what to choose instead.
    """
    if name != "flash_attention_2":
        return
    key = "model.policy.attn_implementation: flash_attention_2"
    if find_spec("flash_attn") is None:
        raise ConfigError(f"{key} is not installed: pip install 'preflexor_pl[flash-attn]' or sdpa")
    if not torch.cuda.is_available():
        raise ConfigError(f"{key} needs a CUDA device: use sdpa")


def require_quantization(key: str) -> None:
    """Refuse 4-bit weights where bitsandbytes does not work: takes a small matrix there and back.

    Raises:
        ConfigError: names ``key`` and says what does not work.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = torch.linspace(-1, 1, 64, device=device)  # one block, so one scale
    try:
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        again = dequantize_4bit(*quantize_4bit(weights, quant_type="nf4"))
    except (ImportError, OSError, RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{key}: bitsandbytes does not work here ({reason}): use null") from error
    off = float((again - weights).abs().max())
    if not off < NF4_OFF:
        raise ConfigError(f"{key}: bitsandbytes gives weights that are {off:.2f} off: use null")


def _nf4(dtype: torch.dtype) -> Any:
    """QLoRA's settings (Dettmers et al., 2023, arXiv:2305.14314)."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
