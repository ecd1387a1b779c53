"""Plans, runs and what became of them, as `miroir node` and `miroir rebalance` show them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.cli.console import Next
from miroir_cli.cli.progress import amount
from miroir_cli.cli.runs import GO_ON
from miroir_cli.cli.table import Column, counted, spoken
from miroir_cli.errors import Locked, PartialError, TemporaryError
from miroir_cli.migration.step import refusals_told
from miroir_cli.model import shards_named

if TYPE_CHECKING:
    from miroir_cli.cli.console import Console
    from miroir_cli.migration.plan import Plan
    from miroir_cli.migration.rebalance import Outcome
    from miroir_cli.migration.run import RunOptions, RunProgress, RunResult

RETRY_FOR = 60.0
MOVE_COLUMNS = (
    Column(name="index", name_like=True, least=16),
    Column(name="from", name_like=True, least=16),
    Column(name="to", name_like=True, least=16),
    Column(name="shards", right=True, keep=True),
    Column(name="numbers", optional=True),
)
MOST_NUMBERS = 12
NODE_COLUMNS = (
    Column(name="node", name_like=True),
    Column(name="shards", right=True, keep=True),
    Column(name="documents", right=True, keep=True),
)

Report = Callable[["RunProgress"], None]


# -- plans


def plan_document(plan: Plan, seconds: float | None) -> dict[str, Any]:
    """The JSON document of a plan."""
    return {**plan.json(), "expected_seconds": None if seconds is None else round(seconds, 1)}


def show_plan(console: Console, plan: Plan, seconds: float | None) -> None:
    """What each node has now and then, and what it takes; moves one by one with `-v`."""
    console.table(
        NODE_COLUMNS,
        [
            (
                load.node,
                _change(load.shards_before, load.shards_after),
                _change(load.documents_before, load.documents_after),
            )
            for load in plan.loads
        ],
    )
    if console.options.verbose and plan.steps:
        console.print()
        console.table(MOVE_COLUMNS, _moves(plan))
    console.print()
    console.print(_effort(plan, seconds))
    for told in refusals_told(plan.refusals):
        console.warn(told)
    for uid, shards in plan.lost.items():
        console.warn(f"given up, with all their documents: {shards_named(shards)} of index `{uid}`")


def _change(before: int | None, after: int | None) -> str:
    if before == after:
        return "-" if before is None else f"{before:,}"
    return " -> ".join("-" if count is None else f"{count:,}" for count in (before, after))


def _moves(plan: Plan) -> list[tuple[str, str | None, str | None, int, str]]:
    """The steps, those with the same nodes together."""
    grouped: dict[tuple[str, str | None, str | None], list[int]] = {}
    for step in plan.steps:
        grouped.setdefault((step.index, step.leaving, step.target), []).append(step.shard)
    return [
        (*nodes, len(shards), shards_named(shards, most=MOST_NUMBERS).partition(" ")[2])
        for nodes, shards in grouped.items()
    ]


def _effort(plan: Plan, seconds: float | None) -> str:
    if not plan.steps:
        return "nothing to move"
    copies = sum(step.target is not None for step in plan.steps)
    drops = len(plan.steps) - copies
    fewest = "the fewest possible" if copies == plan.minimum else f"at least {plan.minimum} are needed"
    parts = []
    if copies:
        parts.append(f"{counted(copies, 'shard')} to copy ({fewest})")
    if drops:
        parts.append(f"{counted(drops, 'replica')} to drop")
    if copies and plan.documents is not None:
        parts.append(counted(plan.documents, "document"))
    if copies and plan.bytes:
        parts.append(f"about {amount(plan.bytes, 'bytes')}")
    if copies:
        parts.append(f"about {spoken(seconds)}" if seconds is not None else "time not known yet")
    return ", ".join(parts)


# -- runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The options of a run, and what they mean at this moment."""

    options: RunOptions
    began: float

    @property
    def over(self) -> bool:
        """Whether the time that it was given is over."""
        limit = self.options.max_duration
        return limit is not None and time.monotonic() - self.began >= limit


def pace(
    *,
    parallel: int | None = None,
    rate: int | None = None,
    retry_for: float = RETRY_FOR,
    window: str | None = None,
    max_duration: str | None = None,
) -> Pace:
    """The options as a run takes them. Raises `UsageError`, and `TemporaryError` when the window is closed."""
    from datetime import datetime

    from miroir_cli.migration.run import RunOptions
    from miroir_cli.migration.window import parse_duration, parse_window

    limits = [parse_duration(max_duration)] if max_duration is not None else []
    if window is not None:
        hours, now = parse_window(window), datetime.now()
        closes, opens = hours.closing(now), hours.opening(now)
        if closes is None:
            raise TemporaryError(
                f"the window {hours} is closed",
                hint=f"it opens at {opens:%H:%M}, in {spoken(opens.timestamp() - now.timestamp())}",
            )
        limits.append(closes.timestamp() - now.timestamp())
    options = RunOptions(
        parallel=parallel, rate=rate, retry_for=retry_for, max_duration=min(limits) if limits else None
    )
    return Pace(options=options, began=time.monotonic())


