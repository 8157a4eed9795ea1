"""Moves between host and device."""

import pytest
import torch

from preflexor_pl.core.device import AsyncHostCopy, to_device


def test_on_the_host_nothing_is_copied():
    x = torch.arange(3)
    assert to_device(x, "cpu") is x
    assert AsyncHostCopy(x).get().tolist() == [0, 1, 2]


def test_a_later_value_has_no_graph():
    assert not AsyncHostCopy(torch.ones(2, requires_grad=True) * 2).get().requires_grad


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_card_keeps_the_order_of_what_is_queued():
    x = to_device(torch.zeros(1 << 20), "cuda")
    seen = []
    for n in range(50):
        x.fill_(n)
        seen.append(AsyncHostCopy(x[-1:]))
    assert [later.get().item() for later in seen] == list(range(50))
