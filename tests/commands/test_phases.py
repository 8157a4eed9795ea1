import pytest

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.phases import _facts


@pytest.mark.parametrize("finished", ["", "[]", "null", '{"epochs": 3}'])
def test_a_run_with_a_damaged_record_is_not_finished(tmp_path, finished):
    (tmp_path / "held_out").mkdir()
    (tmp_path / "held_out/manifest.json").write_text('{"pairs": 3}')
    (tmp_path / "finished.json").write_text(finished)
    with pytest.raises(ConfigError, match="is no finished run"):
        _facts(tmp_path)
