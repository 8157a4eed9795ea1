from functools import partial
from types import SimpleNamespace

import pytest

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.teacher_settings import ServerSettings, TeacherSettings, ThinkingSettings
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.tasks import MultiHop


def data(**settings):
    return PreferenceDataModule("corpus", **settings)


@pytest.mark.parametrize(
    "name",
    [
        "chunk_tokens", "questions_per_topic", "chunks_per_context", "pairs_per_round",
        "epochs_per_round", "pairs_per_step", "tokens_per_micro_batch", "max_prompt_length",
        "held_out", "generation_batch_size",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [0, -1])
def test_counts_below_one_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"^data\.{name}: got {value}, must be >= 1"):
        data(**{name: value})


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"chunk_tokens": 32, "chunk_overlap": 32}, "chunk_overlap"),
        ({"chunk_overlap": -1}, "chunk_overlap"),
        ({"enrich_chunks": -1}, "enrich_chunks"),
        ({"enrich_chunks": 0, "grow": True}, "grow"),
        ({"max_length": 128, "max_prompt_length": 128}, "max_length"),
        ({"held_out_questions": 1}, "held_out_questions"),  # a shuffled pair needs two
        ({"topics": 0}, "topics"),
        ({"topics": []}, "topics"),
        ({"untriggered_share": 1.0}, "untriggered_share"),  # nothing would teach thinking
        ({"ask_about": "frontier"}, "ask_about"),  # of a task alone
        ({"topics": 31, "pairs_per_round": 32}, "pairs_per_round"),
        ({"topics": ["silk"], "questions_per_topic": 2, "pairs_per_round": 3}, "pairs_per_round"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(settings, key):
    with pytest.raises(ValueError, match=rf"^data\.{key}: got .*, must be "):
        data(**settings)


def test_the_longest_response_is_what_the_teacher_may_write():
    thinking = ThinkingSettings()  # two categories of 96 tokens, each with 12 for its name
    made = data(max_length=1000, max_prompt_length=100, thinking=thinking)
    teacher = TeacherSettings()
    assert made.longest_response == 2 * (96 + 12) + teacher.answer.max_new_tokens
    made = data(max_length=1000, max_prompt_length=100, thinking=thinking, reflection=True)
    assert made.longest_response == 3 * (96 + 12) + teacher.answer.max_new_tokens
    assert data(max_length=200, max_prompt_length=100).longest_response == 100


@pytest.mark.parametrize(
    ("epoch", "max_epochs", "stop", "made"),
    [
        (0, 6, False, []),  # a round takes two epochs
        (1, 6, False, [1]),
        (2, 6, False, []),
        (3, 6, False, [2]),
        (5, 6, False, []),  # the last epoch
        (3, 6, True, []),
        (1, -1, False, [1]),  # no last epoch
    ],
)
def test_a_round_is_made_where_the_next_epoch_begins_one(
    monkeypatch, epoch, max_epochs, stop, made
):
    module, rounds = data(), []
    module.trainer = SimpleNamespace(
        current_epoch=epoch, max_epochs=max_epochs, should_stop=stop, max_steps=-1, global_step=0
    )
    monkeypatch.setattr(module, "_round_pairs", rounds.append)
    module.on_train_epoch_end()
    assert rounds == made


@pytest.mark.parametrize(
    ("epochs", "max_steps", "replay", "steps"),
    [
        (6, -1, 0.0, 6 * 3),  # three rounds of two epochs; 10 pairs are three steps of four
        (6, 7, 0.0, 7),
        (-1, 7, 0.0, 7),
        (6, -1, 1.5, 2 * 3 + 2 * 5 + 2 * 7),  # and 10, then 15 older ones
    ],
)
def test_the_steps_of_the_whole_run_are_known_before_it_begins(epochs, max_steps, replay, steps):
    module = data(pairs_per_round=10, pairs_per_step=4, epochs_per_round=2, replay=replay)
    module.trainer = SimpleNamespace(max_epochs=epochs, max_steps=max_steps)
    assert module.planned_steps() == steps


def test_no_round_is_made_after_the_last_step(monkeypatch):
    module, rounds = data(), []
    module.trainer = SimpleNamespace(
        current_epoch=1, max_epochs=6, should_stop=False, max_steps=12, global_step=12
    )
    monkeypatch.setattr(module, "_round_pairs", rounds.append)
    module.on_train_epoch_end()
    assert rounds == []


@pytest.mark.parametrize(
    ("epoch", "done"),
    [(0, []), (1, ["finish", "make"]), (3, ["abandon"])],  # within a round, at its end, at the last
)
def test_what_is_made_ahead_is_waited_for_or_ended(monkeypatch, epoch, done):
    module, did = data(), []
    module.trainer = SimpleNamespace(
        current_epoch=epoch, max_epochs=4, should_stop=False, max_steps=-1, global_step=0
    )
    ways = {name: partial(did.append, name) for name in ("finish", "abandon")}
    module._prefetcher = SimpleNamespace(**ways)
    monkeypatch.setattr(module, "_round_pairs", lambda index: did.append("make"))
    module.on_train_epoch_end()
    assert did == done


def test_several_processes_are_refused_before_a_key_is_looked_for():
    server = ServerSettings("http://localhost:1/v1", "m", api_key_env="NO_SUCH_KEY")
    module = data(teacher=TeacherSettings(server=server))
    module.trainer = SimpleNamespace(world_size=2)
    with pytest.raises(ConfigError, match=r"trainer\.devices: one process"):
        module.setup("fit")
    module.trainer = SimpleNamespace(
        world_size=1, lightning_module=None, fit_loop=SimpleNamespace()
    )
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        module.setup("fit")


@pytest.mark.parametrize("trainer_epoch", [0, 1, 2, 5])
def test_the_round_of_an_epoch(trainer_epoch):
    module = data()
    module.trainer = SimpleNamespace(current_epoch=trainer_epoch)
    assert module.round == trainer_epoch // 2


def test_reflection_without_rows_that_train_is_refused():
    module = data(reflection=True)
    policy = SimpleNamespace(reflection=False)
    module.trainer = SimpleNamespace(current_epoch=0, lightning_module=policy)
    with pytest.raises(ConfigError, match="PreferenceModule with reflection=True"):
        module.train_dataloader()


def test_rounds_belong_to_one_policy(monkeypatch):
    module, policies = data(), [object(), object()]
    plain = SimpleNamespace(batching="plain", max_length=512)
    rounds = lambda policy: SimpleNamespace(policy=policy, collator=plain)  # noqa: E731
    monkeypatch.setattr(module, "rounds_of", rounds)
    for policy in (*policies, *policies):
        owner = SimpleNamespace(policy=policy)
        module.trainer = SimpleNamespace(lightning_module=owner)
        assert module.rounds.policy is policy
        assert module.rounds is module.rounds


def test_without_a_trainer_there_is_no_policy():
    with pytest.raises(RuntimeError, match="the data need a Trainer"):
        _ = data().policy


@pytest.mark.parametrize(("asked", "lines"), [(4096, 0), (4097, 1)])
def test_a_model_that_takes_fewer_tokens_says_so(policy, tmp_path, capsys, asked, lines):
    made = data(run=str(tmp_path), max_length=asked)
    made.trainer = SimpleNamespace(lightning_module=SimpleNamespace(policy=policy))
    made.rounds_of = lambda policy: SimpleNamespace(
        policy=policy, collator=made.collator_of(policy)
    )
    assert made.rounds.collator.max_length == 4096
    said = f"data.max_length: 4096 is used, as {policy.source.name} takes no longer texts in a"
    assert capsys.readouterr().out.count(said) == lines


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"corpus": "corpus"}, "corpus"),
        ({"index": "runs/x/graph"}, "index"),
        ({"pairs": "pairs.jsonl"}, "pairs"),
        ({"reflection": True}, "reflection"),
        ({"grow": True}, "grow"),
        ({"rejected": "teacher"}, "rejected"),
        ({"only_wrong": True}, "only_wrong"),
        ({"topics": ["silk"] * 32}, "topics"),
        ({"ask_about": "coverage"}, "ask_about"),
        ({"rejected_choice": "judged", "rejected_candidates": 2}, "rejected_choice"),
        ({"min_grounding": 0.5}, "min_grounding"),
        ({"answers": "quoted"}, "answers"),
    ],
)
def test_what_means_nothing_with_a_task_is_refused(settings, key):
    with pytest.raises(ValueError, match=rf"^data\.{key}: got .* with data\.task"):
        PreferenceDataModule(task=MultiHop(), **settings)


def test_a_task_needs_no_corpus_and_no_graph(tmp_path):
    made = PreferenceDataModule(task=MultiHop((2,)), run=str(tmp_path), untriggered_share=1.0)
    assert made.task_object.levels == (2,)
    assert made.split == ([], [])
    assert list(made.description()) == ["Items of levels 2; no corpus is read"]
    assert not made.library.chunks
