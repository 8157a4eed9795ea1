"""Questions that were asked before."""

import numpy as np

from preflexor_pl.pairs.questions import EmbeddingCache, QuestionDeduplicator

# cosines with "why?": 0.96, 0.94, 0
VECTORS = {"why?": [1, 0], "how so?": [0.96, 0.28], "what?": [0.94, 0.3412], "who?": [0, 2]}


def embed(texts):
    return np.array([VECTORS[text] for text in texts], np.float32)


def test_a_question_is_known_by_its_words_whatever_their_case_and_spaces():
    asked = QuestionDeduplicator(["Why is it so?"], None)
    assert not asked.add("why is  it SO?")
    assert asked.add("Why not?")
    assert not asked.add("Why not?")


def test_a_question_is_known_by_its_meaning_from_a_cosine_of_095_on():
    asked = QuestionDeduplicator(["why?"], embed)
    assert not asked.add("how so?")
    assert asked.add("what?")
    assert asked.add("who?")


def test_what_was_added_counts_and_what_was_refused_does_not():
    asked = QuestionDeduplicator([], embed)
    assert asked.add("how so?")
    assert not asked.add("why?")
    assert asked.add("who?")


def test_a_vector_that_is_none_matches_nothing():
    asked = QuestionDeduplicator(["a"], lambda texts: np.full((len(texts), 2), np.nan, np.float32))
    assert asked.add("b")
    zero = QuestionDeduplicator(["a"], lambda texts: np.zeros((len(texts), 2), np.float32))
    assert zero.add("b")


def test_every_text_is_embedded_once_and_together_with_the_others():
    batches = []

    def counted(texts):
        batches.append(list(texts))
        return embed(texts)

    meanings = EmbeddingCache(counted)
    assert meanings(["why?", "who?", "why?"]).tolist() == [[1, 0], [0, 2], [1, 0]]
    assert meanings(["what?", "who?"]).shape == (2, 2)
    assert batches == [["why?", "who?"], ["what?"]]
