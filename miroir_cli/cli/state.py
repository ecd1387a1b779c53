"""`miroir state`: what says what the cluster is, for the day that it is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.console import Console, Next, run
from miroir_cli.cli.options import DryRun, Yes
from miroir_cli.cli.table import Column, counted
from miroir_cli.errors import PartialError
from miroir_cli.model import ReplicaState, shards_named

if TYPE_CHECKING:
    from miroir_cli.replication.rebuild import Recovery
    from miroir_cli.store.records import RebuiltIndex

GROUP = """
Bring back a lost state.

The state (the file `.miroir/state.db` beside the topology file, or Redis) says what the cluster is: its indexes, and
which node has which shard in sync. Every node keeps a copy, so that a lost one can be made anew.

Examples:
  miroir state recover --dry-run
"""

app = typer.Typer()
state = typer.Typer(no_args_is_help=True, help=GROUP)
app.add_typer(state, name="state")

COLUMNS = (
    Column(name="index", name_like=True),
    Column(name="shards", right=True, keep=True),
    Column(name="in sync", right=True, keep=True),
    Column(name="stale", right=True, keep=True),
    Column(name="lost", right=True, keep=True),
    Column(name="last write", right=True, optional=True),
    Column(name="newest copy on", optional=True),
)


@state.command()
def recover(
    ctx: typer.Context,
    accept_loss: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-loss",
            metavar="NODE",
            help="Go on without a node that does not answer: what only it has is given up. May be repeated.",
        ),
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Build the state file anew from the copies that nodes keep.

    For a state file, or a state in Redis, that is lost, damaged or older than what the nodes know. One replica of each
    shard begins as in sync, the others as stale until `miroir repair` has compared them. The old state is kept under
    another name.

    Examples:
      miroir state recover --dry-run
      miroir state recover
      miroir state recover --accept-loss n3 --yes      # n3 will not come back
    """

    async def command(console: Console) -> None:
        from miroir_cli.replication.rebuild import recover_state

        losses = accept_loss or []
        async with console.site() as site:
            if dry_run or not yes:
                planned = await recover_state(site, accept_loss=losses, dry_run=True)
            if dry_run:
                show(console, planned)
                return
            if not yes:
                tell_plan(console, planned)
                ask(console, planned)
            done = await recover_state(site, accept_loss=losses)
        show(console, done)
        if done.election.uncovered:
            raise PartialError(uncovered_line(done), hint="run `miroir status` to see what is left of them")

    run(ctx, command, when_interrupted="run the same command again: the old state or the whole new one is in its place")


def tell_plan(console: Console, planned: Recovery) -> None:
    """What a person has to know before they say yes, on standard error."""
    console.say(
        f"{planned.reason}; {counted(len(planned.election.state.indexes), 'index', 'indexes')} can be recovered"
    )
    if console.interactive:
        with console.aside():
            render(console, planned)
    for note in notes(planned):
        console.say(f"note: {note}")


def ask(console: Console, planned: Recovery) -> None:
    """The question; what only nodes or shards knew that are given up is lost, so that then the name is asked for."""
    question = "Build the state anew from this?"
    if planned.accepted or planned.election.uncovered:
        name = str(planned.election.state.cluster.name)
        console.confirm_name(f"{question} What only others knew is lost.", name, yes=False)
    else:
        console.confirm(question, yes=False)


def show(console: Console, recovery: Recovery) -> None:
    """The result, or what it would be."""
    behind = any(
        replica.state is not ReplicaState.SERVING
        for found in recovery.election.state.indexes
        for replica in found.replicas
    )
    mend = Next(command="miroir repair", purpose="to compare the copies and bring them up to date")
    console.show(document(recovery), lambda: render(console, recovery), next=[mend] if behind and recovery.done else ())
    for note in notes(recovery):
        console.say(f"note: {note}")


