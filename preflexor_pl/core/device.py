"""Between host and device without waiting for what the device still has to do.

A plain copy waits for all that was queued on the device before it. From and to pinned memory it
takes its turn there, and the host goes on.
"""

from typing import Any

import torch
from torch import Tensor


def on_device(x: Tensor, device: Any) -> Tensor:
    """``x`` on ``device``; from the host to a card without a wait."""
    if x.device.type == "cpu" and torch.device(device).type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


class AsyncHostCopy:
    """A device's value for the host: waits at most for what made it, not for what came after.

    Args:
        value: of any shape.
    """

    def __init__(self, value: Tensor) -> None:
        # To pinned memory on a card. Other devices give no event to know a copy's end by.
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