async def drive(console: Console, begin: Callable[[Report], Awaitable[Outcome]]) -> Outcome:
    """Await a run with its progress shown. Raises `Locked` with the way to look at the run that is under way."""
    from miroir_cli.migration.rebalance import RUN_LOCK

    with console.progress() as progress:
        documents, steps = progress.lane("documents copied"), progress.lane("steps done", unit="steps")
        first: list[int] = []

        def report(state: RunProgress) -> None:
            if not first:
                first.append(state.documents)  # what an earlier process has copied
            expected = None if state.expected is None else max(0, state.expected - first[0])
            documents.update(state.documents - first[0], total=expected)
            steps.update(state.done, total=state.steps, note=_working_on(state))

        try:
            return await begin(report)
        except Locked as locked:
            if locked.message.startswith(f"`{RUN_LOCK}`"):
                locked.hint = "run `miroir rebalance status` to see what it does"
            raise


def _working_on(state: RunProgress) -> str:
    targets = sorted({str(step.target or step.leaving) for step in state.active})
    return f"on {', '.join(targets[:3])}{', ...' if len(targets) > 3 else ''}" if targets else ""


def outcome_document(outcome: Outcome, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The JSON document of a run: {"run", "state", "moves", "documents_moved", "seconds", ...}."""
    nothing = {"run": None, "state": "done", "moves": 0, "drops": 0, "documents_moved": 0, "seconds": 0.0}
    document: dict[str, Any] = {**(outcome.result.json() if outcome.result is not None else nothing), **(more or {})}
    if outcome.refusals:
        document["refused"] = [
            {"index": each.index, "shard": each.shard, "reason": each.reason} for each in outcome.refusals
        ]
    if outcome.expelled:
        document["removed"] = list(outcome.expelled)
    return document


def finish(
    console: Console,
    outcome: Outcome,
    pace: Pace,
    *,
    more: Mapping[str, Any] | None = None,
    next: Sequence[Next] = (),
) -> None:
    """Print what became of a run, and raise when something of it is left. `next` are the steps when nothing is."""
    if outcome.result is not None and outcome.result.unfinished:
        next = [Next(command="miroir rebalance run", purpose="to go on with it")]
    elif outcome.refusals:
        next = [Next(command="miroir rebalance plan", purpose="to see what is left")]
    console.show(outcome_document(outcome, more), lambda: _show_outcome(console, outcome), next=next)
    if outcome.result is not None:
        _raise_what_is_left(outcome.result, pace)
    if outcome.refusals:
        raise PartialError(
            f"left as it was: {'; '.join(refusals_told(outcome.refusals))}",
            hint="run `miroir rebalance plan` to see it",
        )


def _show_outcome(console: Console, outcome: Outcome) -> None:
    if outcome.result is None:
        console.print("nothing had to be moved")
    else:
        result = outcome.result
        console.print(f"{what_was_done(result.json())}, {result.seconds:.1f} s{_pauses(result)}")
        for node, reason in result.left.items():
            console.warn(f"what left `{node}` could not be deleted there yet: {reason}")
    for name in outcome.expelled:
        console.print(f"node `{name}` is no longer part of the cluster")


def what_was_done(done: Mapping[str, Any]) -> str:
    """A run's moves and drops in words, from its JSON document."""
    parts = []
    if done["moves"] or not done.get("drops"):
        parts += [f"{counted(done['moves'], 'shard')} moved", f"{counted(done['documents_moved'], 'document')} copied"]
    if done.get("drops"):
        parts.append(f"{counted(done['drops'], 'replica')} dropped")
    return ", ".join(parts)


def _pauses(result: RunResult) -> str:
    from statistics import median

    if not result.pauses:
        return ""
    middle, longest = median(result.pauses) * 1000, max(result.pauses) * 1000
    return f"; writers waited {middle:.0f} ms (median), {longest:.0f} ms at most"


def _raise_what_is_left(result: RunResult, pace: Pace) -> None:
    from miroir_cli.store.journal import RunState

    run, total = result.run, len(result.steps)
    done = f"{sum(step.state.ended for step in result.steps)} of {counted(total, 'step')}"
    if run.state is RunState.CANCELLED:
        switched = sum(step.state.switched for step in result.steps)
        raise PartialError(
            f"run {run.id} was cancelled after {switched} of {counted(total, 'step')}, which stay",
            hint="the topology file still asks for the rest: edit it, or run `miroir rebalance run`",
        )
    if run.state is RunState.DONE:
        return
    failed = [step for step in result.unfinished if step.error]
    if pace.over or not failed:
        raise TemporaryError(f"run {run.id} stopped at a clean place: its time is over, {done} are done", hint=GO_ON)
    first = failed[0]
    raise PartialError(
        f"run {run.id}: {done} are done; shard {first.shard} of index `{first.index}` "
        f"on `{first.target or first.leaving}`: {first.error}",
        hint=f"{GO_ON}; `miroir journal show {run.id}` has all that happened",
    )
