"""How far something is, on standard error: live bars on a terminal, one line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from miroir_cli.cli.table import spoken

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_EVERY: Final = 5.0
"""Seconds between two lines when standard error is no terminal."""


class Lane(Protocol):
    """One thing that is counted, such as documents sent."""

    def update(self, done: int, *, total: int | None = None, note: str = "") -> None:
        """Say how much is done now (not how much more), of how much, and a short remark."""


class Progress(Protocol):
    """A context manager over lanes; leaving it ends the display."""

    def lane(self, name: str, *, unit: str = "documents", total: int | None = None) -> Lane: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def start_progress(*, quiet: bool) -> Progress:
    if quiet:
        return Silent()
    return Bars() if sys.stderr.isatty() else Lines()


class Silent:
    """Shows nothing."""

    def lane(self, name: str, *, unit: str = "documents", total: int | None = None) -> Lane:
        return self

    def update(self, done: int, *, total: int | None = None, note: str = "") -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class Lines(Silent):
    """Prints all lanes as one line, at most every `LINE_EVERY` seconds, and once at the end."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lanes: list[CountedLane] = []
        self._started = clock()
        self._printed = self._started

    def lane(self, name: str, *, unit: str = "documents", total: int | None = None) -> Lane:
        lane = CountedLane(lines=self, name=name, unit=unit, total=total)
        self._lanes.append(lane)
        return lane

    def changed(self) -> None:
        if self._clock() - self._printed >= LINE_EVERY:
            self._print()

    def _print(self) -> None:
        self._printed = self._clock()
        seconds = self._printed - self._started
        sys.stderr.write("; ".join(lane.describe(seconds) for lane in self._lanes) + "\n")
        sys.stderr.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lanes and any(lane.done for lane in self._lanes):
            self._print()


@dataclass(slots=True, kw_only=True)
class CountedLane:
    lines: Lines
    name: str
    unit: str
    total: int | None
    done: int = 0
    note: str = ""

    def update(self, done: int, *, total: int | None = None, note: str = "") -> None:
        self.done, self.total, self.note = done, total or self.total, note
        self.lines.changed()

    def describe(self, seconds: float) -> str:
        done = amount(self.done, self.unit)
        if self.total:
            done = f"{done.removesuffix(f' {self.unit}')} of {amount(self.total, self.unit)}"
        per_second = amount(int(self.done / seconds), self.unit).removesuffix(f" {self.unit}") if seconds > 0 else ""
        rate = f", {per_second}/s" if per_second and self.done else ""
        left = ""
        if self.total and 0 < self.done < self.total and seconds > 0:
            left = f", {spoken((self.total - self.done) * seconds / self.done)} left"
        return f"{self.name}: {done}{rate}{left}{f', {self.note}' if self.note else ''}"


class Bars:
    """One live bar a lane, with the rate and the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._progress: RichProgress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", style="dim"),
            console=Console(stderr=True, highlight=False),
            refresh_per_second=8,
            transient=True,
        )

    def lane(self, name: str, *, unit: str = "documents", total: int | None = None) -> Lane:
        task = self._progress.add_task(name, total=total, counts="", note="")
        return BarLane(progress=self._progress, task=task, unit=unit, total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


@dataclass(slots=True, kw_only=True)
class BarLane:
    progress: RichProgress
    task: TaskID
    unit: str
    total: int | None

    def update(self, done: int, *, total: int | None = None, note: str = "") -> None:
        self.total = total or self.total
        of = f"/{amount(self.total, self.unit)}" if self.total else ""
        self.progress.update(
            self.task, completed=done, total=self.total, counts=f"{amount(done, self.unit)}{of}", note=note
        )


def amount(count: int, unit: str) -> str:
    """`12,500 documents`, and bytes in the unit that suits them: `1.4 GB`."""
    if unit != "bytes":
        return f"{count:,} {unit}"
    size = float(count)
    for name in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {name}" if name == "B" else f"{size:.1f} {name}"
        size /= 1000
    return f"{size:.1f} TB"
