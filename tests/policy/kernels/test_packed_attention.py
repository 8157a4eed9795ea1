from types import SimpleNamespace

import torch

from preflexor_pl.batches.packing import packed
from preflexor_pl.policy.kernels import packed_attention


def test_variable_length_attention_is_asked_for_as_this_torch_has_it(monkeypatch):
    """What the kernel would get: runs of queries and keys, a window, shared heads where told."""
    from torch.nn.attention import varlen

    got = {}

    def kernel(query, key, value, *ends, **options):
        got.update(options, shapes=[query.shape, key.shape], ends=ends)
        return query

    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    spans = packed_attention_spans()
    query, key = torch.zeros(1, 4, 9, 8), torch.zeros(1, 2, 9, 8)
    for told in (True, False):
        got.clear()
        monkeypatch.setattr(packed_attention, "NEEDS_GQA_FLAG", told)
        packed_attention._varlen(query, key, key, spans, 0.5, 5)
        assert got["shapes"] == [(9, 4, 8), (12, 2, 8)]  # the prompt's three keys twice
        assert got["ends"][0].tolist() == [0, 7, 9]
        assert got["ends"][1].tolist() == [0, 7, 12]
        assert {end.dtype for end in got["ends"][:2]} == {torch.int32}
        assert got["ends"][2:] == (7, 7)
        assert got["window_size"] == (4, 0)
        assert got.get("enable_gqa") == (True if told else None)


def packed_attention_spans():
    pair = SimpleNamespace(prompt=[1, 2, 3], chosen=[4, 5, 6, 7], rejected=[8, 9])
    return packed([pair]).spans
