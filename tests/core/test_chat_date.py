from datetime import date

import pytest

from preflexor_pl.core import chat_date
from preflexor_pl.core.chat import chat_ids
from preflexor_pl.core.chat_date import DATE_FILE, pin_date
from preflexor_pl.core.errors import ConfigError
from tests.tiny import TEMPLATE, letters, tiny_tokenizer

DATED = "Today: {{ strftime_now('%d %b %Y') + ', ' + strftime_now('%-d %B %A %y%m') }}\n" + TEMPLATE
LLAMA = (
    "{% if not date_string is defined %}{% if strftime_now is defined %}{% set date_string = "
    "strftime_now('%d %b %Y') %}{% endif %}{% endif %}{{ date_string }}|" + TEMPLATE
)


@pytest.fixture(autouse=True)
def nothing_pinned(monkeypatch):
    monkeypatch.setattr(chat_date, "_pinned", None)


def on(monkeypatch, day):
    class Clock(date):
        @classmethod
        def today(cls):
            return cls(*day)

    monkeypatch.setattr(chat_date, "date", Clock)


def first_line(template):
    tokenizer = tiny_tokenizer(template)
    return letters(tokenizer, chat_ids(tokenizer, "Why?")).split("\n")[0]


def test_a_template_states_today(monkeypatch):
    on(monkeypatch, (2026, 3, 7))
    assert first_line(DATED) == "Today: 07 Mar 2026, 7 March Saturday 2603"
    assert first_line(LLAMA).startswith("07 Mar 2026|")


def test_a_run_keeps_the_day_on_which_it_began(tmp_path, monkeypatch):
    on(monkeypatch, (2026, 3, 7))
    pin_date(tmp_path, begins=True)
    began = first_line(DATED)
    on(monkeypatch, (2026, 3, 8))
    assert first_line(DATED) == began
    pin_date(tmp_path, begins=True)  # resumed the next day
    assert first_line(DATED) == began
    assert (tmp_path / DATE_FILE).read_text() == "2026-03-07\n"
    pin_date(tmp_path / "other")  # a command that belongs to no run that has begun
    assert first_line(LLAMA).startswith("08 Mar 2026|")
    assert not (tmp_path / "other").exists()


def test_a_damaged_date_is_named(tmp_path):
    (tmp_path / DATE_FILE).write_text("yesterday")
    with pytest.raises(ConfigError, match=r"date\.txt holds no date"):
        pin_date(tmp_path)
