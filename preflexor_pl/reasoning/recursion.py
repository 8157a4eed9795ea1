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
from preflexor_pl.reasoning.calls import OnStep, ReasoningState, StepRunner
from preflexor_pl.reasoning.prompts import ask_feedback, ask_integration, ask_rewrite
from preflexor_pl.reasoning.settings import ReasoningSettings
from preflexor_pl.reasoning.trace import Source, Step, Trace


class Reasoner:
    """Reasons about questions, many side by side.

    Args:
        model: answers.
        critic: criticises, rewrites and integrates; the untrained base, usually.
        settings: of the recursion.
        judge: compares answers; None takes the last one that is not empty for the best.
        library: where facts are retrieved from, if ``settings.chunks`` asks for any.

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
        self.special_tokens = special_strings(*generators)  # in texts of others

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
            on_step: told of each step when it is made.
            watch: told of each of the model's answers as it grows, by a generator that can.

        Returns:
            A trace for each question, in order.
        """
        caller = StepRunner(
            self.model, self.critic, self.settings, self.special_tokens, on_step, watch
        )
        lines = [self._begin(caller, i, text, earlier) for i, text in enumerate(questions)]
        self._answer(caller, lines, 0)
        for iteration in range(1, self.settings.iterations + 1):
            self._criticise(caller, _going(lines), iteration)
            self._rewrite(caller, _going(lines), iteration)
            going = _going(lines)
            self._answer(caller, going, iteration)
            self._compare(caller, going, iteration)
        if self.settings.integrate:
            self._integrate(caller, lines)
        return [line.trace for line in lines]

    def _begin(
        self, caller: StepRunner, place: int, question: str, earlier: Turns
    ) -> ReasoningState:
        question = caller.inert(self.settings.markers.question(question.strip())).strip()
        earlier = [(caller.inert(said), caller.inert(reply)) for said, reply in earlier]
        trace = Trace(question, self.settings.variant)
        facts: list[str] = []
        if self.library is not None and self.settings.chunks:
            asked = " ".join([*(said for said, _ in earlier[-1:]), question])
            found = self.library.ranked(asked, self.settings.chunks)
            trace.sources = [Source(c.id, c.document, round(float(s), 4)) for c, s in found]
            facts = [caller.inert(chunk.text) for chunk, _ in found]
        return ReasoningState(
            place, question, facts, earlier, trace, _with_last_turn(question, earlier)
        )

    def _answer(self, caller: StepRunner, lines: Sequence[ReasoningState], iteration: int) -> None:
        for line, step in zip(lines, caller.answer(lines, iteration), strict=True):
            answer = step.answer or ""
            forced = line.thinking if iteration and not self.settings.trigger else ""
            line.thinking = step.thinking or forced or answer
            line.feedback = step.reflection or ""
            line.trace.answers.append(answer)
            if answer and self.judge is None:
                line.trace.best = iteration

    def _criticise(
        self, caller: StepRunner, lines: Sequence[ReasoningState], iteration: int
    ) -> None:
        own = self.settings.variant == "reflection"
        asked = [line for line in lines if not (own and line.feedback)]
        critic = self.settings.prompts
        prompts = [ask_feedback(critic, line.facts, line.asked, line.thinking) for line in asked]
        steps = caller.ask_critic("feedback", iteration, asked, prompts)
        for line, step in zip(asked, steps, strict=True):
            line.feedback = step.answer or ""

    def _rewrite(self, caller: StepRunner, lines: Sequence[ReasoningState], iteration: int) -> None:
        critic = self.settings.prompts
        prompts = [
            ask_rewrite(critic, line.facts, line.asked, line.thinking, line.feedback)
            for line in lines
        ]
        steps = caller.ask_critic("rewrite", iteration, lines, prompts)
        for line, step in zip(lines, steps, strict=True):
            rewritten = step.thinking or line.thinking
            if self.settings.stop_when_unchanged and _same(rewritten, line.thinking):
                line.trace.stopped = "unchanged"
            line.thinking = rewritten

    def _compare(self, caller: StepRunner, lines: Sequence[ReasoningState], iteration: int) -> None:
        """Keep the older answer as the best one where it wins in both orders."""
        if self.judge is None:
            return
        newest = [line.trace.answers[-1] for line in lines]
        for line, wins in zip(
            lines, self._older_wins(caller, lines, newest, iteration), strict=True
        ):
            if not wins:
                line.trace.best = iteration
            elif self.settings.stop_when_worse:
                line.trace.stopped = "worse"

    def _integrate(self, caller: StepRunner, lines: Sequence[ReasoningState]) -> None:
        several = [line for line in lines if sum(map(bool, line.trace.answers)) > 1]
        critic = self.settings.prompts
        prompts = [
            ask_integration(critic, line.facts, line.asked, [a for a in line.trace.answers if a])
            for line in several
        ]
        last = self.settings.iterations
        steps = caller.ask_critic("integrate", last, several, prompts)
        texts = [step.answer or "" for step in steps]
        for line, text in zip(several, texts, strict=True):
            line.trace.integrated = text
        if self.judge is not None:
            for line, wins in zip(
                several, self._older_wins(caller, several, texts, last), strict=True
            ):
                line.trace.integration_lost = wins

    def _older_wins(
        self,
        caller: StepRunner,
        lines: Sequence[ReasoningState],
        texts: Sequence[str],
        iteration: int,
    ) -> list[bool]:
        """Whether the best answer so far is better than the text, for each line."""
        assert self.judge is not None
        best = [line.trace.answers[line.trace.best] for line in lines]
        contests = [
            AnswerPair(line.asked, older, text)
            for line, older, text in zip(lines, best, texts, strict=True)
        ]
        began = time.monotonic()
        verdicts = self.judge.compare(contests)
        seconds = (time.monotonic() - began) / max(1, len(lines))
        for line, verdict in zip(lines, verdicts, strict=True):
            caller.note(
                line,
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
    """The question as a critic needs it, who does not see the conversation."""
    if not earlier:
        return question
    said, reply = earlier[-1]
    return f"{question} (It follows on the question: {said} Answered: {reply})"


def _going(lines: Sequence[ReasoningState]) -> list[ReasoningState]:
    return [line for line in lines if not line.trace.stopped]


def _same(text: str, other: str) -> bool:
    return text.casefold().split() == other.casefold().split()
