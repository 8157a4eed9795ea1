"""Replies as teachers of all sizes write them, and the question that stands in each."""

import pytest

from preflexor_pl.pairs.question_reply import asked_before_cut, read_question

MUSSEL = (
    "How does the mussel foot protein mfp-5 keep its adhesive chemistry at pH 8.2 while resisting "
    "oxidation of DOPA?"
)
PREMISE = (
    "Nacre combines 95 % aragonite with 5 % protein and is about 3,000 times tougher than its "
    "mineral. Which mechanisms make this possible, and at which length scale does each of them act?"
)
EXPLAIN = (
    "Explain how the hierarchical structure of bone, from collagen fibrils to osteons, deflects "
    "cracks and thereby raises its fracture toughness."
)
LATEX = (
    r"How does the critical stress $\sigma_c = K_{Ic} / (Y \sqrt{\pi a})$ change if a flaw of "
    r"length $a = 0.5\,\mu\mathrm{m}$ is arrested at a protein layer?"
)
STEM = "Consider a spider-silk dragline that is loaded at 1.0 s^-1 in humid air."
PARTS = [
    "(a) How does water change its glass transition?",
    "(b) Estimate the loss of stiffness at 70 % relative humidity.",
]
TRADE = "What trade-off between stiffness and toughness limits double-network hydrogels?"

