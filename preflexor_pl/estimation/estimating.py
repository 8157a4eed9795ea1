"""What a run asks for: its held-out pairs and one round are rehearsed, and estimate prints it."""

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preflexor_pl.core.chat import encode
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.teacher_settings import ServerSettings
from preflexor_pl.estimation.dry_run import Cost, DryRun, DryRunJudge, DryRunPairMaker, Unasked
from preflexor_pl.estimation.recorded import StageStatistics, stage_statistics
from preflexor_pl.pairs.correctness import CorrectnessJudge, LLMCorrectnessJudge
from preflexor_pl.pairs.journal import is_complete, round_folder
from preflexor_pl.pairs.maker import Order
from preflexor_pl.pairs.planning import EarlierRounds
from preflexor_pl.pairs.questions import EmbeddingCache
from preflexor_pl.pairs.round_order import held_out_order, round_order
from preflexor_pl.pairs.settings import PairSettings

if TYPE_CHECKING:
    from preflexor_pl.datamodule import PreferenceDataModule

TEACHER, POLICY, JUDGE = "teacher", "policy", "judge"


@dataclass(frozen=True)
class DryRunResult:
    """A round that was rehearsed.

    Attributes:
        costs: by who is asked, and the stage.
        pairs: that came out.
        wanted: how many should have.
    """

    costs: Mapping[tuple[str, str], Cost]
    pairs: int
    wanted: int

    def of(self, who: str, stage: str | None = None) -> Cost:
        """The cost of one who is asked, of one stage or of all."""
        found = [c for (w, s), c in self.costs.items() if w == who and stage in (s, None)]
        return sum(found, Cost())


@dataclass(frozen=True)
class Estimate:
    """What a run asks for.

    Attributes:
        held_out: once.
        round: so many times:
        rounds: of the run.
    """

    held_out: DryRunResult
    round: DryRunResult
    rounds: int

    @property
    def stages(self) -> list[tuple[str, str]]:
        """Who is asked, and the stage, in the order of the round."""
        return list(dict.fromkeys([*self.round.costs, *self.held_out.costs]))

    @property
    def asked(self) -> list[str]:
        """Who is asked, each once."""
        return list(dict.fromkeys(who for who, _ in self.stages))

    def total(self, who: str, stage: str | None = None) -> Cost:
        """Of the whole run."""
        return self.held_out.of(who, stage) + self.round.of(who, stage) * self.rounds

    def left(self, who: str, done: list[str]) -> Cost:
        """Of what is not among the folders of complete rounds."""
        names = [round_folder(Path(), index).name for index in range(self.rounds)]
        rounds = sum(name not in done for name in names)
        return self.held_out.of(who) * ("held_out" not in done) + self.round.of(who) * rounds


def known_statistics(run: Path, like: Path | None) -> tuple[dict[str, StageStatistics], str]:
    """How texts come out, and the journals that tell so; nothing and "" where there are none.

    Args:
        run: whose rounds, else whose preview, are read.
        like: another run to read instead.

    Raises:
        ConfigError: that one has neither.
        CorpusError: a journal cannot be read.
    """
    from preflexor_pl.rounds.rounds import PREVIEW

    folder = like or run
    complete = complete_folders(folder)
    if not complete and is_complete(folder / PREVIEW):
        complete = [folder / PREVIEW]
    if complete:
        habits, calls = stage_statistics(complete)
        return habits, f"{calls} calls of {folder} ({', '.join(p.name for p in complete)})"
    if like:
        raise ConfigError(f"--like: {like} has no complete round, and no preview")
    return {}, ""


def complete_folders(run: Path) -> list[Path]:
    """Those of the held-out pairs and of rounds, where they are complete."""
    found = [run / "held_out", *sorted((run / "rounds").glob("round-*"))]
    return [path for path in found if is_complete(path)]


def rehearse(
    data: "PreferenceDataModule", known: Any, habits: Mapping[str, StageStatistics], rounds: int
) -> Estimate:
    """Rehearse the held-out pairs and a round.

    Args:
        data: of the run.
        known: of the policy, without its weights.
        habits: how texts come out, by stage.
        rounds: of the run.

    Raises:
        CorpusError: with such habits not one pair would come out.
    """
    from preflexor_pl.rounds.rounds import held_out_settings

    settings, (train, held) = replace(data.pair_settings, markers=known.strings), data.split
    wanted = data.held_out_questions
    own, count = data.own_set, data.pairs_per_round
    asked = held_out_order(wanted, held, own)
    parts = (
        (data.run / "held_out", held_out_settings(settings, wanted), asked),
        (round_folder(data.run, 0), settings, round_order(0, count, train, EarlierRounds, 0, own)),
    )
    held_out, one = (
        _rehearsed(data, known, DryRun(folder, habits, known.tokenizer), made_of, order)
        for folder, made_of, order in parts
    )
    return Estimate(held_out, one, rounds)


def _rehearsed(
    data: "PreferenceDataModule",
    known: Any,
    journal: DryRun,
    settings: PairSettings,
    order: Order,
) -> DryRunResult:
    judge, teacher = settings.judge, Unasked(TEACHER)
    examiner: CorrectnessJudge = DryRunJudge(journal)
    if judge:
        asked = Unasked(JUDGE) if judge.server else teacher
        examiner = LLMCorrectnessJudge(judge, asked, prompts=settings.prompts)
    maker = DryRunPairMaker(
        settings,
        data.library,
        teacher,
        Unasked(POLICY),
        lambda text: len(encode(known.tokenizer, text)),
        (),
        data.seed,
        data.collator_of(known).problem,
        lambda pairs: [0.0] * len(pairs),  # it costs no call
        examiner,
        EmbeddingCache(data.library.embedder.encode),
    )
    with redirect_stdout(io.StringIO()):  # no progress is shown of what is not done
        pairs = maker.fill(journal, order)
    return DryRunResult(dict(journal.costs), len(pairs), order.wanted)


def servers_of(data: "PreferenceDataModule") -> dict[str, tuple[str, ServerSettings]]:
    """Who of those that are asked is a server: the key of its settings, and these."""
    found = {
        TEACHER: ("data.teacher.server", data.pair_settings.teacher.server),
        JUDGE: ("data.judge.server", judge.server if (judge := data.pair_settings.judge) else None),
    }
    return {who: (key, server) for who, (key, server) in found.items() if server}
