"""One kind of step for many questions at once: requests to a generator, replies read as steps."""

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

FINISH_TOKENS = 8  # least length of an answer asked for again: an end of turn alone is none

OnStep = Callable[[int, Step], None]  # index of the question, and its finished step


@dataclass
class ReasoningState:
    """The reasoning about one question while it goes on.

    Attributes:
        index: of the question.
        question: with its special tokens escaped, without a trigger.
        facts: texts that were retrieved for it.
        earlier: turns of the conversation before it.
        trace: its steps so far.
        critic_question: the question for the critic and the judge, with the turn before it.
        thinking: the newest: the model's, or the critic's rewritten one; escaped.
        feedback: what the thinking leaves out; "" where there is no criticism yet.
    """

    index: int
    question: str
    facts: list[str]
    earlier: Turns
    trace: Trace
    critic_question: str
    thinking: str = ""
    feedback: str = ""


class ReasoningStepRunner:
    """Runs steps and adds them to their traces.

    Args:
        model: answers.
        critic: criticises, rewrites and integrates.
        settings: of the recursion.
        special_tokens: strings that are escaped in every untrusted text.
        on_step: called with each finished step.
        watch: called with the model's answers as they grow.
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

    def answer(self, states: Sequence[ReasoningState], iteration: int) -> list[Step]:
        """The model's answers; where there is none, a second call asks for it."""
        requests = [self._to_model(state, iteration) for state in states]
        steps = self._run("answer", iteration, states, requests, self.model, self.watch)
        without = [i for i, step in enumerate(steps) if not step.answer]
        again = [self._to_finish(states[i], requests[i], steps[i]) for i in without]
        unanswered = [states[i] for i in without]
        finished = self._run("finish", iteration, unanswered, again, self.model, self.watch)
        for i, step in zip(without, finished, strict=True):
            steps[i] = step
        return steps

    def ask_critic(
        self,
        kind: Kind,
        iteration: int,
        states: Sequence[ReasoningState],
        prompts: Sequence[Prompt],
    ) -> list[Step]:
        """The critic's texts, one a state."""
        settings = self.settings
        system = settings.integrator_prompt if kind == "integrate" else settings.critic_prompt
        requests = [
            Request(
                prompt.text,
                system,
                settings.critic,
                self._seed(state, kind, iteration),
                prompt.examples,
                prompt.stop,
            )
            for state, prompt in zip(
                states, (prompt.inert(self.special_tokens) for prompt in prompts), strict=True
            )
        ]
        return self._run(kind, iteration, states, requests, self.critic, None)

    def inert(self, text: str) -> str:
        """Untrusted text with its special tokens escaped."""
        return escape_special_tokens(text, self.special_tokens)

    def add(self, state: ReasoningState, step: Step) -> None:
        """Add a step to its trace and report it."""
        state.trace.steps.append(step)
        if self.on_step:
            self.on_step(state.index, step)

    def _to_model(self, state: ReasoningState, iteration: int) -> Request:
        settings = self.settings
        prefill, thinking = "", ""
        if iteration and settings.trigger:
            prefill = self._closed(state.thinking, "")
        elif iteration:  # the model was not trained with markers: thinking goes in the prompt
            thinking = state.thinking
        elif settings.thinking_prefix is not None:
            prefill = f"{settings.markers.think_start}\n{self.inert(settings.thinking_prefix)}"
        return Request(
            ask_model(
                state.facts, state.question, settings.markers.suffix * settings.trigger, thinking
            ),
            settings.system_prompt,
            settings.model,
            self._seed(state, "answer", iteration),
            tuple(state.earlier),
            prefill=prefill,
        )

    def _to_finish(self, state: ReasoningState, request: Request, step: Step) -> Request:
        sampling = request.sampling
        least = min(max(sampling.min_new_tokens, FINISH_TOKENS), sampling.max_new_tokens)
        has_section = step.thinking or step.reflection
        return replace(
            request,
            prefill=self._closed(step.thinking or "", step.reflection or "") if has_section else "",
            sampling=replace(sampling, min_new_tokens=least),
            seed=self._seed(state, "finish", step.iteration),
        )

    def _seed(self, state: ReasoningState, kind: str, iteration: int) -> int:
        return derive_seed(self.settings.seed, state.question, kind, iteration)

    def _run(
        self,
        kind: Kind,
        iteration: int,
        states: Sequence[ReasoningState],
        requests: Sequence[Request],
        source: Generator,
        watch: Watch | None,
    ) -> list[Step]:
        steps: dict[int, Step] = {}
        for batch in source.batches(requests) if requests else []:
            began = time.monotonic()
            watching = _by_question(watch, [states[i].index for i in batch]) if watch else ()
            completions = source.complete([requests[i] for i in batch], *watching)
            seconds = (time.monotonic() - began) / len(batch)
            for i, completion in zip(batch, completions, strict=True):
                steps[i] = self._step(kind, iteration, source, requests[i], completion, seconds)
                self.add(states[i], steps[i])
        return [steps[i] for i in range(len(requests))]

    def _step(
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
        too_long = completion.finish_reason == "length" and not completion.tokens
        problems = ("repetition",) * looped + ("empty",) * (not completion.text.strip())
        problems += ("too_long",) * too_long + (completion.problem,) * bool(completion.problem)
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
            reply = None if copied else text
            thinking, answer = (reply, None) if kind == "rewrite" else (None, reply)
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
        """Escaped texts as closed sections, laid out as in training, before an answer."""
        markers = self.settings.markers
        parts = [markers.think_start, thinking, markers.think_end]
        if reflection:
            parts += [markers.reflect_start, reflection, markers.reflect_end]
        return "\n".join([*parts, ""])


def _by_question(watch: Watch, indices: list[int]) -> tuple[Watch]:
    """A watch that passes on the index of the question for that in the batch."""
    return (lambda i, text: watch(indices[i], text),)