WHOLE = {
    MUSSEL: MUSSEL,
    "Why does E. coli form biofilms on titanium implants?": (
        "Why does E. coli form biofilms on titanium implants?"
    ),
    "How do proteins, e.g. resilin and elastin, store energy at low loss?": (
        "How do proteins, e.g. resilin and elastin, store energy at low loss?"
    ),
    "How does the model of Gao et al. (2003) explain why nanoscale platelets ignore flaws?": (
        "How does the model of Gao et al. (2003) explain why nanoscale platelets ignore flaws?"
    ),
    "Why does the curve in Fig. 3 flatten beyond 2.5 MPa?": (
        "Why does the curve in Fig. 3 flatten beyond 2.5 MPa?"
    ),
    PREMISE: PREMISE,
    PREMISE.replace(" Which", "\n\nWhich"): PREMISE,
    EXPLAIN: EXPLAIN,
    f"**{EXPLAIN}**": EXPLAIN,
    "Derive the scaling of adhesion strength with contact size for a gecko spatula.": (
        "Derive the scaling of adhesion strength with contact size for a gecko spatula."
    ),
    "Compare the energy dissipation of tendon (ca. 10 %) and of mussel byssus (ca. 70 %).": (
        "Compare the energy dissipation of tendon (ca. 10 %) and of mussel byssus (ca. 70 %)."
    ),
    "Using Griffith's theory, estimate the flaw size below which aragonite is strong.": (
        "Using Griffith's theory, estimate the flaw size below which aragonite is strong."
    ),
    "According to Griffith's criterion, at which flaw size does a 2 nm platelet fail?": (
        "According to Griffith's criterion, at which flaw size does a 2 nm platelet fail?"
    ),
    LATEX: LATEX,
    "\n".join([STEM, *PARTS]): "\n".join([STEM, *PARTS]),
    "\n\n".join(["Sure! Here's a question:", STEM, *PARTS]): "\n".join([STEM, *PARTS]),
    "Which of the following toughens bone most?\n- crack bridging\n- microcracking": (
        "Which of the following toughens bone most?\n- crack bridging\n- microcracking"
    ),
    "How does freeze casting set the lamellar spacing? Discuss with reference to the velocity of "
    "the ice front.": (
        "How does freeze casting set the lamellar spacing? Discuss with reference to the velocity "
        "of the ice front."
    ),
    "What limits self-healing in vitrimers? How could a faster exchange reaction raise it?": (
        "What limits self-healing in vitrimers? How could a faster exchange reaction raise it?"
    ),
    "How far does a 10 N load stretch the fibre? Assume a modulus of 5 GPa.": (
        "How far does a 10 N load stretch the fibre? Assume a modulus of 5 GPa."
    ),
    # what stands around it
    f"Question: {MUSSEL}": MUSSEL,
    f"**Question:** {MUSSEL}": MUSSEL,
    f"### Question\n\n{MUSSEL}": MUSSEL,
    f"**Q1.** {MUSSEL}": MUSSEL,
    f"1. {MUSSEL}": MUSSEL,
    f"Expert-level question: {MUSSEL}": MUSSEL,
    f"**{TRADE}**": TRADE,
    f"“{TRADE}”": TRADE,
    f"> {TRADE}": TRADE,
    f"Here is a challenging question based on the context:\n\n{TRADE}": TRADE,
    f"Certainly! Here's one that an expert could answer:\n\n{TRADE}": TRADE,
    f'Sure. A good question would be: "{TRADE}"': TRADE,
    f'One possible question is "{TRADE}"': TRADE,
    f"{TRADE}\n\n*This question tests whether the reader can weigh the two networks.*": TRADE,
    f"{TRADE}\n\nAnswer: The sacrificial network breaks first.": TRADE,
    f"{TRADE} This question requires knowledge of sacrificial bonds.": TRADE,
    f"Here are three questions:\n\n1. {TRADE}\n2. {MUSSEL}\n3. Why is silk tough?": TRADE,
    f"**Question 1:** {TRADE}\n\n**Question 2:** {MUSSEL}": TRADE,
    f"{TRADE}\n\n{MUSSEL}": TRADE,
    f"{TRADE}\n\nAlternatively: {MUSSEL}": TRADE,
    "pH-responsive gels swell. Why does *ionic strength* limit __how far__ they do?": (
        "pH-responsive gels swell. Why does ionic strength limit how far they do?"
    ),
    "how does mRNA fold in a crowded cell?": "How does mRNA fold in a crowded cell?",
    f"Question 1\n{TRADE}\n\nQuestion 2\n{MUSSEL}": TRADE,
    f"Topic: gels\nQuestion: {TRADE}": TRADE,
    f"<question>{TRADE}</question>": TRADE,
    f"{TRADE}\n\nLet me know if you would like another one!": TRADE,
    f"{TRADE} (Hint: think of sacrificial bonds.)": TRADE,
    "Why is silk so tough yet light?!": "Why is silk so tough yet light?!",
    "  How  does nacre\tresist cracks? Because": "How does nacre resist cracks?",
    "Good.\nHow does nacre resist cracks?": "How does nacre resist cracks?",
    "Q: How does nacre resist cracks?": "How does nacre resist cracks?",
    "Why is the answer of mussels glue?": "Why is the answer of mussels glue?",
    # other languages
    "为什么珍珠层比纯文石坚韧得多？": "为什么珍珠层比纯文石坚韧得多？",
    "珍珠层含有5%的蛋白质。它如何阻止裂纹扩展？在水中会怎样？": (
        "珍珠层含有5%的蛋白质。它如何阻止裂纹扩展？在水中会怎样？"
    ),
    "好的！以下是一个问题：\n为什么珍珠层比纯文石坚韧得多？": "为什么珍珠层比纯文石坚韧得多？",
    "请解释蜘蛛丝在潮湿空气中收缩的机理。": "请解释蜘蛛丝在潮湿空气中收缩的机理。",
    "真珠層はなぜ亀裂に強いのですか。": "真珠層はなぜ亀裂に強いのですか。",
    "クモの糸が湿った空気中で縮む理由を説明してください。": (
        "クモの糸が湿った空気中で縮む理由を説明してください。"
    ),
    "لماذا يكون عرق اللؤلؤ أقوى من الأراغونيت؟": "لماذا يكون عرق اللؤلؤ أقوى من الأراغونيت؟",
    "Γιατί το μετάξι της αράχνης είναι τόσο ανθεκτικό;": (
        "Γιατί το μετάξι της αράχνης είναι τόσο ανθεκτικό;"
    ),
    "¿Por qué es tan resistente la seda de araña?": "¿Por qué es tan resistente la seda de araña?",
    "Pregunta: ¿Por qué es tan resistente la seda?": "¿Por qué es tan resistente la seda?",
    "Erläutern Sie, wie ca. 5 % Protein die Zähigkeit von Perlmutt erhöhen.": (
        "Erläutern Sie, wie ca. 5 % Protein die Zähigkeit von Perlmutt erhöhen."
    ),
    "Почему паутина прочнее стали при той же массе?": (
        "Почему паутина прочнее стали при той же массе?"
    ),
    "ทำไมใยแมงมุมจึงแข็งแรงมาก": "ทำไมใยแมงมุมจึงแข็งแรงมาก",
    "मोती की परत दरारों को कैसे रोकती है?": "मोती की परत दरारों को कैसे रोकती है?",
    "왜 거미줄은 강철보다 질긴가요?": "왜 거미줄은 강철보다 질긴가요?",
}


