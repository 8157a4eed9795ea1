"""Renders chat, for training, sampling, evaluation and reasoning alike.

Prompt and response are tokenised separately and their ids joined, so masks are exact. Untrusted
text is escaped on entry (``core.special_tokens``), so every special id that arises here is ours.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from preflexor_pl.core.chat_template import ANSWER, QUESTION, REFUSALS, Turn, render
from preflexor_pl.core.errors import ConfigError

Turns = Sequence[tuple[str, str]]  # earlier turns: what the user said, what was answered

KEY = "model.policy.end_of_turn"

_SYSTEM, _NEXT = "Qsystemq", "Qnextq"  # words, as ANSWER
# By template and roles of the other turns; without it every chat would be rendered twice.
_system_turns: dict[tuple[str, tuple[str, ...]], bool] = {}


def chat_ids(
    tokenizer: Any,
    prompt: str,
    system_prompt: str | None = None,
    earlier: Turns = (),
    template_options: Mapping[str, Any] | None = None,
) -> list[int]:
    r"""Token ids of a chat up to where the model starts to answer.

    A tokenizer without a chat template gets ``{system}\n\nUser: {prompt}\nAssistant:`` after its
    bos token, if it has one. A template that knows no system turn gets it in front of the prompt.

    Args:
        tokenizer: a transformers tokenizer.
        prompt: the user's turn, with its trigger if it has one.
        system_prompt: replaces the system turn that the template has built in; None keeps that.
        earlier: turns before the prompt, such as worked examples.
        template_options: what the template is told besides; one that knows no such name ignores it.

    Raises:
        ConfigError: the template does not take the chat.
    """
    if not tokenizer.chat_template:
        head = f"{system_prompt}\n\n" if system_prompt else ""
        bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        before = "".join(f"User: {said}\nAssistant: {reply}\n" for said, reply in earlier)
        return bos + encode(tokenizer, f"{head}{before}User: {prompt}\nAssistant:")
    turns = chat_turns(tokenizer, prompt, system_prompt, earlier)
    try:
        text = render(tokenizer, turns, generation=True, options=template_options)
    except REFUSALS as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{tokenizer.name_or_path}: its chat template does not take a chat of "
            f"{', '.join(turn['role'] for turn in turns)} ({reason}): mend it"
        ) from error
    return encode(tokenizer, text)


def chat_turns(
    tokenizer: Any, prompt: str, system_prompt: str | None = None, earlier: Turns = ()
) -> list[Turn]:
    """The turns of a chat as this tokenizer's template takes them; arguments as ``chat_ids``."""
    turns = []
    for said, reply in earlier:
        turns += [{"role": "user", "content": said}, {"role": "assistant", "content": reply}]
    turns.append({"role": "user", "content": prompt})
    if not system_prompt:
        return turns
    if _takes_system(tokenizer, turns):
        return [{"role": "system", "content": system_prompt}, *turns]
    first = {"role": "user", "content": f"{system_prompt}\n\n{turns[0]['content']}"}
    return [first, *turns[1:]]


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of ``text`` alone, without bos or eos; registered markers become their ids."""
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def end_of_turn_id(
    tokenizer: Any, stops: Collection[int] = (), given: str | None = None, name: str = "the model"
) -> int:
    """The id that ends an answer: taught at the end of chosen responses.

    Args:
        tokenizer: as for :func:`turn_ends`.
        stops: as for :func:`turn_ends`.
        given: as for :func:`turn_ends`.
        name: of the model.

    Raises:
        ConfigError: it cannot be told which it is, or there is none; names the key that settles it.
    """
    ends = turn_ends(tokenizer, stops, given)
    if not ends:
        raise ConfigError(f"{KEY}: {name} has no token that ends an answer: set it to one")
    if len(ends) > 1:
        may_be = " or ".join(tokenizer.convert_ids_to_tokens(ends))
        raise ConfigError(
            f"{KEY}: {name} may end an answer in {may_be}: its chat template and its "
            "generation_config do not agree on one: set it to the one that is right"
        )
    return ends[0]


def turn_ends(tokenizer: Any, stops: Collection[int], given: str | None = None) -> list[int]:
    """The ids that may end an answer, the likeliest first: one where it is plain, or none.

    It is what follows an answer's text in the chat template, before a further question and at the
    end, checked against the ids at which the model stops by itself. A token that stands before
    the next question alone may begin that question's turn.

    Args:
        tokenizer: with its chat template, if it has one.
        stops: ids at which the model stops by itself: ``generation_config.eos_token_id``.
        given: the token, where it is known.

    Raises:
        ConfigError: ``given`` is not one token.
    """
    if given is not None:
        return [_one_token(tokenizer, given)]
    eos = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    between, last = (_after_answer(tokenizer, more) for more in (True, False))
    own = eos or sorted(stops)
    following, end = (_first_added(tokenizer, text) for text in (between, last))
    each_alike = following is not None and following == end  # what else stands last ends the chat
    for text in [between] if each_alike else [between, last]:
        for token in encode(tokenizer, text):
            if token in {*stops, *eos}:
                return [token]
    if end is not None:
        if following is None or following == end:
            return [end]
        return list(dict.fromkeys([following, end, *eos]))
    if following is None or last.strip():  # the template ends an answer in plain text, or in none
        return own
    if following not in encode(tokenizer, _before_question(tokenizer)):
        return [following]
    return own if stops else [following, *own]


def _takes_system(tokenizer: Any, turns: list[Turn]) -> bool:
    """Whether the template writes a system turn; found out once for each sequence of roles."""
    key = str(tokenizer.chat_template), tuple(turn["role"] for turn in turns)
    if key not in _system_turns:
        _system_turns[key] = _writes_system(tokenizer, turns)
    return _system_turns[key]


def _writes_system(tokenizer: Any, turns: list[Turn]) -> bool:
    """Whether a rendered chat holds its system turn.

    Looked for by a word of its own: the system's text itself may be trimmed, escaped, or part of
    what another turn says.
    """
    try:
        text = render(tokenizer, [{"role": "system", "content": _SYSTEM}, *turns], generation=True)
    except REFUSALS:  # it knows no such role
        return False
    return _SYSTEM in text


def _one_token(tokenizer: Any, given: str) -> int:
    known = tokenizer.get_vocab().get(given)
    ids = encode(tokenizer, given) if known is None else [known]
    if len(ids) != 1:
        raise ConfigError(
            f"{KEY}: {given!r} is not one token of the model's tokenizer but {len(ids)}: "
            "give a token such as <|im_end|>"
        )
    return ids[0]


def _after_answer(tokenizer: Any, more: bool) -> str:
    """What follows an answer's text; ``more``: up to the next question's."""
    following = [_turn("user", _NEXT)] if more else []
    text = _rendered(tokenizer, [_turn("user", QUESTION), _turn("assistant", ANSWER), *following])
    _, found, tail = text.rpartition(ANSWER)
    return tail.partition(_NEXT)[0] if found else ""


def _before_question(tokenizer: Any) -> str:
    """What precedes the first question's text: what begins a turn is in it."""
    return _rendered(tokenizer, [_turn("user", QUESTION)]).partition(QUESTION)[0]


def _first_added(tokenizer: Any, text: str) -> int | None:
    """The first token of ``text`` that is no part of the ordinary vocabulary."""
    added = {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}
    return next((token for token in encode(tokenizer, text) if token in added), None)


def _rendered(tokenizer: Any, turns: list[dict[str, str]]) -> str:
    if not tokenizer.chat_template:
        return ""
    try:
        return render(tokenizer, turns, generation=False)
    except REFUSALS:
        return ""


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
