"""What a round asks about and which rejected answers it takes, in whole runs on a tiny model."""

import json
from collections import Counter

from tests.server.bad_server import BadServer, good, teach_by_seed

SMALL = (
    "--data.held_out_questions=2",
    "--data.rejected_sampling.min_new_tokens=4",
    "--data.rejected_sampling.max_new_tokens=8",
    "--data.epochs_per_round=1",
    "--trainer.max_epochs=2",
)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_uncertain_asks_around_the_pairs_of_the_smallest_margin(served, tmp_path):
    with BadServer(teach_by_seed) as server:
        code, _, err = served(
            server, *SMALL, "--data.ask_about=uncertain", f"--run={tmp_path / 'run'}"
        )
    assert (code, err) == (0, "")
    first, second = (tmp_path / "run/rounds" / f"round-000{n}" for n in (0, 1))
    margins = read(second / "margins.json")  # of the pairs before it, under its policy
    pairs = {pair["id"]: pair for pair in rows(first / "pairs.jsonl")}
    assert set(margins) == set(pairs)
    least = pairs[min(margins, key=margins.get)]
    # two pairs: the half of the smallest margins is one, and its own chunk comes first
    assert read(second / "plan.json")["items"][0]["chunk_ids"][0] == least["chunk_ids"][0]
    assert not (first / "margins.json").exists()


def test_coverage_asks_about_what_no_pair_rests_on(served, tmp_path):
    with BadServer(teach_by_seed) as server:
        code, _, err = served(
            server, *SMALL, "--data.ask_about=coverage", f"--run={tmp_path / 'run'}"
        )
    assert (code, err) == (0, "")
    first, second = (tmp_path / "run/rounds" / f"round-000{n}" for n in (0, 1))
    uses = Counter(id for pair in rows(first / "pairs.jsonl") for id in pair["chunk_ids"])
    chunks = rows(tmp_path / "run/graph/chunks.jsonl")
    planned = [item["chunk_ids"][0] for item in read(second / "plan.json")["items"]]
    free = len(chunks) - len(uses)
    assert not set(planned[: min(4, free // 2)]) & set(uses)


def test_a_judge_behind_a_server_has_answers_drawn_again_until_one_is_wrong(served, tmp_path):
    ruled = []

    def judge(call):
        ruled.append(call)
        return good("Right." if len(ruled) <= 6 else "Wrong, it is noise.")

    with BadServer(teach_by_seed) as server, BadServer(judge) as court:
        args = ["--data.rejected_candidates=3", "--data.rejected_choice=likeliest"]
        behind = f"{{base_url: {court.url}, model: judge}}"
        code, out, err = served(
            server,
            *SMALL,
            *args,
            "--data.only_wrong=true",
            f"--data.judge={{server: {behind}}}",
            "--trainer.max_epochs=1",
            f"--run={tmp_path / 'run'}",
        )
        assert (code, err) == (0, "")
    # 2 held-out questions, 3 candidates each: right the first time, so 3 more of each are drawn
    manifest = read(tmp_path / "run/held_out/manifest.json")
    assert manifest["rejected"] == {"drawn": 12, "of_use": 12, "right": 6, "wrong": 6}
    assert manifest["examiner"] == "judge at 127.0.0.1"
    assert "held-out questions: 6 of 12 rejected answers ruled wrong, 6 right" in out
    calls = rows(tmp_path / "run/rounds/round-0000/calls.jsonl")
    kinds = Counter(call["call"].split("/")[0] for call in calls)
    assert kinds["judging"] == kinds["rejected"] == 6


def test_replayed_pairs_make_a_round_longer(served, tmp_path):
    run = tmp_path / "run"
    with BadServer(teach_by_seed) as server:
        code, _, err = served(
            server, *SMALL, "--data.replay=1", "--data.pairs_per_step=1", f"--run={run}"
        )
    assert (code, err) == (0, "")
    steps = (run / "steps.csv").read_text().splitlines()[1:]
    per_round = Counter(line.split(",")[2] for line in steps)
    assert per_round == {"0": 2, "1": 4}  # 2 pairs, then 2 new and 2 old ones
