"""A model by its name: what is known of it before it loads, and whose text is whose."""

import json
import shutil

import pytest
import torch

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.generator import Request
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import Sampling
from preflexor_pl.export import export
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.language_model import load_language_model
from preflexor_pl.reasoning.model_info import ModelInfo, model_info
from preflexor_pl.reasoning.models import load_model
from tests.policy.test_adapters import disturb
from tests.run_helpers import TEXTS, Letters, leave_graph, leave_run
from tests.tiny import save_tiny_model, tiny_policy

SYSTEM = "Be brief."
GREEDY = Sampling(max_new_tokens=16, temperature=0)
ASKED = [Request(text, SYSTEM, GREEDY) for text in ("Why?", "How does silk bend?")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, model_folder):
    """A run that was trained to reflect, and the policy that it left."""
    policy = tiny_policy(model_folder, reflection=True)
    disturb(policy)
    run = leave_run(tmp_path_factory.mktemp("runs") / "one", policy, reflection=True)
    leave_graph(run)
    return run, policy


@pytest.fixture(scope="module")
def run(trained):
    return trained[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, model_folder):
    """A run of full fine-tuning."""
    policy = tiny_policy(model_folder, lora=None)
    disturb(policy, 1)
    return leave_run(tmp_path_factory.mktemp("runs") / "whole", policy)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, run):
    out = tmp_path_factory.mktemp("runs") / "exported"
    export(run, out, "float32")
    return out


@pytest.fixture
def no_weights(monkeypatch):
    monkeypatch.setattr(
        "transformers.AutoModelForCausalLM.from_pretrained",
        lambda *args, **options: pytest.fail("a model was loaded"),
    )


@pytest.fixture
def letters(monkeypatch):
    monkeypatch.setattr("preflexor_pl.corpus.corpus_index.Embedder", Letters)


def texts(generator):
    return [made.text for made in generator.complete(ASKED)]


def load(name, dtype="float32", **options):
    return load_model(str(name), dtype, **options)


def refused(error, *named):
    message = str(error.value)
    assert "\n" not in message
    assert "start_from" not in message
    for name in named:
        assert name in message


@pytest.mark.parametrize("part", ["", "adapter"])
def test_a_run_and_its_adapter_say_what_it_was_trained_for(run, model_folder, no_weights, part):
    known = model_info(str(run / part))
    assert (known.base, known.run, known.embedder) == (str(model_folder), run, "letters")
    assert (known.reflects, known.system_prompt) == (True, SYSTEM)
    assert known.identity == model_info(str(run)).identity


def test_an_adapter_away_from_its_run_knows_nothing_of_it(run, tmp_path, no_weights):
    shutil.copytree(run / "adapter", tmp_path / "adapter")
    known = model_info(str(tmp_path / "adapter"))
    assert (known.run, known.reflects, known.system_prompt) == (None, False, None)
    assert known.identity == model_info(str(run)).identity
    with pytest.raises(ConfigError) as error:
        _ = known.library
    refused(error, "adapter is no run with a graph", "give the run itself")


def test_only_a_run_with_reflect_sections_reflects(tmp_path, model_folder, trained):
    plain = leave_run(tmp_path / "plain", tiny_policy(model_folder))
    assert not model_info(str(plain)).reflects
    after = tiny_policy(model_folder, start_from=str(trained[0]))
    assert not model_info(str(leave_run(tmp_path / "after", after, reflection=False))).reflects
    assert model_info(str(leave_run(tmp_path / "more", after, reflection=True))).reflects


def test_the_text_of_a_run_is_its_policys_and_that_of_its_base_the_bases(trained):
    run, policy = trained
    loaded = load(run)
    trained, base = texts(loaded.generator(4)), texts(loaded.base(4))
    assert trained == texts(LocalGenerator(policy, "policy"))
    assert base == texts(LocalGenerator(policy, "base"))
    assert trained != base
    assert texts(loaded.generator(4)) == trained  # the base handed the adapters back
    assert loaded.thinks
    assert loaded.has_base


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("later", [False, True], ids=["whole", "adapter on whole"])
def test_the_base_of_full_fine_tuning_is_loaded_by_its_name(
    whole, model_folder, tmp_path, dtype, later
):
    if later:
        policy = tiny_policy(model_folder, start_from=str(whole))
        disturb(policy, 2)
        whole = leave_run(tmp_path / "later", policy)
    loaded = load(whole, dtype)
    base = loaded.base(4)
    own = LocalGenerator(load_language_model(str(model_folder), "x", dtype), "base")
    assert base.generator.model.inner.dtype == getattr(torch, dtype)
    assert texts(base) == texts(own) != texts(loaded.generator(4))
    assert loaded.has_base
    assert model_info(str(whole)).base == str(model_folder)


