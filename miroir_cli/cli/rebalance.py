"""`miroir rebalance`: make the cluster what its topology file says, and steer the run that does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.consent import agree, preview, preview_cluster
from miroir_cli.cli.console import Console, Next, run, with_next
from miroir_cli.cli.moving import (
    RETRY_FOR,
    Pace,
    drive,
    finish,
    pace,
    plan_document,
    show_plan,
)
from miroir_cli.cli.options import SPEED, DetailedExitcode, DryRun, Interval, Parallel, Rate, RetryFor, Watch, Yes
from miroir_cli.cli.runs import GO_ON, next_of, process_of, show_run
from miroir_cli.cli.table import counted
from miroir_cli.cli.textfile import MetricsFile
from miroir_cli.errors import ChangesPending, Locked

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.migration.plan import Plan
    from miroir_cli.migration.rebalance import Change

GROUP = """
Make the cluster what its topology file says, and steer runs.

Edit the file (nodes, weights, zones, replicas), read the plan, run it. A run is a list of small steps in a journal: it
can be paused, slowed down, cancelled and killed, and goes on where it was. `miroir node` does both, the edit and the
run.

Examples:
  miroir rebalance plan
  miroir rebalance run --max-duration 2h      # every night, until it is done
  miroir rebalance status
"""

app = typer.Typer()
rebalance = typer.Typer(no_args_is_help=True, help=GROUP)
app.add_typer(rebalance, name="rebalance")

WindowOption = Annotated[
    str | None,
    typer.Option(
        metavar="HH:MM-HH:MM", help="Only between these times of the day, in local time.", rich_help_panel=SPEED
    ),
]
DurationOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Stop at a clean place after so long, such as `2h` or `90m`.", rich_help_panel=SPEED
    ),
]


@rebalance.command()
def plan(
    ctx: typer.Context,
    detailed_exitcode: DetailedExitcode = False,
) -> None:
    """Show what has to move to be what the topology file says.

    The fewest copies that lead there, how much they are and about how long they take; `-v` lists them one by one.
    Nothing is changed. A plan that would lose an only copy is refused, with exit status 14.

    Examples:
      miroir rebalance plan
      miroir rebalance plan --detailed-exitcode      # for scripts: 9 when something is to be done
      miroir rebalance plan --json
    """

    async def command(console: Console) -> None:
        from miroir_cli.migration.rebalance import refuse

        async with console.cluster() as cluster:
            change = _change()
            plan, seconds = await _preview(cluster, change)
            console.show(
                plan_document(plan, seconds),
                lambda: show_plan(console, plan, seconds),
                next=[Next(command="miroir rebalance run", purpose="to do it")] if plan.steps else (),
            )
        refuse(plan, change)
        if detailed_exitcode and plan.steps:
            raise ChangesPending(
                f"{counted(len(plan.steps), 'change')} pending", hint="run `miroir rebalance run` to make them"
            )

    run(ctx, command)


@rebalance.command("run")
def run_(
    ctx: typer.Context,
    parallel: Parallel = None,
    rate: Rate = None,
    window: WindowOption = None,
    max_duration: DurationOption = None,
    retry_for: RetryFor = RETRY_FOR,
    metrics_file: MetricsFile = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Move what has to move, or go on with a run that stopped.

    Shards are copied, compared and switched one by one while searches and writes go on. Out of time (`--max-duration`,
    `--window`), interrupted or killed, it stops at a clean place, and the same command goes on from there.

    Examples:
      miroir rebalance run --dry-run
      miroir rebalance run
      miroir rebalance run --yes --rate 5000 --max-duration 2h      # gently, in the night
    """

    async def command(console: Console) -> None:
        from miroir_cli.migration.rebalance import refuse

        wanted = None
        if not dry_run:
            wanted = pace(parallel=parallel, rate=rate, retry_for=retry_for, window=window, max_duration=max_duration)
        async with console.cluster() as cluster:
            change = _change()
            plan, seconds = await _preview(cluster, change, rate=rate)

            def show() -> None:
                show_plan(console, plan, seconds)

            if wanted is None:
                await preview(console, cluster, {**plan_document(plan, seconds), "dry_run": True}, show)
                refuse(plan, change)
                return
            if plan.refusals and not plan.steps:
                show()
            refuse(plan, change)
            if plan.steps:
                await agree(console, cluster, "Move all this?", plan=show, yes=yes, plan_unasked=True)
            await _go(console, cluster, change, wanted)

    run(ctx, command, when_interrupted=GO_ON)


@rebalance.command()
def status(
    ctx: typer.Context,
    watch: Watch = False,
    interval: Interval = 2.0,
) -> None:
    """Show the run that is under way, or waits to go on.

    How far it is, the steps in hand, and what holds others up. With `--watch` until the run has ended. `miroir journal
    list` has those that have.

    Examples:
      miroir rebalance status
      miroir rebalance status --watch --interval 5
    """

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
def pause(ctx: typer.Context, dry_run: DryRun = False) -> None:
    """Hold the run that is under way, until `resume`.

    From any shell. Nothing more is copied; searches and writes go on, and what has moved stays where it is.

    Examples:
      miroir rebalance pause
    """

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
        typer.Option(
            "--rate",
            min=0,
            metavar="N",
            help="At most so many documents a second; 0: no limit.",
            rich_help_panel=SPEED,
        ),
    ] = None,
    parallel: Parallel = None,
    window: WindowOption = None,
    max_duration: DurationOption = None,
    retry_for: RetryFor = RETRY_FOR,
    dry_run: DryRun = False,
) -> None:
    """Let a paused run go on.

    When the process that drove it is gone, this one goes on with it until it is done.

    Examples:
      miroir rebalance resume
      miroir rebalance resume --rate 20000
    """

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
        how = process_of(found) if found["alive"] else "this process"
        _say_what_was_asked(console, found, dry_run, "resume", f"{how} goes on with run {current.id}")

    run(ctx, command, when_interrupted=GO_ON)


@rebalance.command("rate")
def rate_(
    ctx: typer.Context,
    documents: Annotated[
        int, typer.Argument(min=0, metavar="N", help="Documents a second; 0: no limit.", show_default=False)
    ],
    dry_run: DryRun = False,
) -> None:
    """Change how fast the run goes, also while it is under way.

    Examples:
      miroir rebalance rate 2000
      miroir rebalance rate 0         # as fast as it can
    """

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
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Give the run up.

    What has moved stays, what is half copied is deleted again. The topology file is not changed: it still asks for the
    rest, so edit it, or `miroir rebalance run` begins again.

    Examples:
      miroir rebalance cancel --dry-run
      miroir rebalance cancel --yes
    """

    async def command(console: Console) -> None:
        from miroir_cli.migration.rebalance import cancel, describe_run, require_unfinished

        async with console.cluster() as cluster:
            current = await require_unfinished(cluster)
            if dry_run:
                await preview_cluster(console, cluster)
            else:
                before = await describe_run(cluster, current.id)
                question = f"Cancel run {current.id} ({current.title})?"
                await agree(console, cluster, question, plan=lambda: show_run(console, before), yes=yes)
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
    next = [] if dry_run or asked == "cancel" else next_of(document)
    console.show(document, lambda: console.print(told), next=next)


def _show_status(console: Console, found: Mapping[str, Any], *, watch: bool) -> None:
    if not watch:
        console.show(found, lambda: show_run(console, found), next=next_of(found))
    elif console.json:
        console.event(with_next(found, next_of(found)))
    else:
        console.clear()
        show_run(console, found)
