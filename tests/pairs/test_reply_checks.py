"""What ends in the middle and what refuses, as strong teachers write it; and what only looks so."""

import pytest

from preflexor_pl.core.generator import Request
from preflexor_pl.pairs.reply_checks import copies_example, refuses, unfinished


@pytest.mark.parametrize(
    "reply",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I can’t assist with that request.",
        "**I'm sorry**, but as an AI I can't",
        "Sorry, I cannot answer this.",
        "We are sorry, we cannot answer.",
        "My apologies, but I can't do that.",
        "I apologize, but I cannot fulfill this request.",
        "I cannot provide an answer to this question.",
        "I can't help.",
        "I'm unable to answer that question based on the context.",
        "I'm not able to write this.",
        "Unfortunately, I am not able to provide this.",
        "I'm afraid I can't do that.",
        "I won't write a wrong answer.",
        "I must decline to answer.",
        "I don't feel comfortable writing this.",
        "I'm just an AI, I can't",
        "As an AI language model, I do not have access.",
        "The provided passage does not contain this information.",
        "Unfortunately, the text does not mention its modulus.",
        "Based on the provided context, I cannot answer this.",
        "There is not enough information to answer.",
        "Es tut mir leid, aber dabei kann ich nicht helfen.",
        "Je suis désolé, mais je ne peux pas répondre.",
        "很抱歉，我无法回答这个问题。",
    ],
)
def test_a_refusal_is_known(reply):
    assert refuses(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "I think the load is shared.",
        "Silk cannot be stretched further.",
        "As an AI-designed alloy, it is tough.",
        "As an aid to memory, I use this.",
        "We cannot separate the two effects, because both scale with L.",
        "We cannot give one modulus, because it depends on humidity.",
        "I-beams cannot provide torsional stiffness.",
        "I cannot be the moment of inertia.",
        "The material does not contain fibres.",
        "There is no information loss in a reversible process.",
        "This question cannot be answered with linear elasticity: take the J-integral.",
        "Based on the rule of mixtures, the modulus is 10 GPa.",
        "From the crystals, I infer that the load is shared.",
        "Sorry states of matter are rare.",
        "A sorry sight: it cannot help but creep.",
    ],
)
def test_an_answer_with_such_words_is_none(reply):
    assert not refuses(reply)


TABLE = "| a | b |\n|---|---|\n"


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("The steps are:", "ends_in_colon"),
        ("**The steps are:**", "ends_in_colon"),
        ("步骤如下：", "ends_in_colon"),
        ("A list:\n1. First one.\n2.", "unfinished_list"),
        ("A list:\n- First\n-", "unfinished_list"),
        ("A list:\n1. First one is so.\n2. The second on", "unfinished_list"),
        ("A list:\n1. First,\n2. Second,", "unfinished_list"),
        ("A list:\n- one way;\n- the other and", "unfinished_list"),
        ("Several:\n\n1. **Crack bridging**:", "unfinished_list"),
        ("Several:\n* **Bridging:** it holds.\n* **Defl", "unfinished_list"),
        ("```python\nx = 1", "unfinished_code"),
        ("It is called `x", "unfinished_code"),
        ("It is $$x = 1", "unfinished_latex"),
        ("It is \\[x = 1", "unfinished_latex"),
        ("It is \\(x", "unfinished_latex"),
        ("The energy is $E = \\frac{1}{2", "unfinished_latex"),
        ("\\begin{align} x", "unfinished_latex"),
        (TABLE, "unfinished_table"),
        ("| a | b |", "unfinished_table"),
        (f"{TABLE}| 1 | 2 |\n| 3", "unfinished_table"),
        (f"{TABLE}| 1 | 2", "unfinished_table"),
        ("a | b\n---|---\n1 |", "unfinished_table"),
        ("It bends, and then,", "unfinished_sentence"),
        ("It bends (", "unfinished_sentence"),
        ("It bends.\n\nThe second reason is the", "unfinished_sentence"),
        ("It has fillers such as", "unfinished_sentence"),
        ("The last point is **very", "unfinished_sentence"),
    ],
)
def test_a_reply_that_ends_in_the_middle_says_of_what(reply, problem):
    assert unfinished(reply) == problem


@pytest.mark.parametrize(
    "reply",
    [
        "It bends.",
        "It bends before it breaks",  # a stop string took the full stop
        "It releases Ca2+",
        "It takes up Cl-",
        "It is what silk is made of",
        "It needs vitamin A",
        "Either:\n1. First\n2. Second",
        "Either:\n- silk\n- nacre",
        "Either:\n1. First one.\n2. Second one.\n\nSo it holds",
        "- One: it bends.\n- Two: it breaks.",
        f"{TABLE}| 1 | 2 |",
        f"{TABLE}| 1 | 2 |\n\nIt is stiff.",
        "a | b\n---|---\n1 | 2",
        "It has |x| < 1 and |y| > 2.",
        "The load $P$ costs $5 or so.",
        "$$E = mc^2$$",
        r"\[ a \\[2pt] b \]",
        r"x = \left. y \right|_0",
        "```\n- [\n```",
        "Use `a[` and `b`.",
        "E. coli swims.",
        "Where **E** is 2**3.",
        "The ratio is 3:1",
    ],
)
def test_a_whole_reply_is_left_alone(reply):
    assert unfinished(reply) == ""


SHOWN = "Steel bars carry the tension. They last."


@pytest.mark.parametrize(
    ("reply", "stop", "copied"),
    [
        (SHOWN, (), True),
        ("  steel bars\ncarry THE tension.  They last", (), True),
        (f"Answer: {SHOWN}", (), True),
        ("Steel bars carry the tension", (". ",), True),  # as far as the stop string lets it go
        ("Steel bars carry the tension", (), False),
        (f"{SHOWN} So do fibres.", (), False),
        ("", (), False),
        ("Wrong, because", (), False),
    ],
)
def test_a_worked_example_said_again_is_a_copy(reply, stop, copied):
    examples = (("Why?", "Other."), ("Why?", SHOWN))
    assert copies_example(reply, Request("How?", examples=examples, stop=stop)) == copied


def test_a_word_that_is_an_examples_too_is_no_copy():
    assert not copies_example("Wrong.", Request("So?", examples=(("So?", "Wrong."),)))
