"""`miroir journal`: what was done to the cluster, by whom and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.runs import STEP_COLUMNS, run_state, step_row
from miroir_cli.cli.table import Column, clock_time, counted

app = typer.Typer()
journal = typer.Typer(no_args_is_help=True, help="What was done to the cluster, by whom and when.")
app.add_typer(journal, name="journal")

RUN_COLUMNS = (
    Column(name="run", right=True, keep=True),
    Column(name="began", keep=True),
    Column(name="state", keep=True),
    Column(name="what"),
    Column(name="moves", right=True, keep=True),
    Column(name="documents", right=True, keep=True),
    Column(name="seconds", right=True, optional=True, keep=True),
)
EVENT_COLUMNS = (
    Column(name="when", keep=True),
    Column(name="step", right=True, keep=True),
    Column(name="state", keep=True),
    Column(name="detail"),
    Column(name="process", right=True, optional=True, keep=True),
    Column(name="command", optional=True),
)


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
    return (
        str(found["run"]),
        clock_time(found["started_at"]),
        found["state"],
        found["title"],
        found["moves"],
        found["documents_moved"],
        None if found["seconds"] is None else f"{found['seconds']:.1f}",
    )


def _show_run(console: Console, found: Mapping[str, Any]) -> None:
    ended = f", ended {clock_time(found['finished_at'])}" if found["finished_at"] else ""
    console.print(
        f"run {found['run']}: {found['title']} ({found['kind']}), {run_state(found)}, "
        f"began {clock_time(found['started_at'])}{ended}"
    )
    console.print(f"last driven by process {found['pid']}: {found['command']}")
    console.print(
        f"{found['switched']} of {counted(found['moves'], 'move')}, "
        f"{counted(found['documents_moved'], 'document')} copied"
    )
    console.print()
    if found["steps"]:
        console.table(STEP_COLUMNS, [step_row(step) for step in found["steps"]])
        console.print()
    console.table(EVENT_COLUMNS, [_event_row(event) for event in found["events"]])


def _event_row(event: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        clock_time(event["at"], seconds=True),
        None if event["step"] is None else str(event["step"]),
        event["state"],
        event["detail"],
        str(event["pid"]),
        event["command"],
    )
