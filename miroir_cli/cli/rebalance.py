"""`miroir rebalance`: make the cluster what its topology file says, and steer the run that does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.moving import (
    RETRY_FOR,
    DryRun,
    Pace,
    ParallelOption,
    RateOption,
    RetryOption,
    Yes,
    drive,
    finish,
    pace,
    plan_document,
    show_plan,
)
from miroir_cli.cli.runs import GO_ON, show_run
from miroir_cli.cli.table import counted
from miroir_cli.errors import ChangesPending, Locked

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.migration.plan import Plan
    from miroir_cli.migration.rebalance import Change

app = typer.Typer()
rebalance = typer.Typer(no_args_is_help=True, help="Make the cluster what its topology file says.")
app.add_typer(rebalance, name="rebalance")

WindowOption = Annotated[
    str | None, typer.Option(metavar="HH:MM-HH:MM", help="Only between these times of the day, in local time.")
]
DurationOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Stop at a clean place after so long, such as `2h` or `90m`.")
]
Effectless = Annotated[bool, typer.Option("--dry-run", help="Say what would be asked of which run, and do nothing.")]


@rebalance.command()
def plan(
    ctx: typer.Context,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 9 when something is to be done.")
    ] = False,
) -> None:
    """Show what has to move so that the cluster is what its topology file says."""

    async def command(console: Console) -> None:
        from miroir_cli.migration.rebalance import refuse

        async with console.cluster() as cluster:
            change = _change()
            plan, seconds = await _preview(cluster, change)
            console.show(plan_document(plan, seconds), lambda: show_plan(console, plan, seconds))
        refuse(plan, change)
        if detailed_exitcode and plan.steps:
            raise ChangesPending(
                f"{counted(len(plan.steps), 'change')} pending", hint="run `miroir rebalance run` to make them"
            )

    run(ctx, command)


@rebalance.command("run")
def run_(
    ctx: typer.Context,
    parallel: ParallelOption = None,
    rate: RateOption = None,
    window: WindowOption = None,
    max_duration: DurationOption = None,
    retry_for: RetryOption = RETRY_FOR,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Move what has to move. Interrupted, killed or out of time, the same command goes on."""

    async def command(console: Console) -> None:
        from miroir_cli.migration.rebalance import refuse

        wanted = None
        if not dry_run:
            wanted = pace(parallel=parallel, rate=rate, retry_for=retry_for, window=window, max_duration=max_duration)
        async with console.cluster() as cluster:
            change = _change()
            plan, seconds = await _preview(cluster, change, rate=rate)
            if wanted is None:
                document = {**plan_document(plan, seconds), "dry_run": True}
                console.show(document, lambda: show_plan(console, plan, seconds))
                refuse(plan, change)
                return
            if plan.steps or plan.refusals:
                show_plan(console, plan, seconds)
            refuse(plan, change)
            if plan.steps:
                console.confirm("Move all this?", yes=yes)
            await _go(console, cluster, change, wanted)

    run(ctx, command, when_interrupted=GO_ON)


@rebalance.command()
def status(
    ctx: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again until it has ended.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, metavar="SECONDS", help="Pause between two looks.")] = 2.0,
) -> None:
    """Show the run that is under way, or waits to go on."""

    async def command(console: Console) -> None:
        import asyncio

        from miroir_cli.migration.rebalance import describe_run

        async with console.cluster() as cluster:
            current = await cluster.store.unfinished_run()
            if current is None:
                console.show({"run": None}, lambda: console.print("no run is under way"))
                return
            while True:
                found = await describe_run(cluster, current.id)
                _show_status(console, found, watch=watch)
                if not watch or found["finished_at"] is not None:
                    return
                await asyncio.sleep(interval)

    run(ctx, command)


@rebalance.command()
def pause(ctx: typer.Context, dry_run: Effectless = False) -> None:
    """Hold the run that is under way: nothing more is copied until `resume`; searches and writes go on."""

    async def command(console: Console) -> None:
        from miroir_cli.migration.rebalance import control, describe_run, require_unfinished
        from miroir_cli.store.journal import Wanted

        async with console.cluster() as cluster:
            current = await require_unfinished(cluster)
            if not dry_run:
                await control(cluster, Wanted.PAUSE)
            found = await describe_run(cluster, current.id)
        held = "holds within a second" if found["alive"] else "is not under way and stays where it is"
        _say_what_was_asked(console, found, dry_run, "pause", f"run {current.id} {held}")

    run(ctx, command)


