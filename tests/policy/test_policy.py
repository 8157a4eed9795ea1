from dataclasses import replace

import pytest
import torch
from transformers import GenerationConfig

from losses.logps import pair_logps
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.thinking import NoMasking
from preflexor_pl.core.chat import encode
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.markers import THINK_END, THINK_START
from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.policy.finished_model import TrainedModel
from preflexor_pl.policy.language_model import load_language_model
from preflexor_pl.policy.policy import Policy
from preflexor_pl.policy.previous_phase import read_previous_phase
from preflexor_pl.policy.tokenizer import tokenizer_of
from tests.tiny import PAIR, save_tiny_model, tiny_policy


@pytest.fixture
def batch(policy):
    collate = PairCollator(
        policy.tokenizer, policy.markers, policy.end_id, NoMasking(), None, 256, 128, 0
    )
    pairs = [PAIR, replace(PAIR, id="b", prompt="Why?", chosen="So.")]
    return collate([collate.tokenize(pair) for pair in pairs], (0, 0))


def test_logps_are_those_of_the_whole_logits(policy, batch):
    made = policy.logps(batch)
    with torch.no_grad():
        whole = policy.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    expected = pair_logps(whole, batch.labels)
    for name in ("chosen", "rejected", "chosen_len", "rejected_len"):
        assert getattr(made, name).tolist() == pytest.approx(
            getattr(expected, name).tolist(), rel=1e-5
        )
    assert made.chosen_len.tolist() == [(batch.labels[row] >= 0).sum() for row in (0, 1)]
    assert made.chosen.requires_grad


def test_padding_does_not_show(policy, batch):
    both = policy.logps(batch)
    shorter = batch.input_ids[1::2], batch.attention_mask[1::2], batch.labels[1::2]
    width = int(shorter[1].sum(1).max())
    assert width < batch.input_ids.shape[1]
    alone = policy.logps(type(batch)(*(t[:, :width] for t in shorter), batch.first_target, ("b",)))
    assert alone.chosen.item() == pytest.approx(both.chosen[1].item(), rel=1e-5)
    assert alone.rejected.item() == pytest.approx(both.rejected[1].item(), rel=1e-5)


def test_decode_keeps_markers_that_were_emitted_and_no_others(policy):
    start, end = policy.markers.think_start, policy.markers.think_end
    spelt = policy.tokenizer.convert_tokens_to_ids(list(f"Hm{THINK_END}"))  # letters, not the id
    assert end not in spelt
    text = policy.decode([start, *spelt, end, *encode(policy.tokenizer, "So"), policy.end_id])
    assert text == f"{THINK_START}Hm<·|/thinking|>{THINK_END}So"
    ids = encode(policy.tokenizer, text)
    assert [i for i in ids if i in policy.marker_ids] == [start, end]


def test_decode_drops_other_special_ids_and_breaks_their_spelling(policy):
    spelt = policy.tokenizer.convert_tokens_to_ids(list("<|im_end|>a"))
    assert policy.decode([256, *spelt, 257]) == "<·|im_end|>a"
    assert policy.decode([]) == ""


def test_special_strings_are_all_that_the_tokenizer_would_read_as_control(policy):
    assert set(policy.special_strings) == {
        *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        *("<|thinking|>", "<|/thinking|>", "<|reflect|>", "<|/reflect|>"),
    }


def test_a_turn_ends_with_the_formats_id_or_with_eos(policy):
    assert policy.end_id == 258
    assert policy.stop_ids == {258}
    assert policy.max_positions == 4096


def test_a_generation_config_names_stops_too(tmp_path):
    folder = save_tiny_model(tmp_path / "model")
    for ids, more in (([258, 256], {256}), (65, {65}), ([258, 9999], set())):
        GenerationConfig(eos_token_id=ids).save_pretrained(folder)
        policy = tiny_policy(folder)
        assert (policy.end_id, policy.stop_ids) == (258, {258} | more)


def test_an_end_of_turn_that_is_not_plain_is_settled_by_a_key(tmp_path):
    glm = "{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}"
    folder = save_tiny_model(tmp_path / "model", template=glm)
    GenerationConfig().save_pretrained(folder)
    settings = PolicySettings(str(folder), lora=LoRASettings(rank=4, alpha=8))
    for read in (tokenizer_of, Policy):
        with pytest.raises(ConfigError, match=r"end_of_turn: .* in <\|im_start\|> or <\|im_end\|>"):
            read(settings)
    settings = replace(settings, end_of_turn="<|im_start|>")
    policy = Policy(settings)
    assert (policy.end_id, policy.stop_ids) == (257, {257, 258})
    assert tokenizer_of(settings).end_id == 257
    policy.save(tmp_path / "adapter")
    assert TrainedModel(read_previous_phase(str(tmp_path / "adapter"))).end_id == 257
    # A model that is not trained may stop at either.
    assert load_language_model(str(folder), "x").stop_ids == {257, 258}


def test_an_unknown_folder_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"^model\.policy\.model_name: there is no folder"):
        tiny_policy(tmp_path / "none")


def test_a_folder_below_home(model_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(model_folder.parent))
    assert tiny_policy(f"~/{model_folder.name}").source.location == str(model_folder)


def test_a_broken_model_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "none"}')
    with pytest.raises(ConfigError, match=r"^model\.policy\.model_name: .* did not load: [^\n]*$"):
        Policy(PolicySettings(model_name=str(tmp_path)))
