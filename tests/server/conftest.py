import pytest


@pytest.fixture
def short_waits(monkeypatch):
    """Waits between two tries are 10, 20, 40 ms."""
    monkeypatch.setattr("preflexor_pl.server.retries.FIRST_WAIT", 0.01)
