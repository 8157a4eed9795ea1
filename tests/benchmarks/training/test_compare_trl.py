from benchmarks.training.compare_trl import ratios, summary


def both(ours, trl, mine, theirs):
    common = {"pairs/s": 1, "useful tokens/s": 1, "padding": 0}
    return {
        "ours": {"seconds": ours, "peak MB": mine, **common},
        "trl": {"seconds": trl, "peak MB": theirs, **common},
    }


def test_a_ratio_is_of_neighbours_and_its_median_over_the_repeats():
    repeats = [
        both([1, 2], [4, 5], 100, 200),  # 9 / 3 = 3, 0.5
        both([2, 4], [6, 6], 60, 200),  # 12 / 6 = 2, 0.3
        both([4, 4], [5, 5], 80, 200),  # 10 / 8 = 1.25, 0.4
    ]
    assert ratios(repeats[0]) == {"speed": 3, "memory": 0.5}
    made = summary(repeats)
    assert made["TRL's time / ours"] == {"median": 2, "least": 1.25, "most": 3}
    assert made["our memory / TRL's"] == {"median": 0.4, "least": 0.3, "most": 0.5}
