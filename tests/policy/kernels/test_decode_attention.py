import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.policy.kernels.decode_attention import grouped_attention


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize(("heads", "shared"), [(4, 2), (4, 4), (6, 1)])
def test_it_is_torchs_attention(length, heads, shared):
    noise = torch.Generator().manual_seed(0)
    query = torch.randn(2, heads, length, 8, generator=noise)
    key, value = (torch.randn(2, shared, 5, 8, generator=noise) for _ in range(2))
    mask = torch.zeros(2, 1, length, 5)
    mask[1, :, :, :2] = torch.finfo(torch.float32).min  # left padding of the second row
    mixed, weights = grouped_attention(None, query, key, value, mask)
    expected = scaled_dot_product_attention(query, key, value, mask, enable_gqa=True)
    assert weights is None
    assert torch.allclose(mixed, expected.transpose(1, 2), atol=1e-6)

    mixed, _ = grouped_attention(None, query, key, value, None, scaling=0.5)
    expected = scaled_dot_product_attention(query, key, value, scale=0.5, enable_gqa=True)
    assert torch.allclose(mixed, expected.transpose(1, 2), atol=1e-6)


def test_one_query_by_hand():
    # Scores 0 and log 3 weigh the values 1 and 5 by 1/4 and 3/4.
    query = torch.tensor([[[[1.0]]]])
    key = torch.tensor([[[[0.0], [torch.tensor(3.0).log()]]]])
    mixed, _ = grouped_attention(None, query, key, torch.tensor([[[[1.0], [5.0]]]]), None)
    assert mixed.item() == pytest.approx(4)


def test_scores_are_squeezed_by_the_softcap():
    query, key = torch.tensor([[[[1.0]]]]), torch.tensor([[[[0.0], [1e6]]]])
    mixed, _ = grouped_attention(
        None, query, key, torch.tensor([[[[0.0], [1.0]]]]), None, softcap=1.0
    )
    assert mixed.item() == pytest.approx(torch.tensor(1.0).sigmoid().item())


def test_a_sink_takes_its_share_of_the_weights():
    # Scores 0 and 0 and a sink of log 2 share the weights as 1, 1 and 2: half of them is lost.
    query, key = torch.tensor([[[[1.0]]]]), torch.zeros(1, 1, 2, 1)
    value, sink = torch.tensor([[[[1.0], [5.0]]]]), torch.tensor([2.0]).log()
    for name in ("s_aux", "sinks"):
        mixed, _ = grouped_attention(None, query, key, value, None, **{name: sink})
        assert mixed.item() == pytest.approx(1.5)


def test_every_head_has_a_sink_of_its_own_as_in_gpt_oss():
    from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward

    noise = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 3, 8, generator=noise)
    key, value = (torch.randn(2, 2, 5, 8, generator=noise) for _ in range(2))
    layer = torch.nn.Module().eval()
    layer.sinks, layer.num_key_value_groups = torch.randn(4, generator=noise), 2
    expected, _ = eager_attention_forward(layer, query, key, value, None, 8**-0.5)
    mixed, _ = grouped_attention(layer, query, key, value, None, s_aux=layer.sinks)
    assert torch.allclose(mixed, expected, atol=1e-6)


def test_what_it_would_swallow_is_refused():
    x = torch.zeros(1, 1, 1, 1)
    grouped_attention(None, x, x, x, None, dropout=0.0, sliding_window=4, position_bias=None)
    with pytest.raises(ConfigError, match="position_bias"):
        grouped_attention(None, x, x, x, None, position_bias=x)
