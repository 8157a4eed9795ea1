import pytest

from benchmarks.report.record import exponent


def test_cost_that_grows_with_the_square_of_size_has_exponent_two():
    assert exponent([1, 10, 100], [3, 300, 30000]) == pytest.approx(2)
