"""The recursion (Buehler, 2024, arXiv:2410.12375): answer, criticise, revise, answer, integrate.

    model   answers, thinking first                                          1 call
    then, ``iterations`` times:
      critic  says what the thinking leaves out                              1 call, or
      model   has said so itself, in the reflect section of its answer       none
      critic  rewrites the thinking accordingly                              1 call
      model   answers again, the rewritten thinking forced upon it           1 call
    critic  makes one answer of all of them                                  1 call

A judge, where there is one, compares each new answer with the best so far in both orders (2 calls).
Nothing that a model writes stops the recursion:

- no thinking section: its answer is criticised, and the rewritten text becomes its thinking;
- a section that never closes, or no answer after the last one: one more call (``finish``) goes on
  from the sections, closed, so that an answer must come;
- a missing or empty reflect section: the critic says what is missing instead;
- a loop is cut to its first occurrence; a critic's reply that is empty, or a worked example's word
  for word, leaves the thinking as it was, is no criticism and no integrated answer.

The recursion of many questions runs side by side, one batch of each kind of step.
"""

import time
from collections.abc import Sequence

from preflexor_pl.core.chat import Turns
from preflexor_pl.core.generator import Generator, Watch, special_strings
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.pairs.judge import AnswerPair, PairwiseJudge
from preflexor_pl.reasoning.calls import OnStep, ReasoningState, ReasoningStepRunner
from preflexor_pl.reasoning.prompts import ask_feedback, ask_integration, ask_rewrite
from preflexor_pl.reasoning.settings import ReasoningSettings
from preflexor_pl.reasoning.trace import Source, Step, Trace


