import pytest

from preflexor_pl.core import chat as module
from preflexor_pl.core.chat import chat_ids, encode, end_of_turn_id
from preflexor_pl.core.chat_template import render as real_render
from preflexor_pl.core.markers import THINK_START, TRIGGER
from tests.tiny import HEAD, TEMPLATE, letters, tiny_tokenizer

ASK = "<|im_start|>user\n{}<|im_end|>\n"
REPLY = "<|im_start|>assistant\n"
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}"
SILENT = "{% for turn in messages if turn['role'] != 'system' %}"


def chat(tokenizer, *args):
    return letters(tokenizer, chat_ids(tokenizer, *args))


def test_a_template_keeps_its_own_system_turn_until_one_is_given():
    tokenizer = tiny_tokenizer()
    assert chat(tokenizer, "Why?") == HEAD + ASK.format("Why?") + REPLY
    system = "<|im_start|>system\nBe brief.<|im_end|>\n"
    assert chat(tokenizer, "Why?", "Be brief.") == system + ASK.format("Why?") + REPLY


def test_a_chat_with_a_system_prompt_is_rendered_once_where_the_template_is_known(monkeypatch):
    tokenizer, rendered = tiny_tokenizer(), []
    chat_ids(tokenizer, "Why?", "Be brief.")
    monkeypatch.setattr(
        module, "render", lambda *a, **k: rendered.append(a) or real_render(*a, **k)
    )
    chat_ids(tokenizer, "How?", "Be long.")
    assert len(rendered) == 1
    tokenizer.chat_template = NO_SYSTEM + TEMPLATE  # another template, looked at anew
    assert chat(tokenizer, "Why?", "Be brief.").endswith(ASK.format("Be brief.\n\nWhy?") + REPLY)
    assert len(rendered) == 3


def test_special_tokens_of_the_format_are_single_ids():
    ids = chat_ids(tiny_tokenizer(), "Why?")
    assert (ids.count(257), ids.count(258)) == (3, 2)  # <|im_start|>, <|im_end|>


@pytest.mark.parametrize(
    "template", [NO_SYSTEM + TEMPLATE, TEMPLATE.replace("{% for turn in messages %}", SILENT)]
)
def test_a_template_without_system_turns_gets_it_before_the_first_question(template):
    template = template.replace("Be kind.", "")
    text = chat(tiny_tokenizer(template), "And?", "Be brief.", [("Why?", "So.")])
    turns = [ASK.format("Be brief.\n\nWhy?"), f"{REPLY}So.<|im_end|>\n", ASK.format("And?"), REPLY]
    assert text.endswith("".join(turns))


def test_earlier_turns_stand_before_the_prompt_in_order():
    text = chat(tiny_tokenizer(), "3?", None, [("1?", "one"), ("2?", "two")])
    earlier = "".join(
        f"{ASK.format(said)}{REPLY}{reply}<|im_end|>\n"
        for said, reply in (("1?", "one"), ("2?", "two"))
    )
    assert text == HEAD + earlier + ASK.format("3?") + REPLY


def test_without_a_template_the_chat_is_plain_text_after_bos():
    plain = tiny_tokenizer(template=None)
    assert chat(plain, "Why?") == "User: Why?\nAssistant:"
    assert (
        chat(plain, "2?", "Be brief.", [("1?", "one")])
        == "Be brief.\n\nUser: 1?\nAssistant: one\nUser: 2?\nAssistant:"
    )
    with_bos = tiny_tokenizer(template=None, bos_token="<|endoftext|>")
    assert chat(with_bos, "Why?") == "<|endoftext|>User: Why?\nAssistant:"


def test_the_trigger_is_one_registered_id():
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [THINK_START]})
    marker = tokenizer.convert_tokens_to_ids(THINK_START)
    assert chat_ids(tokenizer, "Why?" + TRIGGER).count(marker) == 1


def test_encode_adds_nothing():
    tokenizer = tiny_tokenizer(bos_token="<|endoftext|>")
    assert letters(tokenizer, encode(tokenizer, "So it is")) == "So it is"
    assert encode(tokenizer, "") == []


@pytest.mark.parametrize(
    ("template", "eos", "end"),
    [
        (TEMPLATE, "<|endoftext|>", "<|im_end|>"),  # the format's own end, not the tokenizer's eos
        (None, "<|endoftext|>", "<|endoftext|>"),
        (TEMPLATE.replace("<|im_end|>", "~"), "<|endoftext|>", "<|endoftext|>"),  # ends in no id
    ],
)
def test_end_of_turn(template, eos, end):
    tokenizer = tiny_tokenizer(template, eos_token=eos)
    if template:
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    assert tokenizer.convert_ids_to_tokens(end_of_turn_id(tokenizer)) == end


TRIMMING = TEMPLATE.replace("{{ turn['content'] }}", "{{ turn['content'] | trim }}")
ESCAPING = TEMPLATE.replace("{{ turn['content'] }}", "{{ turn['content'] | tojson }}")
LAST = (  # writes the system's text in the last question, as Mistral's does
    "{% set system = messages[0].content %}{% for turn in messages[1:] %}[{{ turn.role }}]"
    "{% if loop.last %}{{ system }}: {% endif %}{{ turn.content }}{% endfor %}"
)


@pytest.mark.parametrize("system", ["Be brief.\n", " Be brief. \n\n", "\tBe brief."])
def test_a_template_that_trims_keeps_the_system_turn(system):
    expected = "<|im_start|>system\nBe brief.<|im_end|>\n" + ASK.format("Why?") + REPLY
    assert chat(tiny_tokenizer(TRIMMING), "Why?", system) == expected


def test_a_template_that_escapes_or_moves_the_system_text_keeps_it():
    escaped = chat(tiny_tokenizer(ESCAPING), "Why?", 'Say "so".\n')
    assert escaped.startswith('<|im_start|>system\n"Say \\"so\\".\\n"<|im_end|>\n')
    moved = chat(tiny_tokenizer(LAST), "And?", "Be brief.", [("Why?", "So.")])
    assert moved == "[user]Why?[assistant]So.[user]Be brief.: And?"


def test_a_system_text_that_the_question_holds_is_not_taken_for_a_system_turn():
    template = TEMPLATE.replace("{% for turn in messages %}", SILENT).replace("Be kind.", "")
    asked = ASK.format("Be brief.\n\nMust I be: Be brief.")
    assert chat(tiny_tokenizer(template), "Must I be: Be brief.", "Be brief.").endswith(
        asked + REPLY
    )


def test_a_template_is_told_what_is_given_for_it():
    template = TEMPLATE + "{% if add_generation_prompt and quiet %}<quiet>{% endif %}"
    tokenizer = tiny_tokenizer(template)
    plain = HEAD + ASK.format("Why?") + REPLY
    told = chat(tokenizer, "Why?", None, (), {"quiet": True, "add_generation_prompt": False})
    assert (chat(tokenizer, "Why?"), told) == (plain, f"{plain}<quiet>")
