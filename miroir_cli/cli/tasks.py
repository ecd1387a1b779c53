"""`miroir tasks`: the nodes' own queues, and the tasks that clients of the proxy were given."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.consent import agree, preview
from miroir_cli.cli.console import Console, Next, run
from miroir_cli.cli.options import SAFETY, DryRun, Yes
from miroir_cli.cli.since import SinceOption, since
from miroir_cli.cli.task_view import (
    TASK_COLUMNS,
    cancel_document,
    client_document,
    client_task,
    node_task,
    show_queues,
    show_task,
    task_document,
    task_row,
)
from miroir_cli.cli.task_waiting import raise_silence, wait_for_queues, wait_for_tasks
from miroir_cli.errors import PartialError, UsageError

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.queues.look import Wanted

GROUP = """
Look at the nodes' queues, wait for them, and take tasks out.

Each node works through a queue of tasks of its own. `n1/42` is task 42 of node `n1`; a number alone, such as `42`, is
the task that a client of `miroir serve` was given, behind which are tasks of several nodes.

Examples:
  miroir tasks list
  miroir tasks wait --timeout 60
"""

app = typer.Typer()
tasks = typer.Typer(no_args_is_help=True, help=GROUP)
app.add_typer(tasks, name="tasks")

A_DAY = 86_400_000
STATUSES = ("enqueued", "processing", "succeeded", "failed", "canceled")
IndexOption = Annotated[str | None, typer.Option("--index", metavar="UID", help="Only of this index.")]
NodeOption = Annotated[
    list[str] | None, typer.Option("--node", metavar="NAME", help="Only of this node; may be repeated.")
]
TaskArgument = Annotated[
    str, typer.Argument(metavar="TASK", help="`n1/42` of a node, `42` of a client.", show_default=False)
]


@tasks.command(name="list")
def list_(
    ctx: typer.Context,
    index: IndexOption = None,
    node: NodeOption = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help=f"Only tasks in this state: {', '.join(STATUSES)}.")
    ] = None,
    since_: SinceOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, metavar="N", help="How many tasks to show.")] = 20,
    client: Annotated[
        bool, typer.Option("--client", help="The tasks that clients of `miroir serve` were given instead.")
    ] = False,
) -> None:
    """Show how long the nodes' queues are, how fast they go, and what failed.

    For each node the tasks that wait, the age of the oldest, about how long the rest takes at the speed of the last
    five minutes, and what failed since then (`--since`, otherwise a day), by reason, with the documents that are named.
    Then the newest tasks. Exit status 3 when a node does not answer.

    Examples:
      miroir tasks list
      miroir tasks list --index books --status failed --since 2h
      miroir tasks list --client            # what clients of the proxy see
    """

    async def command(console: Console) -> None:
        begin = since(since_)
        if status is not None and status not in STATUSES:
            raise UsageError(
                f"`--status` is `{status}`, expected one of {', '.join(STATUSES)}",
                hint="run `miroir tasks list --help` to see how it is used",
            )
        async with console.cluster() as cluster:
            if index is not None:
                await cluster.map(index)
            if client:
                if node:
                    raise UsageError("`--node` does not go with `--client`: a client's task is one for all nodes")
                await _list_clients(console, cluster, index, status, begin, limit)
                return
            from miroir_cli.queues.look import look_at_queues

            wanted = _wanted(index, node, status=status, since=begin, limit=limit)
            last = int(time.time() * 1000) - A_DAY if begin is None else begin
            queues = await look_at_queues(cluster, wanted, failures_since=last)
        show_queues(console, queues, limit)
        raise_silence({queue.node: queue.error for queue in queues if queue.error is not None})

    run(ctx, command)


@tasks.command()
def show(ctx: typer.Context, task: TaskArgument) -> None:
    """Show one task: what the node says of it, and what it is to miroir.

    Of a task of a node (`n1/42`) the write or the move that it belongs to; of a client's (`42`) the tasks of the nodes
    that carry it.

    Examples:
      miroir tasks show n1/1
    """

    async def command(console: Console) -> None:
        from miroir_cli.queues.look import named

        name = named(task)
        async with console.cluster() as cluster:
            if isinstance(name, int):
                found = await client_task(cluster, name)
            else:
                found = await node_task(cluster, *name)
        console.show(found, lambda: show_task(console, found))

    run(ctx, command)


@tasks.command()
def wait(
    ctx: typer.Context,
    task: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TASK]...", help="Tasks, such as `n1/42`; else whole queues.", show_default=False),
    ] = None,
    index: IndexOption = None,
    node: NodeOption = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Give up after so long, with exit status 5.")
    ] = None,
) -> None:
    """Wait until the queues are empty, or until tasks have ended.

    Without a task: until nothing waits on any node, or on those named, of all indexes or of one. Exit status 0 then, 3
    when a node does not answer or a task that was waited for failed, 5 when the time is over.

    Examples:
      miroir tasks wait
      miroir tasks wait --index books --timeout 600
      miroir tasks wait n1/1
    """

    async def command(console: Console) -> None:
        from miroir_cli.queues.look import named

        names = [named(each) for each in task or ()]
        if names and (index is not None or node):
            raise UsageError("tasks are waited for by name, or queues with `--index` and `--node`")
        deadline = None if timeout is None else time.monotonic() + timeout
        async with console.cluster() as cluster:
            if names:
                await wait_for_tasks(console, cluster, names, deadline)
                return
            if index is not None:
                await cluster.map(index)
            await wait_for_queues(console, cluster, _wanted(index, node), deadline)

    run(ctx, command)


@tasks.command()
def cancel(
    ctx: typer.Context,
    task: Annotated[str, typer.Argument(metavar="NODE/TASK", help="Such as `n1/42`.", show_default=False)],
    accept_data_loss: Annotated[
        bool,
        typer.Option(
            "--accept-data-loss",
            help="Also when nobody else has its part of a write, which is stored nowhere then.",
            rich_help_panel=SAFETY,
        ),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Take a task out of a node's queue.

    What that means is said first. A replica that misses a write is stale until `miroir repair`; where no other replica
    has the write, it is refused (exit status 14). A move tries its step again.

    Examples:
      miroir tasks cancel n1/42 --dry-run
      miroir tasks cancel n1/42 --yes
    """

    async def command(console: Console) -> None:
        from miroir_cli.errors import Refused
        from miroir_cli.queues.cancel import cancel as take_out
        from miroir_cli.queues.cancel import weigh
        from miroir_cli.queues.look import named

        name = named(task)
        if isinstance(name, int):
            raise UsageError(
                f"`{task}` is a client's task: its tasks on the nodes are cancelled one by one, by miroir's name",
                hint=f"run `miroir tasks show {task}`, or `POST /tasks/cancel?uids={task}` to the proxy",
            )
        async with console.cluster() as cluster:
            found, consequence = await weigh(cluster, *name)

            def plan() -> None:
                console.table(TASK_COLUMNS, [task_row(task_document(found))])
                console.print(consequence.told)

            if dry_run:
                await preview(console, cluster, cancel_document(found, consequence, done=False), plan)
                return
            if consequence.lost and not accept_data_loss:
                raise Refused(f"task {task}: {consequence.told}", hint="wait for it, or say `--accept-data-loss`")
            confirm_by_name = found.id if consequence.lost else None
            await agree(console, cluster, f"Cancel task {found.id}?", plan=plan, yes=yes, name=confirm_by_name)
            done = await take_out(cluster, *name, give_up=accept_data_loss)
        document = cancel_document(done.task, done.consequence, done=done.done)
        mend = Next(command=f"miroir repair {done.task.index}", purpose="to bring the replica up to date")
        told = "cancelled" if done.done else f"was not cancelled, it has ended before: {done.task.status}"
        console.show(
            document,
            lambda: console.print(f"task {done.task.id} {told}"),
            next=[mend] if done.done and done.consequence.stale else [],
        )
        if done.done:
            console.say(done.consequence.told)
        else:
            raise PartialError(f"task {done.task.id} {told}", hint=f"run `miroir tasks show {done.task.id}`")

    run(ctx, command)


# -- list


def _wanted(index: str | None, nodes: Sequence[str] | None, **more: Any) -> Wanted:
    from miroir_cli.model import NodeName
    from miroir_cli.queues.look import Wanted

    return Wanted(index=index, nodes=tuple(map(NodeName, nodes or ())), **more)


# -- tasks of clients


async def _list_clients(
    console: Console, cluster: Cluster, index: str | None, status: str | None, begin: int | None, limit: int
) -> None:
    from miroir_cli.store.tasks import TaskQuery
    from miroir_cli.tasks.finishing import finish_on_demand

    await finish_on_demand(cluster)
    query = TaskQuery(
        index_uids=None if index is None else (index,),
        statuses=None if status is None else (status,),
        after={} if begin is None else {"enqueued_at": begin},
        limit=limit,
    )
    found, total = await cluster.store.tasks(query)
    shown = [client_document(task) for task in found]
    counts = await cluster.store.count_tasks()
    document = {"client_tasks": shown, "total": total, "statuses": {str(key): counts[key] for key in sorted(counts)}}

    def render() -> None:
        console.print(f"tasks of clients of `miroir serve`: {total:,} match")
        console.table(TASK_COLUMNS, [task_row(task) for task in shown])

    console.show(document, render)
