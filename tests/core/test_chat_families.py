"""Where a turn ends, and where an answer begins, in the chat templates of real families.

Each template is the model's own, shortened to the turns that are rendered here; ``stops`` is what
its ``generation_config.eos_token_id`` names, and ``eos`` its tokenizer's.
"""

from dataclasses import dataclass, field

import pytest

from preflexor_pl.core.chat import chat_ids, end_of_turn_id, turn_ends
from preflexor_pl.core.chat_template import lead_to_answer, render
from preflexor_pl.core.errors import ConfigError
from tests.tiny import letters, tiny_tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ASKED = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content.strip() "
    "+ ' [/INST]' }}{% elif m.role == 'assistant' %}{{ ' ' + m.content.strip() + ' ' + eos_token }}"
    "{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{{ bos_token }}{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}"
    "{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}"
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content | trim %}"
    "{% set messages = messages[1:] %}{% else %}"
    "{% set system = '' %}{% endif %}<|start_header_id|>system<|end_header_id|>\n\n"
    "Today Date: {{ date_string }}\n\n{{ system }}<|eot_id|>{% for m in messages %}"
    "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n"
    "{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% if loop.last and system is defined %}[INST]{{ system + '\n\n' + m.content }}[/INST]"
    "{% else %}[INST]{{ m.content }}[/INST]{% endif %}{% else %} {{ m.content | trim }}"
    "{{ eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{% set first = messages[0].content + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}"
    "{% for m in messages %}{% set role = 'model' if m.role == 'assistant' else m.role %}"
    "{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') }}{{ m.content | trim }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