def render(console: Console, recovery: Recovery) -> None:
    state = recovery.election.state
    done = "recovered" if recovery.done else "would recover"
    console.print(
        f"{done} the state of cluster `{state.cluster.name}` at epoch {state.cluster.epoch}: {recovery.reason}"
    )
    if recovery.aside is not None:
        console.print(f"the old state is now `{recovery.aside}`")
    if state.indexes:
        console.table(COLUMNS, [row(recovery, found) for found in state.indexes])


def row(recovery: Recovery, found: RebuiltIndex) -> tuple[str | int, ...]:
    """An index under `COLUMNS`."""
    states = Counter(replica.state for replica in found.replicas)
    return (
        found.index.uid,
        found.index.shards,
        states[ReplicaState.SERVING],
        states[ReplicaState.STALE],
        states[ReplicaState.LOST],
        found.newest,
        ", ".join(recovery.election.sources[found.index.uid][1]),
    )


def document(recovery: Recovery) -> dict[str, Any]:
    """The JSON document of `state recover`."""
    election = recovery.election
    return {
        "recovered": recovery.done,
        "reason": recovery.reason,
        "cluster": {"name": election.state.cluster.name, "epoch": election.state.cluster.epoch},
        "old_file": recovery.aside,
        "nodes": [
            {
                "name": holding.node,
                "state": "new" if holding.node in election.newcomers else "member",
                "epoch": holding.epoch,
            }
            for holding in recovery.holdings
        ]
        + [{"name": name, "state": "lost", "epoch": None} for name in recovery.accepted],
        "indexes": [_index_document(recovery, found) for found in election.state.indexes],
        "aliases": [alias.json() for alias in election.state.aliases],
        "deleted": sorted(election.state.deleted),
        "unknown": [{"uid": uid, "nodes": list(nodes)} for uid, nodes in election.unknown.items()],
        "tasks_in_queues": recovery.waiting,
        "notes": list(notes(recovery)),
    }


def _index_document(recovery: Recovery, found: RebuiltIndex) -> dict[str, Any]:
    epoch, nodes = recovery.election.sources[found.index.uid]
    return {
        "uid": found.index.uid,
        "shards": found.index.shards,
        "last_write": found.newest,
        "copy": {"epoch": epoch, "nodes": list(nodes)},
        "placement": [
            {"shard": replica.shard, "node": replica.node, "state": replica.state.value} for replica in found.replicas
        ],
        "uncovered_shards": list(recovery.election.uncovered.get(found.index.uid, ())),
    }


def uncovered_line(recovery: Recovery) -> str:
    """Which shards have no replica in sync."""
    parts = [f"index `{uid}`: {shards_named(shards)}" for uid, shards in recovery.election.uncovered.items()]
    return f"no node that answers was in sync for {'; '.join(parts)}"


def notes(recovery: Recovery) -> Iterator[str]:
    """What could not be known, and what is left to do."""
    election = recovery.election
    if election.uncovered:
        yield f"{uncovered_line(recovery)}: they refuse reads and writes"
    for uid, nodes in election.unknown.items():
        yield (
            f"index `{uid}` on {', '.join(nodes)} is in no copy: its creation had not ended, or it is not miroir's; "
            f"delete it on {'that node' if len(nodes) == 1 else 'those nodes'} if nobody needs it"
        )
    for uid in election.vanished:
        yield f"index `{uid}` is on no node any more and counts as deleted"
    for name in election.dangling:
        yield f"alias `{name}` stands for no index any more, and is not recovered"
    if recovery.waiting and not recovery.done:
        yield f"{counted(recovery.waiting, 'task')} in the nodes' queues will be waited for"
    if election.state.indexes:
        yield "imports that were under way begin anew; a write whose outcome was not told may or may not be stored"
        yield "a change of settings that was under way may be on some nodes only: make it again"
    if any(replica.state is not ReplicaState.SERVING for found in election.state.indexes for replica in found.replicas):
        yield "until `miroir repair` has compared them, one node alone has the last word on each shard"
