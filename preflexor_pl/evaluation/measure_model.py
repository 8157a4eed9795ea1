"""Measures one model on a task: its answers with and without refinements, likelihoods and facts.

What came out is kept in ``<out>/measured/<label>.json`` under a fingerprint of all that it follows
from, and its reasoning in ``<out>/traces/``; the same measurement is not made twice.
"""

import gc
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.progress import Stage, log_line, stage
from preflexor_pl.core.responses import parse_response
from preflexor_pl.corpus.embedder import Embedder
from preflexor_pl.evaluation.answers import form_rate, likelihoods
from preflexor_pl.evaluation.answers import measure as measure_answers
from preflexor_pl.evaluation.comparison import ANSWERED, INTEGRATED, WRITTEN, Answers, Measured, Row
from preflexor_pl.evaluation.facts import Item, key_positions, likeliest
from preflexor_pl.evaluation.held_out import thinks_unasked
from preflexor_pl.evaluation.intervals import rate
from preflexor_pl.evaluation.question_values import document_of
from preflexor_pl.pairs.pair import PreferencePair, marked_as
from preflexor_pl.reasoning import Reasoner, ReasoningSettings, Step, Trace
from preflexor_pl.reasoning.models import LoadedModel, load_model, model_info

Variant = Literal["thinking", "reflection"]
VERSION = 3  # of what is measured; another one is measured anew


@dataclass(frozen=True)
class Task:
    """What every model is measured on.

    Attributes:
        pairs: held-out ones, whose questions are asked.
        items: by stratum, asked by likelihood.
        written: those of them that are asked in writing too, which takes longer.
        embedder: its name.
        settings: of the recursion; iterations and variant are each model's own.
        variants: of the recursion; None for what each model was trained for.
        system_prompt: of a model that says none itself.
        dtype: of the weights.
        batch_size: texts made together.
        seed: of partners, key positions and bootstraps.
        markers: of the pairs.
    """

    pairs: Sequence[PreferencePair]
    items: dict[str, list[Item]]
    written: dict[str, list[Item]]
    embedder: str
    settings: ReasoningSettings
    variants: list[Variant] | None
    system_prompt: str | None
    dtype: str
    batch_size: int
    seed: int
    markers: MarkerStrings = DEFAULT

    @cached_property
    def questions(self) -> list[str]:
        """Of the held-out pairs, without their trigger."""
        return [self.markers.question(pair.prompt) for pair in self.pairs]

    @cached_property
    def embed(self) -> Any:
        """Texts to vectors."""
        return Embedder(self.embedder).encode

    @cached_property
    def asked_items(self) -> list[tuple[str, Item, int]]:
        """Stratum, item and place of the right option: balanced over a stratum's choice items."""
        asked = []
        for stratum, items in self.written.items():
            choices = sum(item.kind == "choice" for item in items)
            places = iter(key_positions(choices, self.seed))
            asked += [(stratum, i, next(places) if i.kind == "choice" else 0) for i in items]
        return asked

    @property
    def documents(self) -> dict[str, list[str]]:
        """What the questions of each measure are about, for differences by document."""
        found = {ANSWERED: list(map(document_of, self.pairs))}
        for stratum, items in self.items.items():
            found[f"facts/{stratum}/likelihood"] = [item.document for item in items]
        for stratum, item, _ in self.asked_items:
            for name in (f"facts/{stratum}/{item.kind}", WRITTEN):
                found.setdefault(name, []).append(item.document)
        return found

    def fingerprint(self, model: str, iterations: int) -> str:
        """Of all that a measurement follows from."""
        said = [VERSION, [asdict(p) for p in self.pairs], model, iterations, self.variants]
        for items in (self.items, self.written):
            said += [{k: [asdict(i) for i in v] for k, v in items.items()}]
        said += [repr(self.settings)]
        said += [self.embedder, self.system_prompt, self.dtype, self.batch_size, self.seed]
        said += [self.markers.record] if self.markers.record else []
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def taught_answers(pairs: Sequence[PreferencePair], markers: MarkerStrings = DEFAULT) -> list[str]:
    """The teacher's answers, without thinking."""
    return [parse_response(pair.chosen, markers).answer or "" for pair in pairs]


def measure(task: Task, label: str, name: str, iterations: int, out: Path) -> Measured:
    """Measure a model, or read what was measured of it.

    Args:
        task: what on.
        label: the model's, in tables and file names.
        name: of the model.
        iterations: refinements after its first answer.
        out: folder of the results.

    Raises:
        ConfigError: the model cannot be had.
    """
    path = out / "measured" / f"{label.replace('/', '-')}.json"
    fingerprint = task.fingerprint(model_info(name).identity, iterations)
    known = _kept(path, fingerprint)
    if known:
        log_line(f"  measured before: {path}")
        return known
    speaker = load_model(name, task.dtype, strings=task.markers)
    measured = _Measuring(task, speaker, label, iterations, out).all()
    del speaker
    gc.collect()
    kept = {
        "fingerprint": fingerprint,
        "label": label,
        "name": name,
        "rows": [row.to_dict() for row in measured.rows],
        "answers": [asdict(answers) for answers in measured.answers],
    }
    write_atomically(path, json.dumps(kept, ensure_ascii=False, indent=1))
    return measured


def _kept(path: Path, fingerprint: str) -> Measured | None:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["fingerprint"] != fingerprint:
            return None
        rows = [Row.from_dict(row) for row in known["rows"]]
        answers = [Answers(**one) for one in known["answers"]]
        return Measured(known["label"], known["name"], rows, answers)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # measured anew


