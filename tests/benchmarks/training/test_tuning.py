from benchmarks.training.tuning import fastest


def test_tuning_varies_one_choice_after_the_other():
    cost = {("sdpa", 1): 5, ("eager", 1): 4, ("eager", 2): 6, ("eager", 4): 3}
    best, tried = fastest(
        lambda way: cost[way["attention"], way["micro"]],
        {"attention": ["sdpa", "eager"], "micro": [1, 2, 4]},
    )
    assert best == {"attention": "eager", "micro": 4}
    assert [one["seconds"] for one in tried] == [5, 4, 6, 3]
