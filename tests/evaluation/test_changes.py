"""What stands in the first block, in which order, and what it says."""

from preflexor_pl.evaluation.changes import Change, few_documents_note, what_got_worse
from preflexor_pl.evaluation.significance import paired_difference

TWELVE = [f"{i}.md" for i in range(12)]


def change(label, first, second, better=1, documents=TWELVE):
    return Change(label, paired_difference(first, second, documents), better, True)


def test_what_fell_beyond_chance_is_listed_the_surest_first():
    block = what_got_worse(
        [
            change("rose", [0] * 12, [1] * 12),
            change("fell", [1] * 12, [0] * 6 + [1] * 6),
            change("fell more", [1] * 12, [0] * 12),
            change("fell by chance", [1] * 12, [0] * 5 + [1] * 7),  # p = 2/32
            change("rose, and should not", [0] * 12, [1] * 12, better=-1),
        ],
        "After",
    )
    lines = block.splitlines()
    assert lines[0] == "## What got worse"
    assert [line.split(":")[0] for line in lines[2:]] == [
        "- fell more",
        "- rose, and should not",
        "- fell",
    ]
    assert lines[2] == (
        "- fell more: 100.0 % -> 0.0 % (-100.0 [-100.0, -100.0], n = 12 on 12 documents, p < 0.001)"
    )
    assert lines[4].endswith("n = 12 on 12 documents, p = 0.031)")  # 2/2^6


def test_nothing_worse_and_nothing_known_are_told_apart():
    same = what_got_worse([change("same", [1, 0] * 6, [1, 0] * 6)], "After exo")
    assert "After exo: nothing of 1 measures, beyond chance." in same
    assert "no values of the same questions are on record" in what_got_worse([], "After exo")


def test_few_documents_note_are_said_to_be_few():
    block = what_got_worse([change("m", [1] * 4, [0] * 4, documents=list("abcd"))], "After")
    assert "about 4 documents: chance alone moves all 4 to one side once in 8 cases" in block
    alone = what_got_worse([change("m", [1] * 4, [0] * 4, documents=["a"] * 4)], "After")
    assert "about one document: without a second one no interval is known" in alone
    assert few_documents_note([12, 24]) == ""
    assert few_documents_note([]) == ""
