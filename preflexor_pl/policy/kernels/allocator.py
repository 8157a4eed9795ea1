"""How the C library treats memory that a training step frees."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGE = 2**30, 2**25  # bytes; glibc before 2.35 refuses more than the second


def keep_freed_memory() -> bool:
    """Have freed memory wait for the next step instead of going back to the system.

    A step frees what it took, and getting it back page by page costs a tenth of the next one. The
    process is the larger for it between its peaks, not at them.

    Returns:
        Whether the C library could be told: glibc can.
    """
    if not sys.platform.startswith("linux"):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:  # musl
        return False
    # Without the first, the second would have every large block mapped and unmapped by itself.
    taken = any(set_option(_MMAP_THRESHOLD, size) for size in _LARGE)
    return taken and bool(set_option(_TRIM_THRESHOLD, -1))
