from preflexor_pl.core.tables import shown, table


def test_numbers_stand_to_the_right_and_texts_to_the_left():
    assert table(("read", "files", "of"), [(".md", 2, None), ("all", 12, 3.5)]) == [
        "| read | files |  of |",
        "|------|-------|-----|",
        "| .md  |     2 |     |",
        "| all  |    12 | 3.5 |",
    ]


def test_a_table_without_rows_is_its_head():
    assert table(("a", "b"), []) == ["| a | b |", "|---|---|"]


def test_a_cell_moves_no_cursor_and_parts_no_column():
    assert shown("a\x1b[31m|b\u202e\u2028\nc") == "a?[31m/b???c"
    assert shown("a" * 48) == "a" * 48
    assert shown("ab" + "x" * 47) == "…" + "x" * 47
    assert shown("abcdef", 4) == "…def"
