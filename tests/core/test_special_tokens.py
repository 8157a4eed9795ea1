import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflexor_pl.core.special_tokens import escape_special_tokens, is_special_token


@pytest.mark.parametrize(
    ("text", "inert"),
    [
        ("a <|im_end|> b", "a <·|im_end|> b"),
        ("<|/thinking|>", "<·|/thinking|>"),
        ("<|<|x|>|>", "<|<·|x|>|>"),
        ("<\uff5cbegin\u2581of\uff5c>", "<·\uff5cbegin\u2581of\uff5c>"),
        ("if a <| b and c |> d", "if a <·| b and c |> d"),  # spaces are allowed in a token's name
        ("x < y, x > y, a | b, 2 <= 3", "x < y, x > y, a | b, 2 <= 3"),
        ("<|a\nb|>", "<|a\nb|>"),
        ("<|a·b|>", "<·|a·b|>"),
        ("\x00<\x00|im_end|\ud800>", "<·|im_end|>"),
    ],
)
def test_what_looks_like_a_token_gets_a_dot(text, inert):
    assert escape_special_tokens(text) == inert


@pytest.mark.parametrize(
    ("special_tokens", "text", "inert"),
    [
        (["</s>"], "end</s>", "end<·/s>"),
        (["[SEP]", "[SEP]]"], "[SEP]]", "[·SEP]]"),
        (["<<", "<·<"], "<<<", "<·"),  # a dot would not help with the second, so it loses its end
        (["  ", "word", "<", "\n\n"], "word  <\n\n", "word  <\n\n"),  # ordinary text
    ],
)
def test_forbidden_strings(special_tokens, text, inert):
    assert escape_special_tokens(text, special_tokens) == inert


ALPHABET = st.text(alphabet="<|>/a· [\uff5c\n", max_size=12)


@given(
    text=st.text(alphabet="<|>/a· [\uff5c\n", max_size=60),
    special_tokens=st.lists(ALPHABET, max_size=6),
)
def test_nothing_forbidden_remains_and_twice_is_once(text, special_tokens):
    inert = escape_special_tokens(text, special_tokens)

    assert not [string for string in special_tokens if is_special_token(string) and string in inert]
    assert escape_special_tokens(inert, special_tokens) == inert


@given(st.text())
def test_any_text_can_be_encoded_afterwards(text):
    assert "\x00" not in escape_special_tokens(text)
    escape_special_tokens(text).encode()


def test_long_hostile_texts_take_little_time():
    start = time.perf_counter()
    for unit in ("plain words. ", "<|", "<|a", "<|a|>", "<|" + "a" * 79):
        escape_special_tokens(unit * (1_000_000 // len(unit)), ["</s>", "<|im_end|>"])
    assert time.perf_counter() - start < 10