@rebalance.command()
def resume(
    ctx: typer.Context,
    rate: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="At most so many documents a second; 0: no limit."),
    ] = None,
    parallel: ParallelOption = None,
    window: WindowOption = None,
    max_duration: DurationOption = None,
    retry_for: RetryOption = RETRY_FOR,
    dry_run: Effectless = False,
) -> None:
    """Let a paused run go on; when its process is gone, this one goes on with it."""

    async def command(console: Console) -> None:
        from miroir_cli.migration.rebalance import control, describe_run, require_unfinished
        from miroir_cli.store.journal import Wanted

        async with console.cluster() as cluster:
            current = await require_unfinished(cluster)
            wanted = pace(parallel=parallel, rate=rate, retry_for=retry_for, window=window, max_duration=max_duration)
            if not dry_run:
                await control(cluster, Wanted.GO, rate=rate)
                try:
                    await _go(console, cluster, _change(), wanted)
                    return
                except Locked as locked:
                    if not (await describe_run(cluster, current.id))["alive"]:
                        raise
                    console.detail(locked.message)
            found = await describe_run(cluster, current.id)
        how = f"process {found['pid']}" if found["alive"] else "this process"
        _say_what_was_asked(console, found, dry_run, "resume", f"{how} goes on with run {current.id}")

    run(ctx, command, when_interrupted=GO_ON)


@rebalance.command("rate")
def rate_(
    ctx: typer.Context,
    documents: Annotated[
        int, typer.Argument(min=0, metavar="N", help="Documents a second; 0: no limit.", show_default=False)
    ],
    dry_run: Effectless = False,
) -> None:
    """Change how fast the run goes, also while it is under way."""

    async def command(console: Console) -> None:
        from miroir_cli.migration.rebalance import control, describe_run, require_unfinished

        async with console.cluster() as cluster:
            current = await require_unfinished(cluster)
            if not dry_run:
                await control(cluster, rate=documents)
            found = await describe_run(cluster, current.id)
        limit = f"at most {counted(documents, 'document')} a second" if documents else "as fast as it can"
        _say_what_was_asked(console, found, dry_run, "rate", f"run {current.id} goes {limit}")

    run(ctx, command)


@rebalance.command()
def cancel(
    ctx: typer.Context,
    dry_run: Effectless = False,
    yes: Yes = False,
) -> None:
    """Give the run up: what has moved stays, what is half copied is deleted again."""

    async def command(console: Console) -> None:
        from miroir_cli.migration.rebalance import cancel, describe_run, require_unfinished

        async with console.cluster() as cluster:
            current = await require_unfinished(cluster)
            if not dry_run:
                console.confirm(f"Cancel run {current.id} ({current.title})?", yes=yes)
                await cancel(cluster)
            found = await describe_run(cluster, current.id)
        done = f"{found['switched']} of {counted(found['moves'], 'move')}"
        told = f"run {current.id} is cancelled: {done} were done and stay"
        _say_what_was_asked(console, found, dry_run, "cancel", told)
        if not dry_run:
            console.say("the topology file is as it was: edit it, or `miroir rebalance run` begins again")

    run(ctx, command, when_interrupted="run the same command again")


def _change() -> Change:
    from miroir_cli.migration.rebalance import Change

    return Change(title="rebalance")


async def _preview(cluster: Cluster, change: Change, *, rate: int | None = None) -> tuple[Plan, float | None]:
    from miroir_cli.migration.history import expected_seconds
    from miroir_cli.migration.rebalance import make_plan

    plan, _ = await make_plan(cluster, change)
    return plan, await expected_seconds(cluster, plan.documents, rate=rate)


async def _go(console: Console, cluster: Cluster, change: Change, pace: Pace) -> None:
    from miroir_cli.migration.rebalance import rebalance

    outcome = await drive(console, lambda report: rebalance(cluster, change, options=pace.options, report=report))
    finish(console, outcome, pace)


def _say_what_was_asked(console: Console, found: Mapping[str, Any], dry_run: bool, asked: str, told: str) -> None:
    document = {key: value for key, value in found.items() if key != "steps"}
    if dry_run:
        told = f"would ask run {found['run']} ({found['title']}): {asked}"
        document["dry_run"] = True
    console.show(document, lambda: console.print(told))


def _show_status(console: Console, found: Mapping[str, Any], *, watch: bool) -> None:
    if not watch:
        console.show(found, lambda: show_run(console, found))
    elif console.json:
        console.event(found)
    else:
        console.clear()
        show_run(console, found)
