"""Lines of progress where there is no terminal."""

from preflexor_pl.core import progress
from preflexor_pl.core.progress import stages


def test_a_stage_ends_where_the_next_one_begins(capsys):
    with stages() as report:
        for done in (1, 2, 3):
            report("reading", done, 0)
        report("embedding", 4, 9)
        report("embedding", 9, 9)
    lines = [line.split(" · ")[0].strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["reading: 3", "embedding: 9/9"]


def test_a_stage_of_unknown_length_shows_where_it_is(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)
    with stages() as report:
        report("reading", 1, 0)
        report("reading", 2, 0)
    lines = [line.split(" · ")[0].strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["reading: 1", "reading: 2", "reading: 2"]


def test_nothing_to_report(capsys):
    with stages():
        pass
    assert capsys.readouterr().out == ""
