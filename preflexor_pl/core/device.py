"""Copies between host and device that do not block the host.

A plain copy waits for all work queued on the device. A copy from or to pinned memory is queued with
it, and the host continues.
"""

from typing import Any

import torch
from torch import Tensor


def to_device(x: Tensor, device: Any) -> Tensor:
    """``x`` on ``device``; a copy from host to GPU does not block."""
    if x.device.type == "cpu" and torch.device(device).type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


class AsyncHostCopy:
    """A host copy of a device tensor: waits for the work that made it, not for later work.

    Args:
        value: of any shape.
    """

    def __init__(self, value: Tensor) -> None:
        # Pinned memory on a GPU. Other devices have no event that marks the end of a copy.
        self._value = value.detach().to("cpu", non_blocking=value.is_cuda)
        self._copied: Any = None
        if value.is_cuda:
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(value.device))

    def get(self) -> Tensor:
        """The value on the host."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._value
