"""Options of the C library's allocator for memory that a training step frees."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGE = 2**30, 2**25  # bytes; glibc before 2.35 refuses more than the second


def keep_freed_memory() -> bool:
    """Keep freed memory for the next step instead of returning it to the system.

    Getting it back page by page takes a tenth of a step. The process is larger between its peaks,
    not at them.

    Returns:
        Whether the C library has the options; glibc has.
    """
    if not sys.platform.startswith("linux"):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:  # musl
        return False
    # Without the first option the second would map and unmap each large block by itself.
    taken = any(set_option(_MMAP_THRESHOLD, size) for size in _LARGE)
    return taken and bool(set_option(_TRIM_THRESHOLD, -1))
