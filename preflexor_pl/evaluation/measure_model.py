"""Measures one model on an evaluation set: answers, refinements, likelihoods and facts.

The results are kept in ``<out>/measured/<label>.json`` under the fingerprint of that set and the
model, and its reasoning in ``<out>/traces/``; the same measurement is not made twice.
"""

import gc
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.progress import Stage, log_line, stage
from preflexor_pl.evaluation.answers import form_rate, likelihoods
from preflexor_pl.evaluation.answers import measure as measure_answers
from preflexor_pl.evaluation.comparison import INTEGRATED, WRITTEN, Answers, Measured, Row
from preflexor_pl.evaluation.evaluation_set import EvaluationSet, Variant, taught_answers
from preflexor_pl.evaluation.facts import likeliest
from preflexor_pl.evaluation.held_out import thinks_unasked
from preflexor_pl.evaluation.intervals import rate
from preflexor_pl.evaluation.stages import answer_after, responses_at, tokens_until
from preflexor_pl.pairs.pair import PreferencePair, marked_as
from preflexor_pl.reasoning import Reasoner, Step, Trace
from preflexor_pl.reasoning.model_info import model_info
from preflexor_pl.reasoning.models import LoadedModel, load_model


def measure(asked: EvaluationSet, label: str, name: str, iterations: int, out: Path) -> Measured:
    """Measure a model, or read its results from an earlier run of the command.

    Args:
        asked: what it is measured on.
        label: of the model in tables and file names.
        name: of the model.
        iterations: refinements after its first answer.
        out: folder of the results.

    Raises:
        ConfigError: the model cannot be had.
    """
    path = out / "measured" / f"{label.replace('/', '-')}.json"
    fingerprint = asked.fingerprint(model_info(name).identity, iterations)
    earlier = _earlier_results(path, fingerprint)
    if earlier:
        log_line(f"  measured before: {path}")
        return earlier
    loaded = load_model(name, asked.dtype, strings=asked.markers)
    measured = _Measurement(asked, loaded, label, iterations, out).all()
    del loaded
    gc.collect()
    record = {
        "fingerprint": fingerprint,
        "label": label,
        "name": name,
        "rows": [row.to_dict() for row in measured.rows],
        "answers": [asdict(answers) for answers in measured.answers],
    }
    write_atomically(path, json.dumps(record, ensure_ascii=False, indent=1))
    return measured


def _earlier_results(path: Path, fingerprint: str) -> Measured | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["fingerprint"] != fingerprint:
            return None
        rows = [Row.from_dict(row) for row in record["rows"]]
        answers = [Answers(**one) for one in record["answers"]]
        return Measured(record["label"], record["name"], rows, answers)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # damaged: measured again


class _Measurement:
    def __init__(
        self,
        asked: EvaluationSet,
        loaded: LoadedModel,
        label: str,
        iterations: int,
        out: Path,
    ) -> None:
        self.asked = asked
        self.loaded = loaded
        self.system_prompt = loaded.system_prompt(asked.system_prompt)
        self.label = label
        self.iterations = iterations
        self.out = out
        self.generator = loaded.generator(asked.batch_size)
        self.critic = loaded.base(asked.batch_size) if iterations else self.generator

    def all(self) -> Measured:
        trained: Variant = "reflection" if self.loaded.info.reflects else "thinking"
        variants = (self.asked.variants or [trained]) if self.iterations else [trained]
        measured = Measured(self.label, self.loaded.info.name, [])
        for variant in variants:
            rows, answers = self._variant(variant, first=not measured.rows)
            measured.rows += rows
            measured.answers.append(answers)
        return measured

    def _variant(self, variant: Variant, first: bool) -> tuple[list[Row], Answers]:
        asked = self.asked
        traces = self._reason(asked.questions, variant, "answers", True)
        stages = {
            str(count): [answer_after(trace, count) for trace in traces]
            for count in range(self.iterations + 1)
        }
        if self.iterations:
            stages[INTEGRATED] = [trace.answer for trace in traces]
        rows = {stage: Row(self.label, variant, stage) for stage in stages}
        taught = taught_answers(asked.pairs, asked.markers)
        for name, row in rows.items():
            tokens = [tokens_until(trace, name) for trace in traces]
            responses = [responses_at(trace, name) for trace in traces]
            row.measures |= measure_answers(
                asked.questions,
                stages[name],
                taught,
                responses,
                tokens,
                asked.embed,
                asked.seed,
            )
        if first:
            self._first_answers(rows["0"], [trace.steps[0] for trace in traces])
        self._written_facts(variant, rows)
        return list(rows.values()), Answers(variant, stages)

    def _first_answers(self, row: Row, steps: Sequence[Step]) -> None:
        """Measures of a model that no refinement changes."""
        asked, model = self.asked, self.loaded.model
        texts = [step.loop or step.text for step in steps]
        ended = [step.finish_reason == "stop" for step in steps]
        row.measures["format_rate"] = form_rate(model, texts, ended, self.loaded.info.reflects)
        unasked = thinks_unasked(model, asked.questions, self.system_prompt, asked.batch_size)
        row.measures["unasked_thinking"] = rate(unasked)
        row.measures |= likelihoods(model, self._own_form(), self.system_prompt, asked.seed)
        self._likely_facts(row)

    def _own_form(self) -> list[PreferencePair]:
        """The pairs, written with the markers of the model."""
        model = self.loaded.model
        return [
            marked_as(pair, self.asked.markers, model.strings, model.special_strings)
            for pair in self.asked.pairs
        ]

    def _likely_facts(self, row: Row) -> None:
        for stratum, items in self.asked.items.items():
            if items:
                hits = likeliest(self.loaded.model, items, self.system_prompt)
                row.measures[f"facts/{stratum}/likelihood"] = rate(hits)

    def _written_facts(self, variant: Variant, rows: dict[str, Row]) -> None:
        asked = self.asked.asked_items
        if not asked:
            return
        questions = [item.prompt(position) for _, item, position in asked]
        traces = self._reason(questions, variant, "facts", False)
        for stage_name, row in rows.items():
            if stage_name == INTEGRATED:
                continue
            hits: dict[str, list[bool]] = {}
            for (stratum, item, position), trace in zip(asked, traces, strict=True):
                right = item.is_right(answer_after(trace, int(stage_name)), position)
                for name in (f"facts/{stratum}/{item.kind}", WRITTEN):
                    hits.setdefault(name, []).append(right)
            row.measures |= {name: rate(values) for name, values in hits.items()}

    def _reason(
        self, questions: Sequence[str], variant: Variant, what: str, integrate: bool
    ) -> list[Trace]:
        """The traces of the questions, which are also written beside the results."""
        settings = replace(
            self.asked.settings,
            iterations=self.iterations,
            variant=variant,
            integrate=integrate,
            system_prompt=self.system_prompt,
            trigger=self.loaded.thinks,
            markers=self.loaded.model.strings,
        )
        reasoner = Reasoner(self.generator, self.critic, settings)
        total = settings.calls * len(questions)
        with stage(f"{self.label} · {what}, {variant}", total) as progress:
            traces = reasoner.reason(questions, on_step=lambda _, step: _count_step(progress, step))
        path = self.out / "traces" / f"{self.label.replace('/', '-')}-{what}-{variant}.jsonl"
        write_atomically(path, "".join(f"{trace.to_json()}\n" for trace in traces))
        return traces


def _count_step(progress: Stage, step: Step) -> None:
    if step.kind != "finish":  # they are not in the total
        progress.advance()
