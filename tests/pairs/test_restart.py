"""A round whose process dies anywhere ends as one left alone, and repeats no recorded call."""

from collections import Counter
from contextlib import suppress

import pytest

from tests.scripted import Killed, Scripted, make_round, scripted_maker

SCRIPT = {
    ("question", "nacre", False): "Nacre is strong.",
    ("thinking", "silk", False): "",
    ("answer", "bone", False): "",
    ("answer", "bone", True): "",
    ("rejected", "gecko", False): "",
}


def play(folder, lives):
    """Make a round of 4 pairs with two generators that die together after ``lives`` batches."""
    shared = [lives]
    speakers = [
        Scripted(name, lambda *said: SCRIPT.get(said), lives=shared)
        for name in ("teacher", "policy")
    ]
    maker = scripted_maker(*speakers)
    with suppress(Killed):
        make_round(maker, folder, 4, 0)
    return shared[0], speakers[0].asked + speakers[1].asked


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    left, asked = play(folder, 1000)
    return folder, 1000 - left, asked


def test_the_script_has_drops_and_second_tries(undisturbed):
    folder, batches, asked = undisturbed
    assert batches > 12
    assert len((folder / "pairs.jsonl").read_text().splitlines()) == 4
    assert len((folder / "drops.jsonl").read_text().splitlines()) == 2
    assert max(Counter(asked).values()) == 1


def test_a_kill_before_any_batch_changes_nothing(undisturbed, tmp_path):
    whole, batches, asked = undisturbed
    for n in range(batches):
        folder = tmp_path / str(n)
        left, first = play(folder, n)
        assert left == 0
        assert not (folder / "manifest.json").exists()
        _, second = play(folder, 1000)
        assert Counter(first + second) == Counter(asked)  # nothing missing, nothing twice
        for name in ("pairs.jsonl", "drops.jsonl", "manifest.json", "plan.json"):
            assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_a_batch_that_was_half_written_is_made_again_whole(undisturbed, tmp_path):
    whole, _, asked = undisturbed
    _, first = play(tmp_path, 1)
    assert len(first) == 2
    calls = tmp_path / "calls.jsonl"
    calls.write_bytes(calls.read_bytes()[:-30])  # the second of two lines
    _, again = play(tmp_path, 1000)
    assert again == asked
    assert (tmp_path / "pairs.jsonl").read_bytes() == (whole / "pairs.jsonl").read_bytes()


def test_a_kill_while_the_round_is_finished_changes_nothing(undisturbed, tmp_path):
    whole, _, _ = undisturbed
    play(tmp_path, 1000)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "pairs.jsonl").write_text("half a li")
    left, asked = play(tmp_path, 1000)
    assert (left, asked) == (1000, [])
    assert (tmp_path / "pairs.jsonl").read_bytes() == (whole / "pairs.jsonl").read_bytes()
