"""Progress of anything that takes a while: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

LINE_SECONDS = 10.0  # without a terminal, at most one line in this time


class Stage:
    """One counted piece of work; made by :func:`stage`."""

    def __init__(self, title: str, total: int, show: "_Shown") -> None:
        self.title = title
        self.total = total
        self.done = 0
        self.notes: dict[str, object] = {}
        self.started = time.monotonic()
        self._show = show

    def advance(self, count: int = 1, **notes: object) -> None:
        """Count ``count`` more as done; ``notes`` (drops, loss) are shown behind the rate."""
        self.done += count
        self.notes.update(notes)
        self._show.update(self)

    @property
    def text(self) -> str:
        """Rate and notes, in words."""
        rate = self.done / max(time.monotonic() - self.started, 1e-9)
        speed = f"{rate:.1f}/s" if rate >= 1 or not rate else f"{1 / rate:.1f} s each"
        return " · ".join([speed, *(f"{key} {value}" for key, value in self.notes.items())])


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """Show stages that tell their own progress, one after the other, while the block runs.

    Gives a function of (title, done, total), 0 where the total is not known.
    """
    current: Stage | None = None
    with ExitStack() as shown:

        def report(title: str, done: int, total: int) -> None:
            nonlocal current
            if current is None or current.title != title:
                shown.close()
                current = shown.enter_context(stage(title, total))
            current.total = total
            current.advance(done - current.done)

        yield report


@contextmanager
def stage(title: str, total: int, quiet: bool = False) -> Iterator[Stage]:
    """Show ``title`` with a count up to ``total`` (0: not known) while the block runs."""
    show = _Shown() if quiet else _Bar() if sys.stdout.isatty() else _Lines()
    current = Stage(title, total, show)
    show.open(current)
    try:
        yield current
    finally:
        show.close(current)


def log_line(line: str) -> None:
    """Print one line for the user, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class _Shown:
    def open(self, stage: Stage) -> None: ...

    def update(self, stage: Stage) -> None: ...

    def close(self, stage: Stage) -> None: ...


class _Lines(_Shown):
    def open(self, stage: Stage) -> None:
        self._last = time.monotonic()

    def update(self, stage: Stage) -> None:
        done = 0 < stage.total <= stage.done
        if time.monotonic() - self._last > LINE_SECONDS and not done:
            self._say(stage)

    def close(self, stage: Stage) -> None:
        self._say(stage)

    def _say(self, stage: Stage) -> None:
        self._last = time.monotonic()
        seconds = time.monotonic() - stage.started
        count = f"{stage.done}/{stage.total}" if stage.total else stage.done
        log_line(f"  {stage.title}: {count} · {seconds:.0f} s · {stage.text}")


class _Bar(_Shown):
    def open(self, stage: Stage) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed

        self._progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            Elapsed(),
            TextColumn("{task.fields[text]}"),
        )
        self._task = self._progress.add_task(stage.title, total=stage.total or None, text="")
        self._progress.start()

    def update(self, stage: Stage) -> None:
        self._progress.update(self._task, completed=stage.done, text=stage.text)

    def close(self, stage: Stage) -> None:
        self.update(stage)
        self._progress.stop()
