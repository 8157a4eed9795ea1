"""What of a round's pairs stands in the row of the policy that was trained on them."""

from dataclasses import replace
from types import SimpleNamespace

from preflexor_pl.callbacks.evaluate_rounds import _pair_metrics
from preflexor_pl.pairs.journal import Journal
from preflexor_pl.pairs.round_facts import facts_of
from preflexor_pl.pairs.round_folders import round_folder
from tests.tiny import PAIR


def test_a_row_tells_of_the_pairs_of_the_round_before_it(tmp_path):
    pairs = [replace(PAIR, grounding=0.5, invented_numbers=1)]
    Journal(round_folder(tmp_path, 0)).finish(pairs, [], facts_of(pairs, []))
    data = SimpleNamespace(run=tmp_path)
    assert _pair_metrics(data, 0) == _pair_metrics(data, 2) == {}
    told = _pair_metrics(data, 1)
    assert (told["pairs/grounding"], told["pairs/invented_numbers"]) == (0.5, 1)
