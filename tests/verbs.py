"""What the tests of verbs that make pairs build on: a config, a corpus, outcomes and files."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import yaml

from preflexor_pl.core.generator import Completion, Request, Watch
from preflexor_pl.core.teacher_settings import TeacherSettings
from tests.scripted import Scripted, kind_of, write_corpus

VERBS = ["burn", "swim", "fold", "sing", "melt", "glow", "rust", "fly"]
WHERES = ["in winter", "under water", "at night", "on the moon", "in a forge", "near a child"]


class Asks(Scripted):
    """Asks by the seed of the request, and seldom twice for what means the same."""

    def _answer(self, request):
        made = super()._answer(request)
        if kind_of(request) != "question" or "carry its load" not in made.text:
            return made
        verb, where = VERBS[request.seed % 8], WHERES[request.seed // 8 % 6]
        return replace(made, text=made.text.replace("carry its load", f"{verb} {where}"))


class ScriptedTeacher:
    """The teacher of a config: whoever builds it, it says what ``script`` says."""

    script: ClassVar[Asks]

    def __init__(self, settings: TeacherSettings | None = None) -> None:
        self.settings = settings

    @property
    def name(self) -> str:
        return self.script.name

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        return self.script.batches(requests)

    def complete(self, requests: Sequence[Request], watch: Watch | None = None) -> list[Completion]:
        return self.script.complete(requests)


CONFIG = """
model:
  policy:
    model_name: {model}
    dtype: float32
    lora: {{rank: 4, alpha: 8}}
  lr: 0.03
data:
  corpus: corpus
  chunk_tokens: 60
  chunk_overlap: 0
  topics: 8
  enrich_chunks: 0
  pairs_per_round: 3
  epochs_per_round: 1
  pairs_per_step: 3
  max_length: 1024
  max_prompt_length: 512
  held_out: 1
  held_out_questions: 2
  rejected_sampling: {{max_new_tokens: 44, min_new_tokens: 4}}
  teacher:
    question: {{max_new_tokens: 41, temperature: 0.25}}
    answer: {{max_new_tokens: 43, temperature: 0.25}}
    critique: {{max_new_tokens: 45, temperature: 0.25}}
  thinking: {{sampling: {{max_new_tokens: 42, temperature: 0.25}}, min_tokens: 0}}
"""


def prepare(folder, model_folder):
    """Put mine.yaml there, and a corpus of a document a subject."""
    write_corpus(folder / "corpus", 4)
    (folder / "mine.yaml").write_text(CONFIG.format(model=model_folder))


def name_teacher(path):
    """Have a config name the scripted teacher, asked with the settings that stand there."""
    config = yaml.safe_load(path.read_text())
    settings = {"settings": config["data"]["teacher"]}
    config["data"]["teacher"] = {
        "class_path": "tests.verbs.ScriptedTeacher",
        "init_args": settings,
    }
    path.write_text(yaml.safe_dump(config))


def done(outcome):
    """What was printed by a verb that ended well."""
    code, stdout, stderr = outcome
    assert (code, stderr) == (0, ""), stderr
    return stdout


def files(folder):
    """Content of every file in a folder, by its name there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
