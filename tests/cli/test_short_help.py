"""``--help`` is one screen; ``--help_all`` has every key."""

import re

import pytest
from jsonargparse import ArgumentParser

from preflexor_pl.cli import short_help
from preflexor_pl.core.settings import Sampling


@pytest.fixture
def shown(train, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")

    def shown(flag):
        with pytest.raises(SystemExit) as ended:
            train(flag)
        assert ended.value.code == 0
        return capfd.readouterr().out.splitlines()

    return shown


def test_help_is_one_screen_and_help_all_has_every_key(shown):
    brief, every = shown("--help"), shown("--help_all")
    assert len(brief) <= 45
    assert max(map(len, brief)) <= 100
    assert brief[0] == "usage: python -m preflexor_pl.fit --config FILE [--KEY VALUE ...]"
    assert "--help_all" in brief[-1]
    keys = [line for line in brief if line.startswith("  --")]
    assert len(keys) == sum(map(len, short_help.KEYS.values()))
    assert all(re.fullmatch(r"  --\S+( \S+)?  +\S.*", line) for line in keys)  # each is explained
    assert "  --data.pairs_per_round 32           pairs wanted of each round" in brief
    assert "--trainer.sync_batchnorm" not in "".join(brief)
    assert "--trainer.sync_batchnorm" in "".join(every)
    assert every[0] == brief[0]
    assert len(every) > 400


def test_a_line_is_the_first_sentence_or_what_has_room(monkeypatch):
    monkeypatch.setattr(short_help, "KEYS", {"All": ["s.top_k", "s.temperature", "name"]})
    monkeypatch.setenv("COLUMNS", "10")  # 80 at least
    parser = ArgumentParser(usage="it")
    parser.add_argument("--s", type=Sampling)
    parser.add_argument("--name", default="x", help=f"One, two. {'Three ' * 9}")
    assert short_help.short_help(parser).splitlines()[2:-2] == [
        "All:",
        "  --s.top_k 50         draw from the k likeliest tokens",
        "  --s.temperature 0.7  0 takes the likeliest token",
        "  --name x             One, two",
    ]
    assert short_help._clause("one two, three", 10) == "one two…"
