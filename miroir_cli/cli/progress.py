"""How far something is, on standard error: live bars on a terminal, one line every few seconds elsewhere, or JSON
Lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from miroir_cli.cli.global_options import ProgressForm
from miroir_cli.cli.prose import plain_terminal
from miroir_cli.cli.table import spoken

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_EVERY: Final = 5.0
"""Seconds between two lines when standard error is no terminal."""

WIDE: Final = 72
"""Columns from which on bars are long and have the rate and the time beside them."""

EVENT_EVERY: Final = 1.0
"""Seconds between two JSON lines of one lane."""


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


def start_progress(form: ProgressForm, *, quiet: bool, command: str) -> Progress:
    """The display in a form; `auto` chooses one. What was asked for by name is shown with `-q` as well."""
    if form is ProgressForm.AUTO and not quiet:
        form = ProgressForm.BAR if sys.stderr.isatty() and not plain_terminal() else ProgressForm.PLAIN
    match form:
        case ProgressForm.BAR:
            return Bars()
        case ProgressForm.PLAIN:
            return Lines()
        case ProgressForm.JSON:
            return Events(command)
    return Silent()


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


class Events(Silent):
    """One JSON line (`schemas/progress.json`) for a lane that changed, at most one a second, and its last state."""

    def __init__(
        self, command: str, *, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        self.command = command
        self.clock = clock
        self.now = now
        self._lanes: list[EventLane] = []

    def lane(self, name: str, *, unit: str = "documents", total: int | None = None) -> Lane:
        lane = EventLane(events=self, name=name, unit=unit, total=total)
        self._lanes.append(lane)
        return lane

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lane in self._lanes:
            if lane.untold:
                lane.tell()


@dataclass(slots=True, kw_only=True)
class EventLane:
    events: Events
    name: str
    unit: str
    total: int | None
    done: int = 0
    note: str = ""
    untold: bool = False
    _told: float | None = None
    _first: tuple[float, int] | None = None
    """When it was first heard of, and with how much: what an earlier process has done says nothing of the rate."""

    def update(self, done: int, *, total: int | None = None, note: str = "") -> None:
        now = self.events.clock()
        self._first = self._first or (now, done)
        self.untold |= (done, total or self.total, note) != (self.done, self.total, self.note) or self._told is None
        self.done, self.total, self.note = done, total or self.total, note
        if self.untold and (self._told is None or now - self._told >= EVENT_EVERY):
            self.tell()

    def tell(self) -> None:
        import json

        self._told, self.untold = self.events.clock(), False
        rate = self._rate(self._told)
        left = None if self.total is None or not rate else max(0, self.total - self.done) / rate
        event = {
            "event": "progress",
            "command": self.events.command,
            "phase": self.name,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "rate": None if rate is None else round(rate, 1),
            "eta_seconds": None if left is None else round(left, 1),
            "at": round(self.events.now() * 1000),
            **({"note": self.note} if self.note else {}),
        }
        sys.stderr.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")
        sys.stderr.flush()

    def _rate(self, now: float) -> float | None:
        if self._first is None or now <= self._first[0]:
            return None
        return max(0, self.done - self._first[1]) / (now - self._first[0])


class Bars:
    """One live bar a lane, with the rate and the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        console = Console(stderr=True, highlight=False, force_terminal=True)
        self._progress: RichProgress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20 if console.width >= WIDE else 8),
            TextColumn("{task.fields[counts]}"),
            *([TextColumn("{task.fields[rate]}"), TimeElapsedColumn()] if console.width >= WIDE else []),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console,
            refresh_per_second=8,
            transient=True,
        )

    def lane(self, name: str, *, unit: str = "documents", total: int | None = None) -> Lane:
        task = self._progress.add_task(name, total=total, counts="", rate="", note="")
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
        self.progress.update(self.task, completed=done, total=self.total, counts=self._counts(done), note=note)
        speed = next(task.speed for task in self.progress.tasks if task.id == self.task)
        rate = f"{amount(int(speed), self.unit).removesuffix(f' {self.unit}')}/s" if speed else ""
        self.progress.update(self.task, rate=rate)

    def _counts(self, done: int) -> str:
        """`1,200/5,000 documents`, and the unit once."""
        if not self.total:
            return amount(done, self.unit)
        return f"{amount(done, self.unit).removesuffix(f' {self.unit}')}/{amount(self.total, self.unit)}"


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
