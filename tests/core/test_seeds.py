from preflexor_pl.core.seeds import derive_seed


def test_a_seed_follows_from_its_place_and_from_nothing_else():
    place = (0, 3, "0003-0007", "answer", 1)
    assert derive_seed(*place) == derive_seed(*place)
    # The value itself is a promise: runs are repeated on other machines and other Pythons.
    assert derive_seed(0, "order", 1) == 7021862330116196507


def test_any_other_place_gives_another_seed():
    places = [(1, 2), (2, 1), ("1", 2), (12,), (1, 2, ""), ("1, 2",), (1, 2, 0)]
    places += [(0, round_, item) for round_ in range(30) for item in range(30)]
    assert len({derive_seed(*place) for place in places}) == len(places)


def test_seeds_fit_torch_and_use_their_bits():
    seeds = [derive_seed("draw", i) for i in range(1000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    for bit in range(63):
        assert 400 < sum(seed >> bit & 1 for seed in seeds) < 600  # 500 expected, sd 16