class _Measuring:
    def __init__(
        self, task: Task, speaker: LoadedModel, label: str, iterations: int, out: Path
    ) -> None:
        self.task = task
        self.speaker = speaker
        known = speaker.known
        unknown = not known.config and known.system_prompt is None
        self.system_prompt = task.system_prompt if unknown else known.system_prompt
        self.label = label
        self.iterations = iterations
        self.out = out
        self.generator = speaker.generator(task.batch_size)
        self.critic = speaker.base(task.batch_size) if iterations else self.generator

    def all(self) -> Measured:
        trained: Variant = "reflection" if self.speaker.known.reflects else "thinking"
        variants = (self.task.variants or [trained]) if self.iterations else [trained]
        measured = Measured(self.label, self.speaker.known.name, [])
        for variant in variants:
            rows, answers = self._variant(variant, first=not measured.rows)
            measured.rows += rows
            measured.answers.append(answers)
        return measured

    def _variant(self, variant: Variant, first: bool) -> tuple[list[Row], Answers]:
        task, speaker = self.task, self.speaker
        traces = self._reasoned(task.questions, variant, "answers", True)
        stages = {str(k): [upto(t, k) for t in traces] for k in range(self.iterations + 1)}
        if self.iterations:
            stages[INTEGRATED] = [trace.answer for trace in traces]
        rows = {stage: Row(self.label, variant, stage) for stage in stages}
        taught = taught_answers(task.pairs, task.markers)
        for name, row in rows.items():
            tokens = [spent(trace, name) for trace in traces]
            made = [responses(trace, name) for trace in traces]
            row.measures |= measure_answers(
                task.questions, stages[name], taught, made, tokens, task.embed, task.seed
            )
        if first:
            opening = [trace.steps[0] for trace in traces]
            texts = [step.loop or step.text for step in opening]
            ended = [step.finish_reason == "stop" for step in opening]
            form = form_rate(speaker.model, texts, ended, speaker.known.reflects)
            rows["0"].measures["format_rate"] = form
            unasked = thinks_unasked(
                speaker.model, task.questions, self.system_prompt, task.batch_size
            )
            rows["0"].measures["unasked_thinking"] = rate(unasked)
            rows["0"].measures |= likelihoods(
                speaker.model, self._own_form(), self.system_prompt, task.seed
            )
            self._likely_facts(rows["0"])
        self._written_facts(variant, rows)
        return list(rows.values()), Answers(variant, stages)

    def _own_form(self) -> list[PreferencePair]:
        """The pairs in the markers of the model that is measured."""
        model = self.speaker.model
        return [
            marked_as(pair, self.task.markers, model.strings, model.special_strings)
            for pair in self.task.pairs
        ]

    def _likely_facts(self, row: Row) -> None:
        for stratum, items in self.task.items.items():
            if items:
                hits = likeliest(self.speaker.model, items, self.system_prompt)
                row.measures[f"facts/{stratum}/likelihood"] = rate(hits)

    def _written_facts(self, variant: Variant, rows: dict[str, Row]) -> None:
        asked = self.task.asked_items
        if not asked:
            return
        questions = [item.asked(position) for _, item, position in asked]
        traces = self._reasoned(questions, variant, "facts", False)
        for stage_name, row in rows.items():
            if stage_name == INTEGRATED:
                continue
            hits: dict[str, list[bool]] = {}
            for (stratum, item, position), trace in zip(asked, traces, strict=True):
                right = item.is_right(upto(trace, int(stage_name)), position)
                for name in (f"facts/{stratum}/{item.kind}", WRITTEN):
                    hits.setdefault(name, []).append(right)
            row.measures |= {name: rate(found) for name, found in hits.items()}

    def _reasoned(
        self, questions: Sequence[str], variant: Variant, what: str, integrate: bool
    ) -> list[Trace]:
        """Traces, kept beside the results."""
        settings = replace(
            self.task.settings,
            iterations=self.iterations,
            variant=variant,
            integrate=integrate,
            system_prompt=self.system_prompt,
            trigger=self.speaker.thinks,
            markers=self.speaker.model.strings,
        )
        reasoner = Reasoner(self.generator, self.critic, settings)
        total = settings.calls * len(questions)
        with stage(f"{self.label} · {what}, {variant}", total) as progress:
            traces = reasoner.reason(questions, on_step=lambda _, step: _count(progress, step))
        path = self.out / "traces" / f"{self.label.replace('/', '-')}-{what}-{variant}.jsonl"
        write_atomically(path, "".join(f"{trace.to_json()}\n" for trace in traces))
        return traces


def _count(progress: Stage, step: Step) -> None:
    if step.kind != "finish":  # they are not in the total
        progress.advance()


def upto(trace: Trace, iteration: int) -> str:
    """The last answer that is not empty after so many refinements."""
    return next((a for a in reversed(trace.answers[: iteration + 1]) if a), "")


def responses(trace: Trace, name: str) -> list[Step]:
    """What was written at a stage, as it came: the model's response, and its second one if any."""
    if name == INTEGRATED:
        return [step for step in trace.steps if step.kind == "integrate"]
    kinds = ("answer", "finish")
    return [s for s in trace.steps if s.kind in kinds and s.iteration == int(name)]


def spent(trace: Trace, name: str) -> int:
    """Tokens that a stage took, with all before it."""
    last = len(trace.steps) if name == INTEGRATED else int(name)
    kinds = () if name == INTEGRATED else ("integrate",)
    return sum(s.tokens for s in trace.steps if s.iteration <= last and s.kind not in kinds)