class Reasoner:
    """Reasons about questions, many side by side.

    Args:
        model: answers.
        critic: criticises, rewrites and integrates; usually the untrained base.
        settings: of the recursion.
        judge: compares answers; without one the last answer that is not empty counts as the best.
        library: the corpus that facts are retrieved from; needed where ``settings.chunks`` > 0.

    Raises:
        ValueError: chunks are asked for and there is no library.
    """

    def __init__(
        self,
        model: Generator,
        critic: Generator,
        settings: ReasoningSettings,
        judge: PairwiseJudge | None = None,
        library: CorpusIndex | None = None,
    ) -> None:
        if settings.chunks and library is None:
            raise ValueError("chunks: there is no library to retrieve them from")
        self.model = model
        self.critic = critic
        self.settings = settings
        self.judge = judge
        self.library = library
        generators = [model, critic, *([judge.generator] if judge else [])]
        self.special_tokens = special_strings(*generators)  # escaped in every untrusted text

    def reason(
        self,
        questions: Sequence[str],
        earlier: Turns = (),
        on_step: OnStep | None = None,
        watch: Watch | None = None,
    ) -> list[Trace]:
        """Reason about each question; no output of a model raises.

        Args:
            questions: without a trigger.
            earlier: turns of the conversation before each of them, question and answer.
            on_step: called with each finished step.
            watch: called with the text of the model's answers as it grows, where its generator
                can stream.

        Returns:
            A trace for each question, in order.
        """
        runner = ReasoningStepRunner(
            self.model, self.critic, self.settings, self.special_tokens, on_step, watch
        )
        states = [self._begin(runner, i, text, earlier) for i, text in enumerate(questions)]
        self._answer(runner, states, 0)
        for iteration in range(1, self.settings.iterations + 1):
            self._criticise(runner, _active(states), iteration)
            self._rewrite(runner, _active(states), iteration)
            active = _active(states)
            self._answer(runner, active, iteration)
            self._compare(runner, active, iteration)
        if self.settings.integrate:
            self._integrate(runner, states)
        return [state.trace for state in states]

    def _begin(
        self, runner: ReasoningStepRunner, index: int, question: str, earlier: Turns
    ) -> ReasoningState:
        question = runner.inert(self.settings.markers.question(question.strip())).strip()
        earlier = [(runner.inert(asked), runner.inert(reply)) for asked, reply in earlier]
        trace = Trace(question, self.settings.variant)
        facts: list[str] = []
        if self.library is not None and self.settings.chunks:
            query = " ".join([*(asked for asked, _ in earlier[-1:]), question])
            chunks = self.library.ranked(query, self.settings.chunks)
            trace.sources = [Source(c.id, c.document, round(float(s), 4)) for c, s in chunks]
            facts = [runner.inert(chunk.text) for chunk, _ in chunks]
        return ReasoningState(
            index, question, facts, earlier, trace, _with_last_turn(question, earlier)
        )

    def _answer(
        self, runner: ReasoningStepRunner, states: Sequence[ReasoningState], iteration: int
    ) -> None:
        for state, step in zip(states, runner.answer(states, iteration), strict=True):
            answer = step.answer or ""
            prompted = state.thinking if iteration and not self.settings.trigger else ""
            state.thinking = step.thinking or prompted or answer
            state.feedback = step.reflection or ""
            state.trace.answers.append(answer)
            if answer and self.judge is None:
                state.trace.best = iteration

    def _criticise(
        self, runner: ReasoningStepRunner, states: Sequence[ReasoningState], iteration: int
    ) -> None:
        reflects = self.settings.variant == "reflection"
        without = [state for state in states if not (reflects and state.feedback)]
        critic = self.settings.prompts
        prompts = [
            ask_feedback(critic, state.facts, state.critic_question, state.thinking)
            for state in without
        ]
        steps = runner.ask_critic("feedback", iteration, without, prompts)
        for state, step in zip(without, steps, strict=True):
            state.feedback = step.answer or ""

    def _rewrite(
        self, runner: ReasoningStepRunner, states: Sequence[ReasoningState], iteration: int
    ) -> None:
        critic = self.settings.prompts
        prompts = [
            ask_rewrite(critic, state.facts, state.critic_question, state.thinking, state.feedback)
            for state in states
        ]
        steps = runner.ask_critic("rewrite", iteration, states, prompts)
        for state, step in zip(states, steps, strict=True):
            rewritten = step.thinking or state.thinking
            if self.settings.stop_when_unchanged and _same(rewritten, state.thinking):
                state.trace.stopped = "unchanged"
            state.thinking = rewritten

    def _compare(
        self, runner: ReasoningStepRunner, states: Sequence[ReasoningState], iteration: int
    ) -> None:
        """Keep the older answer as the best one where it wins in both orders."""
        if self.judge is None:
            return
        newest = [state.trace.answers[-1] for state in states]
        for state, wins in zip(
            states, self._older_wins(runner, states, newest, iteration), strict=True
        ):
            if not wins:
                state.trace.best = iteration
            elif self.settings.stop_when_worse:
                state.trace.stopped = "worse"

    def _integrate(self, runner: ReasoningStepRunner, states: Sequence[ReasoningState]) -> None:
        several = [state for state in states if sum(map(bool, state.trace.answers)) > 1]
        critic = self.settings.prompts
        prompts = [
            ask_integration(
                critic, state.facts, state.critic_question, [a for a in state.trace.answers if a]
            )
            for state in several
        ]
        last = self.settings.iterations
        steps = runner.ask_critic("integrate", last, several, prompts)
        texts = [step.answer or "" for step in steps]
        for state, text in zip(several, texts, strict=True):
            state.trace.integrated = text
        if self.judge is not None:
            for state, wins in zip(
                several, self._older_wins(runner, several, texts, last), strict=True
            ):
                state.trace.integration_lost = wins

    def _older_wins(
        self,
        runner: ReasoningStepRunner,
        states: Sequence[ReasoningState],
        texts: Sequence[str],
        iteration: int,
    ) -> list[bool]:
        """For each state, whether the judge prefers its best answer so far to the new text."""
        assert self.judge is not None
        best = [state.trace.answers[state.trace.best] for state in states]
        contests = [
            AnswerPair(state.critic_question, older, text)
            for state, older, text in zip(states, best, texts, strict=True)
        ]
        began = time.monotonic()
        verdicts = self.judge.compare(contests)
        seconds = (time.monotonic() - began) / max(1, len(states))
        for state, verdict in zip(states, verdicts, strict=True):
            runner.add(
                state,
                Step(
                    kind="compare",
                    iteration=iteration,
                    by=self.judge.generator.name,
                    text="\n".join(verdict.replies),
                    thinking=None,
                    reflection=None,
                    answer="\n".join(verdict.replies),
                    problems=() if verdict.is_readable else ("unreadable",),
                    finish_reason="stop",
                    tokens=verdict.tokens,
                    seconds=round(seconds, 3),
                ),
            )
        return [
            bool(older) and (not text or verdict.score == 1)
            for older, text, verdict in zip(best, texts, verdicts, strict=True)
        ]


def _with_last_turn(question: str, earlier: Turns) -> str:
    """The question for a critic, which does not see the conversation."""
    if not earlier:
        return question
    asked, reply = earlier[-1]
    return f"{question} (It follows on the question: {asked} Answered: {reply})"


def _active(states: Sequence[ReasoningState]) -> list[ReasoningState]:
    return [state for state in states if not state.trace.stopped]


def _same(text: str, other: str) -> bool:
    return text.casefold().split() == other.casefold().split()
