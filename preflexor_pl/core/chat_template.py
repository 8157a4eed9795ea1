"""The chat template of a tokenizer, led on to where an answer's text begins.

Some templates write a header before an answer's text, or let the model think in a form of its own
first. Here the model thinks between our markers, so the generation prompt is led on to the answer's
text, in the template itself: training, sampling, the saved tokenizer and an export share it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from preflexor_pl.core.chat_date import dated
from preflexor_pl.core.errors import ConfigError

QUESTION, ANSWER = "Qquestionq", "Qanswerq"  # words that no template trims, escapes or holds
Turn = dict[str, str]

# What a template raises for a chat that it does not take, or that it cannot write.
REFUSALS = TemplateError, AttributeError, LookupError, TypeError, ValueError

_THINKING_OFF = "{%- set enable_thinking = enable_thinking | default(false) -%}"
_LED_ON = "{%+ if add_generation_prompt and not (enable_thinking | default(false)) %}"
_OPENED = re.compile(  # <think>, <|START_THINKING|>, <seed:think>, [THINK] at the end of a prompt
    r"(?P<tag>[<\[]\|?(?:\w+:)?(?:START_)?(?:think|thought|reason)\w*\|?[>\]])\s*$", re.IGNORECASE
)


def render(
    tokenizer: Any,
    turns: Sequence[Turn],
    generation: bool,
    options: Mapping[str, Any] | None = None,
) -> str:
    """The text of a chat.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        turns: ``role`` and ``content`` of each.
        generation: whether it goes on to where the model answers.
        options: what the template is told besides, such as ``{"enable_thinking": True}``.

    Raises:
        REFUSALS: the template refuses such turns.
        ConfigError: there are several templates, and none is for plain chats.
    """
    ours = {
        "chat_template": dated(_template(tokenizer)),
        "tokenize": False,
        "add_generation_prompt": generation,
    }
    return tokenizer.apply_chat_template(list(turns), **{**(options or {}), **ours})


def lead_to_answer(tokenizer: Any) -> None:
    """Let the template's generation prompt end where the text of an answer begins.

    A switch for thinking is off unless ``enable_thinking`` is given. A header that the template
    writes before an answer's text is added; thinking that the prompt begins is closed.

    Raises:
        ConfigError: the template leaves out what the user says, or none is for plain chats.
    """
    if not tokenizer.chat_template:
        return
    template = _template(tokenizer)
    if _LED_ON in template:
        return
    if "enable_thinking" in template and not template.startswith(_THINKING_OFF):
        template = _THINKING_OFF + template
        _replace(tokenizer, template)
    question = {"role": "user", "content": QUESTION}
    try:
        asked = render(tokenizer, [question], True)
        answered = render(tokenizer, [question, {"role": "assistant", "content": ANSWER}], False)
    except REFUSALS:  # it may want a system turn; else the first prompt says so
        return
    if QUESTION not in asked:
        raise ConfigError(
            f"{tokenizer.name_or_path}: its chat template writes nothing of a question that is "
            "plain text: give the model a template for texts, or take another one"
        )
    before, found, _ = answered.rpartition(ANSWER)
    lacking = _lacking(asked, before) if found else ""
    if lacking:
        more = f"{_LED_ON}{{{{ {json.dumps(lacking)} }}}}{{%- endif %}}"
        _replace(tokenizer, template.removesuffix("\n") + more)


def _template(tokenizer: Any) -> str:
    named = tokenizer.chat_template
    if isinstance(named, dict) and "default" not in named:  # transformers chooses none either
        raise ConfigError(
            f"{tokenizer.name_or_path}: it has chat templates named {', '.join(sorted(named))} and "
            "none named default: name the one for plain chats default in its tokenizer"
        )
    template: str = tokenizer.get_chat_template()
    return template


def _replace(tokenizer: Any, template: str) -> None:
    known = tokenizer.chat_template
    named = isinstance(known, dict)  # templates by what they are for
    tokenizer.chat_template = {**known, "default": template} if named else template


def _lacking(asked: str, before: str) -> str:
    """What follows the generation prompt ``asked`` up to an answer's text.

    Args:
        asked: text of a chat that ends in a question.
        before: text of the same chat answered, up to the answer.
    """
    if before.startswith(asked):
        rest = before.removeprefix(asked)
        return rest if rest.strip(" ") else ""  # a space belongs to the answer's first token
    if before.startswith(asked.rstrip()):
        return before.removeprefix(asked.rstrip()).lstrip()
    opened = _OPENED.search(asked)
    if opened is None:
        return ""
    tag = opened["tag"]
    closed = tag.replace("START_", "END_") if "START_" in tag else f"{tag[0]}/{tag[1:]}"
    return f"\n{closed}\n\n"
