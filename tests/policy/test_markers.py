import pytest
import torch

from preflexor_pl.core.chat import encode
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.markers import DESCRIBING_WORDS, MARKERS
from preflexor_pl.policy.markers import register_markers
from tests.tiny import save_tiny_model


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def base(request, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = save_tiny_model(tmp_path / "model", tied=request.param)
    model = AutoModelForCausalLM.from_pretrained(folder)
    return model, AutoTokenizer.from_pretrained(folder)


def test_new_rows_are_the_mean_of_their_describing_words(base):
    model, tokenizer = base
    before = model.get_input_embeddings().weight.detach().clone()
    head_before = model.get_output_embeddings().weight.detach().clone()
    words = {m: encode(tokenizer, " ".join(DESCRIBING_WORDS[m])) for m in MARKERS}
    markers, new = register_markers(model, tokenizer, add_tokens=True)

    ids = [markers.think_start, markers.think_end, markers.reflect_start, markers.reflect_end]
    assert new == ids == [259, 260, 261, 262]
    tables = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    for table, old in zip(tables, (before, head_before), strict=True):
        assert table.shape[0] == 263
        assert torch.equal(table[:259], old)
        for marker, token in zip(MARKERS, ids, strict=True):
            assert table[token].detach() == pytest.approx(old[words[marker]].mean(0), abs=1e-6)
            assert encode(tokenizer, f"So{marker}so").count(token) == 1


def test_markers_that_are_there_are_left_alone(base):
    model, tokenizer = base
    markers, _ = register_markers(model, tokenizer, add_tokens=True)
    with torch.no_grad():
        model.get_input_embeddings().weight[markers.think_start] = 7.0
    again, new = register_markers(model, tokenizer, add_tokens=False)
    assert (again, new) == (markers, [])
    assert (model.get_input_embeddings().weight[markers.think_start] == 7.0).all()


def test_add_tokens_false_refuses_a_tokenizer_without_them(base):
    with pytest.raises(ConfigError, match=r"model\.policy\.add_tokens .* lacks <\|thinking\|>, "):
        register_markers(*base, add_tokens=False)


def test_special_tokens_of_the_tokenizer_stay(base):
    model, tokenizer = base
    before = set(tokenizer.all_special_tokens)
    register_markers(model, tokenizer, add_tokens=True)
    assert set(tokenizer.all_special_tokens) == before | set(MARKERS)
