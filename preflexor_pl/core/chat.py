"""The one place that renders chat: training, sampling, evaluation and reasoning all call it.

Prompt and response are tokenised apart and their ids joined, so masks are exact. Text that comes
from outside is made inert on entry (``core.inert``), so whatever special id arises here is ours.
"""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

Turns = Sequence[tuple[str, str]]  # earlier turns: what the user said, what was answered


def chat_ids(
    tokenizer: Any, prompt: str, system_prompt: str | None = None, earlier: Turns = ()
) -> list[int]:
    r"""Token ids of a chat up to where the model starts to answer.

    A tokenizer without a chat template gets ``{system}\n\nUser: {prompt}\nAssistant:`` after its
    bos token, if it has one. A template that knows no system turn gets it in front of the prompt.

    Args:
        tokenizer: a transformers tokenizer.
        prompt: the user's turn, with its trigger if it has one.
        system_prompt: replaces the system turn that the template has built in; None keeps that.
        earlier: turns before the prompt, such as worked examples.
    """
    if not tokenizer.chat_template:
        head = f"{system_prompt}\n\n" if system_prompt else ""
        bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        before = "".join(f"User: {said}\nAssistant: {reply}\n" for said, reply in earlier)
        return bos + encode(tokenizer, f"{head}{before}User: {prompt}\nAssistant:")
    return encode(tokenizer, _render(tokenizer, prompt, system_prompt, earlier))


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of ``text`` alone, without bos or eos; registered markers become their ids."""
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def end_of_turn_id(tokenizer: Any) -> int:
    """The id by which this chat format ends the model's turn, else the tokenizer's eos."""
    if tokenizer.chat_template:
        ids = encode(tokenizer, _render(tokenizer, "x", None, [], answer="y"))
        opening = len(encode(tokenizer, _render(tokenizer, "x", None, [])))
        special = set(tokenizer.all_special_ids)
        for token in ids[opening:]:
            if token in special:
                return token
    return tokenizer.eos_token_id


def _render(
    tokenizer: Any, prompt: str, system: str | None, earlier: Turns, answer: str | None = None
) -> str:
    turns = []
    for said, reply in [*earlier, (prompt, answer)]:
        turns.append({"role": "user", "content": said})
        if reply is not None:
            turns.append({"role": "assistant", "content": reply})
    options = {"tokenize": False, "add_generation_prompt": answer is None}
    if not system:
        return tokenizer.apply_chat_template(turns, **options)
    asked = [{"role": "system", "content": system}, *turns]
    try:
        text = tokenizer.apply_chat_template(asked, **options)
    except TemplateError:  # raised by templates that know no such role
        text = ""
    if system in text:
        return text
    turns[0] = {"role": "user", "content": f"{system}\n\n{turns[0]['content']}"}
    return tokenizer.apply_chat_template(turns, **options)
