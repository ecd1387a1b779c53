"""`miroir journal`: what was done to the cluster, by whom and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.runs import how_far, run_state, show_differences, show_errors, show_steps
from miroir_cli.cli.table import Column, clock_time, counted
from miroir_cli.migration.step import describe_shards
from miroir_cli.store.journal import RunKind

app = typer.Typer()
journal = typer.Typer(no_args_is_help=True, help="What was done to the cluster, by whom and when.")
app.add_typer(journal, name="journal")

RUN_COLUMNS = (
    Column(name="run", right=True, keep=True),
    Column(name="began", keep=True),
    Column(name="state", keep=True),
    Column(name="what"),
    Column(name="shards", right=True, keep=True),
    Column(name="documents", right=True, keep=True),
    Column(name="seconds", right=True, optional=True, keep=True),
)
EVENT_COLUMNS = (Column(name="when", keep=True), Column(name="what", wrap=True))
MOST_EVENTS = 40
"""Lines of the journal that are shown; all of them, and each by itself, with `-v`."""


@journal.command(name="list")
def list_(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many runs.")] = 20,
) -> None:
    """List the runs that changed or compared the cluster, the newest first."""

    async def command(console: Console) -> None:
        from miroir_cli.migration.history import list_runs

        async with console.cluster() as cluster:
            found = await list_runs(cluster, limit=limit)
        console.show({"runs": found}, lambda: console.table(RUN_COLUMNS, map(_run_row, found)))
        if not found:
            console.say("no run yet")

    run(ctx, command)


@journal.command()
def show(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="RUN", help="The run's number.", show_default=False)],
) -> None:
    """Show a run: its steps, and all that happened with the process that did it."""

    async def command(console: Console) -> None:
        from miroir_cli.migration.history import show_run
        from miroir_cli.store.journal import RunId

        async with console.cluster() as cluster:
            found = await show_run(cluster, RunId(number))
        console.show(found, lambda: _show_run(console, found))

    run(ctx, command)


def _run_row(found: Mapping[str, Any]) -> tuple[Any, ...]:
    summary = found["summary"]
    shards, documents = summary.get("shards"), summary.get("documents")
    if found["kind"] != RunKind.VERIFY and found["moves"] is not None:
        shards, documents = found["moves"] + summary.get("drops", 0), found["documents_moved"]
    differ = summary.get("differences")
    what = f"{found['title']}: {counted(differ, 'replica differs', 'replicas differ')}" if differ else found["title"]
    return (
        str(found["run"]),
        clock_time(found["started_at"]),
        run_state(found),
        what,
        shards,
        documents,
        None if found["seconds"] is None else f"{found['seconds']:.1f}",
    )


def _show_run(console: Console, found: Mapping[str, Any]) -> None:
    ended = f", ended {clock_time(found['finished_at'])}" if found["finished_at"] else ""
    kind = f" ({found['kind']})" if found["kind"] != found["title"] else ""
    began = clock_time(found["started_at"])
    console.print(f"run {found['run']}: {found['title']}{kind}, {run_state(found)}, began {began}{ended}")
    console.print(f"last driven by process {found['pid']}: {found['command']}")
    console.print(how_far(found))
    if found["kind"] == RunKind.VERIFY:
        _show_differences(console, found)
    elif found["steps"]:
        console.print()
        show_steps(console, found["steps"])
    show_errors(console, found["steps"])
    console.print()
    lines = _each(found) if console.options.verbose else _told(found)
    console.table(EVENT_COLUMNS, lines)


def _show_differences(console: Console, found: Mapping[str, Any]) -> None:
    if found["differences"]:
        console.print()
        show_differences(console, found["differences"])
    elif found["state"] == "done":
        console.print("no replica differs")


def _each(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every line of the journal by itself."""
    steps = {step["number"]: step for step in found["steps"]}
    for event in found["events"]:
        step = steps.get(event["step"])
        if step is None:
            yield clock_time(event["at"], seconds=True), _of_run(event)
        else:
            yield clock_time(event["at"], seconds=True), _of_steps(event, [step], times=1)


def _told(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What happened to the run, and what got in the way of steps: the same of several ones together, where it was
    first. How far each step came is in their table."""
    steps = {step["number"]: step for step in found["steps"]}
    lines: dict[tuple[object, ...], tuple[Mapping[str, Any], list[Mapping[str, Any]]]] = {}
    for position, event in enumerate(found["events"]):
        step = steps.get(event["step"])
        if step is None:
            lines[position,] = (event, [])
        elif event["detail"]:
            key = (event["state"], event["detail"], step["to"] or step["from"])
            lines.setdefault(key, (event, []))[1].append(step)
    told = [
        (clock_time(event["at"], seconds=True), _of_steps(event, about, times=len(about)) if about else _of_run(event))
        for event, about in lines.values()
    ]
    hidden = len(told) - MOST_EVENTS
    return (
        [*told[: MOST_EVENTS // 2], ("", f"{hidden:,} lines more (`-v`)"), *told[-MOST_EVENTS // 2 :]]
        if hidden > 0
        else told
    )


def _of_run(event: Mapping[str, Any]) -> str:
    """Such as `resumed by process 7: miroir rebalance run`."""
    state = str(event["state"])
    what, _, value = state.partition(": ")
    match what:
        case "begun":
            said = f"begun with {event['detail']}"
        case "asked":
            said = {"go": "told to go on", "pause": "told to pause", "cancel": "told to give up"}.get(value, state)
        case "rate":
            said = (
                f"told to move at most {value} documents a second" if value != "0" else "told to go as fast as it can"
            )
        case "parallel":
            said = f"told to move {value} shards at a time"
        case "resumed":
            said = state
        case "stopped":
            return "stopped at a clean place"
        case _:
            return state
    return f"{said}, by process {event['pid']}: {event['command']}"


def _of_steps(event: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], *, times: int) -> str:
    """Such as `shards 1, 2 of index `books` on `n4`, joining: node `n4` did not answer (3 times)`."""
    distinct = {(step["index"], step["shard"]) for step in steps}
    where = steps[0]["to"] or steps[0]["from"]
    named = describe_shards(sorted(distinct)) + (f" on `{where}`" if where else "")
    again = f" ({times} times)" if times > len(distinct) else ""
    return f"{named}, {event['state']}{': ' if event['detail'] else ''}{event['detail']}{again}"
