"""docs/models.md says of every family what its tiny model does."""

import pytest

from tests.families import FAMILIES
from tests.family_table import measured, rows_of_page

USUAL = [  # of several kinds; the others are slow together
    "llama", "gemma3", "deepseek_v3", "gpt_oss", "qwen2_moe, window", "qwen3_5", "jamba", "mamba",
    "xlstm",
]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [name if name in USUAL else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES],
)
def test_the_page_says_what_a_family_does(tmp_path, name):
    assert measured(name, tmp_path) == rows_of_page()[name]


def test_the_page_has_every_family_and_few_that_are_not_served():
    rows = rows_of_page()
    assert list(rows) == list(FAMILIES)
    assert len(rows) >= 60
    served = [name for name, row in rows.items() if "no: " not in " ".join(row)]
    assert len(served) >= len(rows) - 3