def test_a_base_that_has_changed_since_is_refused(tmp_path):
    base = save_tiny_model(tmp_path / "base")
    run = leave_run(tmp_path / "run", tiny_policy(base, lora=None))
    loaded = load(run)
    save_tiny_model(base, seed=1)
    with pytest.raises(ConfigError) as error:
        loaded.base(4)
    refused(error, f"the base of {run}: {base} is another model than it was in training")


@pytest.mark.parametrize("name", ["run", "whole", "exported", "model_folder"])
def test_a_base_never_writes_a_marker(request, name):
    loaded = load(request.getfixturevalue(name))
    base = loaded.base(4)
    for model in {id(m): m for m in (loaded.model, base.generator.model)}.values():
        favoured = torch.tensor(model.marker_ids)
        model.inner.get_output_embeddings().register_forward_hook(
            lambda module, args, out, ids=favoured: out.index_fill(-1, ids, 99.0)
        )
    assert texts(loaded.generator(4)) == ["<|thinking|>" * 16] * 2
    for made in base.complete(ASKED):
        assert made.tokens > 0
        assert "<|" not in made.text


def test_an_exported_folder_remembers_how_it_was_asked(exported, trained, no_weights, monkeypatch):
    assert model_info(str(exported)) == ModelInfo(str(exported), str(exported))
    monkeypatch.undo()
    loaded = load(exported)
    assert (loaded.info.reflects, loaded.info.system_prompt) == (True, SYSTEM)
    assert loaded.thinks
    assert not loaded.has_base
    assert texts(loaded.generator(4)) == texts(LocalGenerator(trained[1], "policy"))
    with pytest.raises(ConfigError) as error:
        _ = loaded.info.library
    refused(error, "exported is no run with a graph")


def test_a_plain_model_was_trained_for_nothing(model_folder):
    loaded = load(model_folder)
    assert loaded.info == ModelInfo(str(model_folder), str(model_folder))
    assert not loaded.thinks
    assert not loaded.has_base
    assert len(loaded.info.identity) == 64


@pytest.mark.parametrize("said", ["yes", None, {"reflects": True, "later": 1}])
def test_a_config_that_says_something_else_does_no_harm(tmp_path, said):
    folder = save_tiny_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"preflexor_pl": said}))
    known = load(folder).info
    assert (known.reflects, known.system_prompt) == (isinstance(said, dict), None)


def test_what_is_no_model_is_refused_in_one_line(tmp_path, run, no_weights):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/config.yaml").write_text("run: begun\n")
    with pytest.raises(ConfigError) as error:
        model_info(str(tmp_path / "begun"))
    refused(error, "begun is a run that is not finished", "run its command again")
    for key in ("--run", "--critic"):
        with pytest.raises(ConfigError) as error:
            load(tmp_path / "none", key=key)
        refused(error, f"{key}: ", "none")
    with pytest.raises(ConfigError) as error:
        load(tmp_path)
    refused(error, "holds no config.json")
    shutil.copytree(run, tmp_path / "damaged")
    (tmp_path / "damaged/config.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match=r"config\.yaml is damaged"):
        model_info(str(tmp_path / "damaged"))


def test_another_training_is_another_identity(run, whole, tmp_path, model_folder):
    other = tiny_policy(model_folder, reflection=True)
    disturb(other, 5)
    names = [run, whole, leave_run(tmp_path / "other", other), model_folder]
    assert len({model_info(str(name)).identity for name in names}) == 4


def test_the_graph_of_a_run(run, letters, tmp_path, no_weights):
    known = model_info(str(run))
    library = known.library
    assert library.search(TEXTS["silk.md"], 1)[0].document == "silk.md"
    _, held = library.hold_out(1, derive_seed(7, "held out"))
    held_out = {library.chunks[id].document for id in held}
    assert known.documents == (set(library.documents) - held_out, held_out)
    assert len(held_out) == 1
    shutil.copytree(run, tmp_path / "bare", ignore=shutil.ignore_patterns("graph"))
    with pytest.raises(CorpusError) as error:
        _ = model_info(str(tmp_path / "bare")).library
    refused(error, "no graph in", "bare/graph")