GRANITE = (
    "{% for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}"
    "<|end_of_text|>\n{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant"
    "<|end_of_role|>{% endif %}"
)
GPT_OSS = (
    "<|start|>system<|message|>Current date: {{ strftime_now('%Y-%m-%d') }}\n\nReasoning: medium"
    "<|end|>{% for m in messages %}{% if m.role == 'assistant' %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
    "{% if loop.last and not add_generation_prompt %}<|return|>{% else %}<|end|>{% endif %}"
    "{% elif m.role == 'system' %}<|start|>developer<|message|># Instructions\n\n{{ m.content }}"
    "<|end|>{% else %}<|start|>user<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
COMMAND_R7B = (
    "{{ bos_token }}<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|># Default Preamble<|END_OF_TURN_TOKEN|>"
    "{% for m in messages %}{% if m.role|lower == 'system' %}<|START_OF_TURN_TOKEN|>"
    "<|SYSTEM_TOKEN|>{{ m.content }}<|END_OF_TURN_TOKEN|>{% elif m.role|lower == 'user' %}"
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{{ m.content }}<|END_OF_TURN_TOKEN|>{% else %}"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>{{ m.content }}<|END_RESPONSE|>"
    "<|END_OF_TURN_TOKEN|>{% endif %}{% endfor %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
)
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
    "{% elif m.role == 'assistant' %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + "
    "'<｜end▁of▁sentence｜>' }}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}"
)
QWQ = CHATML.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")
QWEN3 = (
    "{% for m in messages %}{% if m.role == 'assistant' and loop.last %}<|im_start|>assistant\n"
    "<think>\n\n</think>\n\n{{ m.content }}<|im_end|>\n{% else %}<|im_start|>{{ m.role }}\n"
    "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}"
    "<|im_start|>assistant\n{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
QWEN3_THINKING = QWEN3.split("{% if enable_thinking")[0] + "<think>\n{% endif %}"
GLM4 = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
DEEPSEEK = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ 'User: ' + m.content + "
    "'\n\n' }}{% elif m.role == 'assistant' %}{{ 'Assistant: ' + m.content + eos_token }}"
    "{% elif m.role == 'system' %}{{ m.content + '\n\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
PHI3 = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content + eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
VICUNA = (
    "A chat. {% for m in messages %}{% if m.role == 'user' %}USER: {{ m.content }} "
    "{% elif m.role == 'assistant' %}ASSISTANT: {{ m.content }}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
KIMI_THINKING = (
    "{% for m in messages %}<|im_{{ m.role }}|>{{ m.role }}<|im_middle|>{% if m.role == 'assistant'"
    " %}<think></think>{% endif %}{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_assistant|>assistant<|im_middle|>{% endif %}"
)
COMMAND_TOKENS = (
    "<BOS_TOKEN> <|START_OF_TURN_TOKEN|> <|END_OF_TURN_TOKEN|> <|SYSTEM_TOKEN|> <|USER_TOKEN|> "
    "<|CHATBOT_TOKEN|> <|START_RESPONSE|> <|END_RESPONSE|>"
)


@dataclass(frozen=True)
class Family:
    """A template, its added tokens, and what is right. ``begins``: how its prompts end."""

    template: str
    tokens: str
    eos: str
    stops: str
    end: str
    begins: str
    special: bool = True
    bos: str = ""
    ordinary: list[str] = field(default_factory=list)  # added, and not special

    def tokenizer(self):
        options = {"bos_token": self.bos} if self.bos else {}
        made = tiny_tokenizer(self.template, eos_token=self.eos, **options)
        new = self.tokens.split()
        if self.special:
            made.add_special_tokens({"additional_special_tokens": new})
        else:
            made.add_tokens(new)
        made.add_tokens(self.ordinary)
        return made

    def stop_ids(self, tokenizer):
        return [tokenizer.convert_tokens_to_ids(name) for name in self.stops.split()]


IM = "<|im_start|> <|im_end|>"
THINK = ["<think>", "</think>"]
FAMILIES = {
    "chatml": Family(CHATML, IM, "<|im_end|>", "<|im_end|> <|endoftext|>", "<|im_end|>", ASKED),
    "chatml, eos is the text's": Family(CHATML, IM, "<|endoftext|>", "", "<|im_end|>", ASKED),
    "chatml, tags not special": Family(
        CHATML,
        IM + " <|pad|>",
        "<|endoftext|>",
        "<|endoftext|>",
        "<|im_end|>",
        ASKED,
        special=False,
    ),
    "chatml, the text's eos ends a chat": Family(
        CHATML.replace("{% endif %}", "{% else %}{{ eos_token }}{% endif %}"),
        IM,
        "<|endoftext|>",
        "<|endoftext|>",
        "<|im_end|>",
        ASKED,
    ),
    "chatml, no generation prompt": Family(
        CHATML.split("{% if")[0], IM, "<|endoftext|>", "", "<|im_end|>", ASKED
    ),
    "chatml, always prompted": Family(
        CHATML.replace("{% if add_generation_prompt %}", "").removesuffix("{% endif %}"),
        IM,
        "<|endoftext|>",
        "",
        "<|im_end|>",
        ASKED,
    ),
    "llama 2": Family(LLAMA2, "<s> </s>", "</s>", "</s>", "</s>", "[INST] Why? [/INST]", bos="<s>"),
    "llama 3": Family(
        LLAMA3,
        "<|begin_of_text|> <|end_of_text|> <|eom_id|> <|eot_id|> <|start_header_id|> "
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|end_of_text|> <|eom_id|> <|eot_id|>",
        "<|eot_id|>",
        "Why?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        bos="<|begin_of_text|>",
    ),
    "mistral": Family(
        MISTRAL, "<s> </s> [INST] [/INST]", "</s>", "</s>", "</s>", "[INST]Why?[/INST]", bos="<s>"
    ),
    "gemma": Family(
        GEMMA,
        "<eos> <bos> <start_of_turn> <end_of_turn>",
        "<eos>",
        "<eos> <end_of_turn>",
        "<end_of_turn>",
        "<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\n",
        bos="<bos>",
    ),
    "granite": Family(
        GRANITE,
        "<|end_of_text|> <|start_of_role|> <|end_of_role|>",
        "<|end_of_text|>",
        "<|end_of_text|>",
        "<|end_of_text|>",
        "<|start_of_role|>assistant<|end_of_role|>",
    ),
    "gpt-oss": Family(
        GPT_OSS,
        "<|return|> <|call|> <|start|> <|end|> <|message|> <|channel|>",
        "<|return|>",
        "<|return|> <|endoftext|> <|call|>",
        "<|return|>",
        "Why?<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
    "command r7b": Family(
        COMMAND_R7B,
        COMMAND_TOKENS,
        "<|END_OF_TURN_TOKEN|>",
        "<|END_OF_TURN_TOKEN|>",
        "<|END_OF_TURN_TOKEN|>",
        "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>",
        bos="<BOS_TOKEN>",
    ),
    "r1 distill": Family(
        R1,
        "<｜begin▁of▁sentence｜> <｜end▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜User｜>Why?<｜Assistant｜><think>\n\n</think>\n\n",
        bos="<｜begin▁of▁sentence｜>",
        ordinary=["<｜User｜>", "<｜Assistant｜>", *THINK],
    ),
    "qwq": Family(
        QWQ,
        IM,
        "<|im_end|>",
        "<|im_end|> <|endoftext|>",
        "<|im_end|>",
        ASKED + "<think>\n\n</think>\n\n",
        ordinary=THINK,
    ),
    "qwen 3": Family(
        QWEN3,
        IM,
        "<|im_end|>",
        "<|im_end|> <|endoftext|>",
        "<|im_end|>",
        ASKED + "<think>\n\n</think>\n\n",
        ordinary=THINK,
    ),
    "qwen 3 thinking": Family(
        QWEN3_THINKING,
        IM,
        "<|im_end|>",
        "<|im_end|> <|endoftext|>",
        "<|im_end|>",
        ASKED + "<think>\n\n</think>\n\n",
        ordinary=THINK,
    ),
    "glm 4": Family(
        GLM4,
        "[gMASK] <sop> <|system|> <|user|> <|assistant|> <|observation|>",
        "<|endoftext|>",
        "<|endoftext|> <|user|> <|observation|>",
        "<|user|>",
        "[gMASK]<sop><|user|>\nWhy?<|assistant|>\n",
    ),
    "deepseek": Family(
        DEEPSEEK,
        "<｜begin▁of▁sentence｜> <｜end▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "User: Why?\n\nAssistant:",
        bos="<｜begin▁of▁sentence｜>",
    ),
    "phi 3": Family(
        PHI3,
        "<|system|> <|user|> <|assistant|> <|end|>",
        "<|endoftext|>",
        "<|endoftext|> <|assistant|> <|end|>",
        "<|end|>",
        "<|user|>\nWhy?<|end|>\n<|assistant|>\n",
    ),
    "phi 3, as a GGUF file has it": Family(
        PHI3,
        "<|system|> <|user|> <|assistant|> <|end|>",
        "<|endoftext|>",
        "<|endoftext|>",
        "<|end|>",
        "<|user|>\nWhy?<|end|>\n<|assistant|>\n",
    ),
    "zephyr": Family(ZEPHYR, "</s>", "</s>", "</s>", "</s>", "<|user|>\nWhy?</s>\n<|assistant|>\n"),
    "vicuna": Family(VICUNA, "</s>", "</s>", "", "</s>", "A chat. USER: Why? ASSISTANT:"),
    "kimi thinking": Family(
        KIMI_THINKING,
        "[EOS] <|im_end|> <|im_user|> <|im_assistant|> <|im_middle|>",
        "[EOS]",
        "<|im_end|>",
        "<|im_end|>",
        "<|im_assistant|>assistant<|im_middle|><think></think>",
        ordinary=THINK,
    ),
}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_token_that_ends_an_answer(family):
    tokenizer = family.tokenizer()
    stops = family.stop_ids(tokenizer)
    assert tokenizer.convert_ids_to_tokens(end_of_turn_id(tokenizer, stops)) == family.end
    lead_to_answer(tokenizer)
    assert tokenizer.convert_ids_to_tokens(end_of_turn_id(tokenizer, stops)) == family.end


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_prompt_ends_where_an_answer_begins(family):
    tokenizer = family.tokenizer()
    lead_to_answer(tokenizer)
    assert letters(tokenizer, chat_ids(tokenizer, "Why?")).endswith(family.begins)
    once = tokenizer.chat_template
    lead_to_answer(tokenizer)  # of a tokenizer that a run has saved
    assert tokenizer.chat_template == once


@pytest.mark.parametrize("name", ["qwen 3", "r1 distill", "gpt-oss"])
def test_the_model_thinks_in_its_own_form_where_that_is_asked_for(name):
    tokenizer = FAMILIES[name].tokenizer()
    turns = [{"role": "user", "content": "Why?"}]
    own = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    lead_to_answer(tokenizer)
    options = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": True}
    assert tokenizer.apply_chat_template(turns, **options) == own


@pytest.mark.parametrize("name", FAMILIES)
def test_an_answered_chat_is_the_prompt_and_the_answer(name):
    """What is trained on is what the template itself would have written."""
    tokenizer = FAMILIES[name].tokenizer()
    lead_to_answer(tokenizer)
    turns = [{"role": "user", "content": "Why?"}]
    prompt = render(tokenizer, turns, generation=True).rstrip()
    answered = render(tokenizer, [*turns, {"role": "assistant", "content": "So."}], False)
    closed = "<think>\n\n</think>"
    assert answered.replace(closed, "").startswith(prompt.replace(closed, ""))


def test_what_a_generation_config_does_not_settle_is_asked_for():
    glm = FAMILIES["glm 4"].tokenizer()
    expected = r"model.policy.end_of_turn: M may end an answer in <\|user\|> or <\|endoftext\|>"
    with pytest.raises(ConfigError, match=expected):
        end_of_turn_id(glm, name="M")
    user, eos = glm.convert_tokens_to_ids(["<|user|>", "<|endoftext|>"])
    assert turn_ends(glm, []) == [user, eos]
    assert end_of_turn_id(glm, given="<|user|>") == user
    assert end_of_turn_id(glm, [eos]) == eos  # the model itself stops there, and only there
    spelt, stored = "\n", "Ċ"  # as the vocabulary has it
    assert end_of_turn_id(glm, given=spelt) == end_of_turn_id(glm, given=stored)
    with pytest.raises(ConfigError, match=r"end_of_turn: '<\|eot\|>' is not one token"):
        end_of_turn_id(glm, given="<|eot|>")


def test_two_tokens_that_the_model_stops_at_in_neither_are_asked_for():
    harmony = FAMILIES["gpt-oss"].tokenizer()
    harmony.eos_token = "<|endoftext|>"
    with pytest.raises(ConfigError, match=r"<\|end\|> or <\|return\|> or <\|endoftext\|>"):
        end_of_turn_id(harmony)


def test_a_template_for_parts_of_a_message_alone_is_refused():
    """Of a text it would write nothing, and all prompts would be alike."""
    parts = (
        "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}"
    )
    with pytest.raises(ConfigError, match="writes nothing of a question"):
        lead_to_answer(tiny_tokenizer(parts))


def test_named_templates_need_a_default():
    """As transformers has it, which raises a ValueError of several lines."""
    tokenizer = FAMILIES["qwen 3"].tokenizer()
    plain = tokenizer.chat_template
    tokenizer.chat_template = {"tool_use": plain, "rag": plain}
    for use in (lead_to_answer, lambda tokenizer: chat_ids(tokenizer, "Why?")):
        with pytest.raises(ConfigError, match=r"named rag, tool_use and none named default: name"):
            use(tokenizer)
    tokenizer.chat_template = {"tool_use": "tools", "default": plain}
    lead_to_answer(tokenizer)
    assert letters(tokenizer, chat_ids(tokenizer, "Why?")).endswith(FAMILIES["qwen 3"].begins)
    assert tokenizer.chat_template["tool_use"] == "tools"


def test_no_end_at_all_is_asked_for():
    with pytest.raises(ConfigError, match="M has no token that ends an answer"):
        end_of_turn_id(tiny_tokenizer(None, eos_token=None), name="M")


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content }",
        "{% for m in messages %}{{ m.content + 1 }}{% endfor %}",
        "{% for m in messages %}{{ m.content }}{% endfor %}{{ tools | length }}",
        "{{ raise_exception('not for chats') }}",
    ],
    ids=["broken", "adds a number", "wants tools", "refuses"],
)
def test_a_template_that_takes_no_question_is_named(template):
    tokenizer = tiny_tokenizer(template)
    lead_to_answer(tokenizer)
    assert end_of_turn_id(tokenizer) == tokenizer.eos_token_id
    with pytest.raises(ConfigError, match="its chat template does not take a chat of user"):
        chat_ids(tokenizer, "Why?", "Be brief.")