@pytest.mark.parametrize("reply", WHOLE)
def test_the_question_is_taken_whole_and_nothing_else(reply):
    assert read_question(reply) == (WHOLE[reply], "")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I cannot write a question about this topic.", "refusal"),
        ("I'm sorry, but I can't help with that. Could I ask something else?", "refusal"),
        ("Could you please provide the passage you are referring to?", "refusal"),
        ("抱歉，我无法回答。您能提供更多信息吗？", "refusal"),
        ("Explain how the hierarchical structure of bone deflects", "not_a_question"),
        ("How does the mussel foot protein keep its adhesive", "not_a_question"),
        ("Nacre is a composite of aragonite and protein.", "not_a_question"),
        ("Design principles of nacre include layering and bridging.", "not_a_question"),
        ("Consider a beam of bone under bending.", "not_a_question"),
        ("Compare the following properties of nacre and bone:", "ends_in_colon"),
        (
            "Compare nacre and bone in two respects:\n1. The bridges between tablets\n2.",
            "unfinished_list",
        ),
        ("According to the passage, why is nacre tough?", "question_mentions_source"),
        ("Why did the authors use a humid chamber?", "question_mentions_source"),
        ("What was the main result of the tests in this study?", "question_mentions_source"),
        ("Wie wirkt laut dem Text das Protein im Perlmutt?", "question_mentions_source"),
        ("根据上述文章，珍珠层为什么坚韧？", "question_mentions_source"),
        ("Selon le texte, pourquoi la nacre est-elle tenace ?", "question_mentions_source"),
        ("", "not_a_question"),
        ("?", "question_too_short"),
        ("Why is nacre?", "question_too_short"),
        ("What does the given text say about nacre?", "question_mentions_source"),
        ("According to experts, how does nacre break?", "question_mentions_source"),
        ("How does this resist the cracks?", "question_not_standalone"),
        ("How strong is the material in water?", "question_not_standalone"),
        ("丝是什么？", "question_too_short"),
        ("What happens to the strength of this material in water?", "question_not_standalone"),
    ],
)
def test_what_is_no_whole_question_by_itself_is_refused(reply, reason):
    assert read_question(reply)[1] == reason


def test_in_the_context_of_a_subject_is_no_mention_of_a_source():
    asked = "How do sacrificial bonds act in the context of double networks?"
    assert read_question(asked) == (asked, "")


def test_more_than_three_questions_in_a_row_are_a_list_of_them():
    one = "Why is silk so tough?"
    assert read_question(" ".join([one] * 4)) == (one, "")
    assert read_question(" ".join([one] * 3)) == (" ".join([one] * 3), "")


@pytest.mark.parametrize(
    ("cut", "kept"),
    [
        ("How does silk hold a spider? It", "How does silk hold a spider?"),
        ("Silk holds at pH 8.2. Why does it", ""),
        ("Explain how silk works at pH 8.", ""),
        ("为什么丝很强韧？因为它的", "为什么丝很强韧？"),
    ],
)
def test_of_a_reply_that_was_cut_only_a_question_before_the_cut_is_read(cut, kept):
    assert asked_before_cut(cut) == kept


ASKED = "How does water soften silk at pH 8.2?"


@pytest.mark.parametrize(
    "reply",
    [
        f'{{"question": "{ASKED}"}}',
        f'```json\n{{"question": "{ASKED}", "answer": "By hydrogen bonds."}}\n```',
        f'{{"questions": ["{ASKED}", "Why?"]}}',
        f'[{{"id": 1, "Question": "{ASKED}"}}]',
        f"```\n{ASKED}\n```",
        f"\\boxed{{{ASKED}}}",
        f"$\\boxed{{\\text{{{ASKED}}}}}$",
        f"[QUESTION] {ASKED} [/QUESTION]",
        f"»{ASKED}«",
        f"„{ASKED}”",
        f"『{ASKED}』",
    ],
)
def test_a_question_is_taken_out_of_what_it_is_wrapped_into(reply):
    assert read_question(reply) == (ASKED, "")


@pytest.mark.parametrize("odd", ["{", "[]", "{}", "[[[]]]", '{"question": null}', "[" * 100_000])
def test_json_without_a_question_is_none(odd):
    assert read_question(odd) == ("", "not_a_question")


@pytest.mark.parametrize(
    "asked",
    [
        "How does the spinning speed change the strength of silk.",
        "Why is nacre tougher than aragonite in water.",
        "What is the role of water in spider silk.",
        "What mechanisms do mussels use to adhere under water.",
    ],
)
def test_a_question_may_end_in_a_full_stop(asked):
    assert read_question(asked) == (asked, "")


@pytest.mark.parametrize(
    "said",
    [
        "What silk does in water is remarkable.",
        "How it works has been known for years.",
        "Why Nature Is Tough",
        "How does the mussel foot protein keep its adhesive",
    ],
)
def test_a_statement_that_begins_with_a_question_word_is_no_question(said):
    assert read_question(said)[1] == "not_a_question"
