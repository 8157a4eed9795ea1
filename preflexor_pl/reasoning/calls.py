"""One kind of step for many questions at once: requests to a generator, and steps made of them."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from preflexor_pl.core.chat import Turns
from preflexor_pl.core.generator import Completion, Generator, Request, Watch
from preflexor_pl.core.responses import parse_response
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.special_tokens import NEVER_TEXT, escape_special_tokens
from preflexor_pl.pairs.prompts import Prompt
from preflexor_pl.pairs.reply_checks import copies_example
from preflexor_pl.reasoning.prompts import ask_model
from preflexor_pl.reasoning.repetition import cut_repetition
from preflexor_pl.reasoning.settings import ReasoningSettings
from preflexor_pl.reasoning.trace import Kind, Step, Trace

FINISH_TOKENS = 8  # at least, of an answer that had to be asked for: its end of turn is no answer

OnStep = Callable[[int, Step], None]  # the place of the question, and the step that was made


@dataclass
class ReasoningState:
    """The reasoning about one question while it goes on.

    Attributes:
        place: of the question.
        question: inert, without a trigger.
        facts: texts that were retrieved for it.
        earlier: turns of the conversation before it.
        trace: what has happened.
        asked: the question as the critic and the judge are told it.
        thinking: as it is now: the model's, or the critic's new one; inert.
        feedback: what the thinking leaves out; "" where nobody has said it yet.
    """

    place: int
    question: str
    facts: list[str]
    earlier: Turns
    trace: Trace
    asked: str
    thinking: str = ""
    feedback: str = ""


class StepRunner:
    """Makes steps and notes them.

    Args:
        model: answers.
        critic: criticises, rewrites and integrates.
        settings: of the recursion.
        special_tokens: special strings that no text of others may hold.
        on_step: told of each step.
        watch: told of the model's answers as they grow.
    """

    def __init__(
        self,
        model: Generator,
        critic: Generator,
        settings: ReasoningSettings,
        special_tokens: Collection[str],
        on_step: OnStep | None,
        watch: Watch | None,
    ) -> None:
        self.model = model
        self.critic = critic
        self.settings = settings
        self.special_tokens = special_tokens
        self.on_step = on_step
        self.watch = watch

    def answer(self, lines: Sequence[ReasoningState], iteration: int) -> list[Step]:
        """The model's answers; one that comes to none goes on from its sections, closed."""
        requests = [self._to_model(line, iteration) for line in lines]
        steps = self._made("answer", iteration, lines, requests, self.model, self.watch)
        without = [i for i, step in enumerate(steps) if not step.answer]
        again = [self._to_finish(lines[i], requests[i], steps[i]) for i in without]
        left = [lines[i] for i in without]
        finished = self._made("finish", iteration, left, again, self.model, self.watch)
        for i, step in zip(without, finished, strict=True):
            steps[i] = step
        return steps

    def ask_critic(
        self, kind: Kind, iteration: int, lines: Sequence[ReasoningState], prompts: Sequence[Prompt]
    ) -> list[Step]:
        """The critic's texts, one for each line."""
        settings = self.settings
        system = settings.integrator_prompt if kind == "integrate" else settings.critic_prompt
        requests = [
            Request(
                prompt.text,
                system,
                settings.critic,
                self._seed(line, kind, iteration),
                prompt.examples,
                prompt.stop,
            )
            for line, prompt in zip(
                lines, (prompt.inert(self.special_tokens) for prompt in prompts), strict=True
            )
        ]
        return self._made(kind, iteration, lines, requests, self.critic, None)

    def inert(self, text: str) -> str:
        """Text of others, without power over the model's chat format."""
        return escape_special_tokens(text, self.special_tokens)

    def note(self, line: ReasoningState, step: Step) -> None:
        """Put a step into its trace and tell of it."""
        line.trace.steps.append(step)
        if self.on_step:
            self.on_step(line.place, step)

    def _to_model(self, line: ReasoningState, iteration: int) -> Request:
        settings = self.settings
        prefill, thinking = "", ""
        if iteration and settings.trigger:
            prefill = self._closed(line.thinking, "")
        elif iteration:  # markers say nothing to a model that was not trained with them
            thinking = line.thinking
        elif settings.thinking_prefix is not None:
            prefill = f"{settings.markers.think_start}\n{self.inert(settings.thinking_prefix)}"
        return Request(
            ask_model(
                line.facts, line.question, settings.markers.suffix * settings.trigger, thinking
            ),
            settings.system_prompt,
            settings.model,
            self._seed(line, "answer", iteration),
            tuple(line.earlier),
            prefill=prefill,
        )

    def _to_finish(self, line: ReasoningState, request: Request, step: Step) -> Request:
        sampling = request.sampling
        least = min(max(sampling.min_new_tokens, FINISH_TOKENS), sampling.max_new_tokens)
        thought = step.thinking or step.reflection
        return replace(
            request,
            prefill=self._closed(step.thinking or "", step.reflection or "") if thought else "",
            sampling=replace(sampling, min_new_tokens=least),
            seed=self._seed(line, "finish", step.iteration),
        )

    def _seed(self, line: ReasoningState, kind: str, iteration: int) -> int:
        return derive_seed(self.settings.seed, line.question, kind, iteration)

    def _made(
        self,
        kind: Kind,
        iteration: int,
        lines: Sequence[ReasoningState],
        requests: Sequence[Request],
        source: Generator,
        watch: Watch | None,
    ) -> list[Step]:
        made: dict[int, Step] = {}
        for batch in source.batches(requests) if requests else []:
            began = time.monotonic()
            asked = [requests[i] for i in batch]
            watching = _placed(watch, [lines[i].place for i in batch]) if watch else ()
            completions = source.complete(asked, *watching)
            seconds = (time.monotonic() - began) / len(batch)
            for i, completion in zip(batch, completions, strict=True):
                made[i] = self._read(kind, iteration, source, requests[i], completion, seconds)
                self.note(lines[i], made[i])
        return [made[i] for i in range(len(requests))]

    def _read(
        self,
        kind: Kind,
        iteration: int,
        source: Generator,
        request: Request,
        completion: Completion,
        seconds: float,
    ) -> Step:
        text = NEVER_TEXT.sub("", request.prefill + completion.text)
        whole, (text, looped) = text, cut_repetition(text)
        unread = completion.finish_reason == "length" and not completion.tokens
        problems = ("repetition",) * looped + ("empty",) * (not completion.text.strip())
        problems += ("too_long",) * unread + (completion.problem,) * bool(completion.problem)
        thinking, reflection, answer = None, None, None
        if kind in ("answer", "finish"):
            parsed = parse_response(text, self.settings.markers)
            thinking, reflection, answer = (
                part and self.inert(part)
                for part in (parsed.thinking, parsed.reflection, parsed.answer)
            )
            problems = parsed.problems + problems
        else:
            text = self.inert(text).strip()
            copied = copies_example(text, request)
            problems += ("copies_example",) * copied
            said = None if copied else text
            thinking, answer = (said, None) if kind == "rewrite" else (None, said)
        return Step(
            kind=kind,
            iteration=iteration,
            by=source.name,
            text=text,
            thinking=thinking,
            reflection=reflection,
            answer=answer,
            problems=problems,
            finish_reason=completion.finish_reason,
            tokens=completion.tokens,
            seconds=round(seconds, 3),
            loop=whole if looped else "",
        )

    def _closed(self, thinking: str, reflection: str) -> str:
        """The sections as training lays them out, closed, before an answer; of inert texts."""
        markers = self.settings.markers
        parts = [markers.think_start, thinking, markers.think_end]
        if reflection:
            parts += [markers.reflect_start, reflection, markers.reflect_end]
        return "\n".join([*parts, ""])


def _placed(watch: Watch, places: list[int]) -> tuple[Watch]:
    """The watch, told of questions by their place and not by that in the batch."""
    return (lambda i, grown: watch(places[i], grown),)
