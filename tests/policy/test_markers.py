import json
from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.thinking import MaskThinking
from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.generator import Completion, Request
from preflexor_pl.core.markers import DESCRIBING_WORDS, MARKERS, MarkerStrings
from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.pairs.strip_thoughts import WithoutThoughts
from preflexor_pl.policy import generation
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.markers import register_markers, register_tokens
from tests.tiny import (
    PAIR,
    TEMPLATE,
    letters,
    save_thinking_model,
    save_tiny_model,
    tiny_policy,
    tiny_tokenizer,
)


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


THINK = MarkerStrings("<think>", "</think>", "<reflect>", "</reflect>")


@pytest.fixture(scope="module")
def thinker(tmp_path_factory):
    """A model whose own tokens are <think> and </think>; its template begins to think."""
    return save_thinking_model(tmp_path_factory.mktemp("thinker"))


def test_tokens_that_the_tokenizer_has_are_the_markers(thinker):
    policy = tiny_policy(thinker, markers=THINK)
    own = [policy.tokenizer.convert_tokens_to_ids(name) for name in ("<think>", "</think>")]
    assert policy.marker_ids == [*own, *policy.new_ids]
    assert own == [259, 260]
    assert policy.trained_rows == []  # the base reads them in its prompts
    before = tiny_policy(thinker).inner.get_input_embeddings().weight[259]
    assert torch.equal(policy.inner.get_input_embeddings().weight[259], before)
    text = "<think>Hm</think>So<reflect>"
    assert policy.decode(encode(policy.tokenizer, text)) == text
    assert policy.decode(encode(policy.tokenizer, "<|thinking|>")) == "<·|thinking|>"


def test_the_prompt_is_past_native_thinking_and_the_response_has_its_own(thinker):
    policy = tiny_policy(thinker, markers=THINK)
    asked = letters(policy.tokenizer, chat_ids(policy.tokenizer, "Why?" + THINK.suffix))
    assert asked.endswith(
        "Why? Use <think>.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    pair = replace(
        PAIR, prompt="Why?" + THINK.suffix, chosen="<think>\nHm.\n</think>\nSo.", rejected="No."
    )
    options = policy.tokenizer, policy.markers, policy.end_id
    collator = PairCollator(*options, MaskThinking(), None, 512, 256, 0)
    tokenized = collator.tokenize(pair)
    assert not collator.problem_of(tokenized)
    batch = collator([tokenized], (0, 0))
    shown = letters(policy.tokenizer, [i for i in batch.labels[0].tolist() if i >= 0])
    assert shown == "\nSo.<|im_end|>"  # no token of the prompt, none of the response's thinking


def test_the_base_may_think_in_its_own_form_and_is_read_without(thinker, monkeypatch):
    policy = tiny_policy(thinker, markers=THINK)
    assert policy.native_ids == policy.marker_ids[:2]
    assert tiny_policy(thinker).native_ids == []
    drawn = {}
    monkeypatch.setattr(generation, "Sampler", lambda *given: drawn.update(left_out=given[1]))
    for role, left_out in (("base", policy.marker_ids[2:]), ("policy", [])):
        with pytest.raises(AttributeError):  # of the sampler that is none
            LocalGenerator(policy, role).complete([Request("Why?")])
        assert drawn["left_out"] == left_out
    plain = "<think>Let me see.</think>\nIt bends."

    class Says(LocalGenerator):
        def complete(self, requests, watch=None):
            return [Completion(policy.decode(encode(policy.tokenizer, plain)), "stop", 9)]

    [made] = WithoutThoughts(Says(policy, "base")).complete([Request("Why?")])
    assert made.text == "It bends."


def test_a_marker_is_inert_in_outside_text_though_the_tokenizer_does_not_call_it_special(thinker):
    policy = tiny_policy(thinker, markers=THINK)
    policy.tokenizer.chat_template = TEMPLATE  # nor its template has it
    assert {*THINK.all} <= {*policy.special_strings}
    assert escape_special_tokens("a </think> b", policy.special_strings) == "a <·/think> b"


@pytest.mark.parametrize(
    ("strings", "named"),
    [
        ({"think_start": "<|im_end|>"}, "<|im_end|> has another use"),
        ({"think_start": "##"}, "## has another use"),
        ({"trigger": "</s> Think."}, "contains a control token"),
    ],
)
def test_strings_that_mean_something_else_are_refused(strings, named):
    told = json.loads(tiny_tokenizer().backend_tokenizer.to_str())
    told["model"]["vocab"]["##"] = 999  # a piece of ordinary text
    told["model"]["merges"] = [["#", "#"]]
    made = Tokenizer.from_str(json.dumps(told))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>")
    tokenizer.add_tokens(["</s>"], special_tokens=True)
    with pytest.raises(ConfigError, match=r"model\.policy\.markers") as refused:
        register_tokens(tokenizer, True, MarkerStrings(**strings))
    assert named in str(refused.value)


def test_the_end_of_a_turn_is_no_marker(thinker):
    strings = MarkerStrings("<think>", "</think>")
    with pytest.raises(ConfigError, match=r"model\.policy\.markers: </think> ends an answer"):
        tiny_policy(thinker, markers=strings, end_of_turn="</think>")
