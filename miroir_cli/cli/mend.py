"""`miroir verify` and `miroir repair`: whether replicas are equal, and what makes them so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.consent import agree, preview, show_cluster
from miroir_cli.cli.console import Console, Next, run
from miroir_cli.cli.options import SAFETY, DryRun, IndexOrAll, Interval, Parallel, Rate, Yes
from miroir_cli.cli.runs import show_differences
from miroir_cli.cli.table import counted
from miroir_cli.cli.textfile import MetricsFile
from miroir_cli.errors import (
    DifferencesFound,
    EpochStale,
    ForeignNode,
    Locked,
    PartialError,
    Refused,
    TemporaryError,
    UsageError,
)
from miroir_cli.migration.step import refusals_told
from miroir_cli.model import shards_named

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.migration.plan import Plan
    from miroir_cli.migration.rebalance import Outcome
    from miroir_cli.migration.repair import LastResort
    from miroir_cli.migration.run import RunOptions, RunProgress
    from miroir_cli.migration.verify import Verification

app = typer.Typer()


@app.command()
def verify(
    ctx: typer.Context,
    index: IndexOrAll = None,
    sample: Annotated[
        float,
        typer.Option(metavar="SHARE", min=0.0001, max=1.0, help="Compare this share of the documents."),
    ] = 1.0,
    rate: Rate = None,
    parallel: Parallel = 4,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin again instead of going on where one stopped.")
    ] = False,
    metrics_file: MetricsFile = None,
) -> None:
    """Compare the replicas of every shard, document by document.

    And the settings that the nodes have. Changes nothing; writes may go on meanwhile. Exit status 13 when something
    differs, 3 when something could not be compared. Interrupted, the same command goes on where it stopped.

    Examples:
      miroir verify
      miroir verify books --sample 0.1      # a tenth of the documents
      miroir verify --rate 20000 --json     # in the night
    """

    async def command(console: Console) -> None:
        from miroir_cli.migration.verify import VerifyOptions

        options = VerifyOptions(sample=sample, rate=rate, parallel=parallel or 4, restart=restart)
        async with console.cluster() as cluster:
            found = await _compare(console, cluster, index, options)
        mend = Next(command=f"miroir repair {index}" if index else "miroir repair", purpose="to make them equal")
        console.show(found.json(), lambda: _show(console, found), next=() if found.clean else [mend])
        if not found.clean:
            raise DifferencesFound(_told(found), hint=f"run `{mend.command}` {mend.purpose}")
        _raise_what_was_skipped(found, again="miroir verify")

    run(ctx, command, when_interrupted="run `miroir verify` again: it goes on from there")


async def _compare(console: Console, cluster: Cluster, index: str | None, options: Any = None) -> Verification:
    from miroir_cli.migration.verify import verify

    with console.progress() as progress:
        lane = progress.lane("compared")

        def report(documents: int, expected: int | None) -> None:
            lane.update(documents, total=expected)

        return await verify(cluster, indexes=None if index is None else [index], options=options, report=report)


async def _compare_anew(console: Console, cluster: Cluster, index: str | None) -> Verification:
    """What an earlier comparison has seen may have been mended since."""
    from miroir_cli.migration.verify import VerifyOptions

    return await _compare(console, cluster, index, VerifyOptions(restart=True))


def _show(console: Console, found: Verification) -> None:
    resumed = ", resumed" if found.resumed else ""
    console.print(
        f"{counted(found.documents, 'document')} in {counted(found.shards, 'shard')} compared, "
        f"{found.seconds:.1f} s{resumed}: {_told(found)}"
    )
    if found.differences:
        show_differences(console, found.json()["differences"])
    for uid, nodes in found.settings.items():
        for node, names in nodes.items():
            console.warn(f"node `{node}` has other settings than index `{uid}`: {', '.join(names)}")


def _raise_what_was_skipped(found: Verification, *, again: str) -> None:
    if found.skipped:
        raise PartialError(
            f"{counted(len(found.skipped), 'shard')} could not be compared: {found.skipped[0][2]}",
            hint=f"run `miroir status`, then `{again}` again",
        )


def _told(found: Verification) -> str:
    parts = []
    if found.differences:
        parts.append(counted(len(found.differences), "replica differs", "replicas differ"))
    if found.settings:
        nodes = sum(len(names) for names in found.settings.values())
        parts.append(f"{counted(nodes, 'node')} with other settings")
    if not parts and found.shards:
        parts.append("equal")
    if found.skipped:
        parts.append(f"{counted(len(found.skipped), 'shard')} not compared")
    return ", ".join(parts) or "nothing to compare"


@app.command()
def repair(
    ctx: typer.Context,
    index: IndexOrAll = None,
    prefer: Annotated[
        str | None,
        typer.Option(metavar="NODE", help="Where in-sync replicas differ, take what this node has."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare/--no-compare", help="Compare in-sync replicas and settings as well.")
    ] = True,
    accept_data_loss: Annotated[
        bool,
        typer.Option(
            "--accept-data-loss",
            help="Let a stale replica serve where no other is left (asks, by shard).",
            rich_help_panel=SAFETY,
        ),
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="NODE", help="With --accept-data-loss: the node to take.", rich_help_panel=SAFETY
        ),
    ] = None,
    parallel: Parallel = None,
    rate: Rate = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Keep mending what becomes stale, until ctrl-C.")
    ] = False,
    interval: Interval = 5.0,
    metrics_file: MetricsFile = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Make replicas equal again.

    Stale ones are made good from those in sync, whole shards or only the documents that they missed. Then replicas in
    sync are compared, and where they differ `--prefer` says whose documents are right; settings that a node has
    otherwise are put back. Nothing is thrown away unasked: a shard of which only stale replicas are left stays out of
    service until `--accept-data-loss`.

    Examples:
      miroir repair
      miroir repair books --no-compare       # only what is known to be stale
      miroir repair --prefer n1              # in-sync replicas differ, and n1 is right
      miroir repair --watch --interval 30    # in the background, until ctrl-C
    """

    async def command(console: Console) -> None:
        from miroir_cli.migration.run import RunOptions

        if source is not None and not accept_data_loss:
            raise UsageError("`--from` goes with `--accept-data-loss`")
        if prefer is not None and not compare:
            raise UsageError("`--prefer` needs the comparison that `--no-compare` leaves out")
        options = RunOptions(parallel=parallel, rate=rate)
        async with console.cluster() as cluster:
            if index is not None:
                await cluster.map(index)
            for name in (prefer, source):
                if name is not None:
                    cluster.topology.node(name)
            if dry_run:
                await _show_plan(console, cluster, index)
                return
            if watch:
                await _watch(console, cluster, index, options, interval)
            if accept_data_loss:
                await _accept_loss(console, cluster, index, source, yes=yes)
            elif console.asks(yes=yes):
                await _ask_first(console, cluster, index)
            outcome = await _mend(console, cluster, index, options)
            found = await _compare_anew(console, cluster, index) if compare else None
            if found is not None and not found.clean:
                outcome, found = await _resolve(console, cluster, index, options, found, prefer, outcome)
            lost = await _without_source(cluster, index)
        document = _document(outcome, found)
        again = Next(command=f"miroir repair {index}" if index else "miroir repair", purpose="for the rest")
        left = lost or outcome.refusals or (outcome.result is not None and outcome.result.unfinished)
        console.show(document, lambda: _show_repair(console, outcome, found), next=[again] if left else ())
        _raise_what_is_left(outcome, found, lost)

    run(ctx, command, when_interrupted="run `miroir repair` again: what is mended stays mended")


async def _plan(cluster: Cluster, index: str | None) -> Plan:
    from miroir_cli.migration.rebalance import Change, make_plan

    indexes = None if index is None else frozenset({index})
    plan, _ = await make_plan(cluster, Change(title="repair", only_repair=True, indexes=indexes))
    return plan


async def _show_plan(console: Console, cluster: Cluster, index: str | None) -> None:
    plan = await _plan(cluster, index)
    await preview(console, cluster, plan.json(), lambda: console.print(_would_mend(plan)))
    for told in refusals_told(plan.refusals):
        console.warn(told)


async def _ask_first(console: Console, cluster: Cluster, index: str | None) -> None:
    """Nothing is asked when no replica is known to be stale: comparing changes nothing."""
    plan = await _plan(cluster, index)
    if plan.steps:
        question = f"Mend {counted(len(plan.steps), 'replica')}?"
        await agree(console, cluster, question, plan=lambda: console.print(_would_mend(plan)), yes=False, always=False)


def _would_mend(plan: Plan) -> str:
    told = f"{counted(len(plan.steps), 'replica')} would be mended" if plan.steps else "nothing to mend"
    if plan.steps and plan.documents is not None:
        told += f", of {counted(plan.documents, 'document')} in all"
    return told + (f", {counted(len(plan.refusals), 'replica')} cannot be now" if plan.refusals else "")


async def _watch(console: Console, cluster: Cluster, index: str | None, options: RunOptions, interval: float) -> None:
    """Mend again and again; other runs go first."""
    import asyncio

    from miroir_cli.migration.repair import repair

    while True:
        try:
            outcome = await repair(cluster, indexes=None if index is None else [index], options=options)
            if outcome.result is not None and console.json:
                console.event(outcome.result.json())
            elif outcome.result is not None:
                _show_repair(console, outcome, None)
        except (EpochStale, ForeignNode):
            raise
        except (Locked, Refused, TemporaryError) as error:
            console.detail(error.message)
        await asyncio.sleep(interval)


async def _mend(console: Console, cluster: Cluster, index: str | None, options: RunOptions) -> Outcome:
    """Mend what can be; what cannot is among the refusals, also when that is all of it."""
    from miroir_cli.migration.rebalance import Change, Outcome, make_plan
    from miroir_cli.migration.repair import repair

    indexes = None if index is None else [index]

    with console.progress() as progress:
        lane = progress.lane("mended")

        def report(state: RunProgress) -> None:
            lane.update(state.documents, total=state.expected, note=f"{state.done} of {state.steps} replicas")

        try:
            return await repair(cluster, indexes=indexes, options=options, report=report)
        except (EpochStale, ForeignNode):
            raise
        except Refused:
            change = Change(title="repair", only_repair=True, indexes=None if indexes is None else frozenset(indexes))
            plan, _ = await make_plan(cluster, change)
            return Outcome(result=None, refusals=plan.refusals)


async def _accept_loss(console: Console, cluster: Cluster, index: str | None, source: str | None, *, yes: bool) -> None:
    from miroir_cli.migration.repair import accept_data_loss, last_resorts

    if index is None:
        raise UsageError("`--accept-data-loss` is for one index", hint="name it: `miroir repair INDEX ...`")
    node = cluster.topology.node(source).name if source is not None else None
    resorts = await last_resorts(cluster, index, source=node)
    if not resorts:
        console.say(f"of every shard of `{index}` a replica in sync answers: nothing has to be accepted")
        return
    if console.asks(yes=yes):
        await show_cluster(console, cluster)
    for resort in resorts:
        console.warn(_loss(resort))
    question = f"Accept this loss for {counted(len(resorts), 'shard')} of index `{index}`?"
    console.confirm_name(question, index, yes=yes)
    await accept_data_loss(cluster, resorts)


def _loss(resort: LastResort) -> str:
    if resort.node is None:
        return f"shard {resort.shard} of `{resort.index}`: no node that answers has anything of it, it begins empty"
    return (
        f"shard {resort.shard} of `{resort.index}`: node `{resort.node}` ({resort.state}) has "
        f"{counted(resort.documents or 0, 'document')} and may lack {counted(resort.missed, 'write')}"
    )


async def _resolve(
    console: Console,
    cluster: Cluster,
    index: str | None,
    options: RunOptions,
    found: Verification,
    node: str | None,
    before: Outcome,
) -> tuple[Outcome, Verification]:
    """Mend what the comparison found: settings as the index has them, documents as the preferred node has them."""
    from miroir_cli.migration.repair import mend_settings, prefer

    await mend_settings(cluster, found)
    if found.differences:
        chosen = node or await _ask(console, cluster, found)
        if chosen is None:
            return before, found
        await prefer(cluster, found.differences, cluster.topology.node(chosen).name)
        before = await _mend(console, cluster, index, options)
    return before, await _compare_anew(console, cluster, index)


async def _ask(console: Console, cluster: Cluster, found: Verification) -> str | None:
    """Show a document of the first difference as both nodes have it, and ask which is right."""
    import msgspec

    from miroir_cli.migration.repair import show_difference

    if not console.interactive:
        return None
    first = found.differences[0]
    key = sorted(first.keys)[0]
    for name, document in (await show_difference(cluster, first, key)).items():
        console.say(f"`{key}` on node `{name}`: {msgspec.json.encode(document).decode()}")
    others = sum(len(each.keys) for each in found.differences) - 1
    question = f"Which node is right (also for {counted(others, 'other document')})"
    return console.ask(question, option="--prefer NODE")


async def _without_source(cluster: Cluster, index: str | None) -> dict[str, list[int]]:
    """Shards that nothing could be copied for."""
    names = [index] if index is not None else [each.uid for each in await cluster.store.indexes()]
    lost: dict[str, list[int]] = {}
    for uid in names:
        missing = [int(shard) for shard, nodes in (await cluster.reload(uid)).in_sync().items() if not nodes]
        if missing:
            lost[uid] = missing
    return lost


def _document(outcome: Outcome, found: Verification | None) -> dict[str, Any]:
    nothing = {"run": None, "state": "done", "moves": 0, "drops": 0, "documents_moved": 0, "seconds": 0.0}
    document: dict[str, Any] = {**(outcome.result.json() if outcome.result is not None else nothing)}
    document["refused"] = [
        {"index": each.index, "shard": each.shard, "reason": each.reason} for each in outcome.refusals
    ]
    if found is not None:
        document |= {"differences": found.json()["differences"], "settings": found.json()["settings"]}
    return document


def _show_repair(console: Console, outcome: Outcome, found: Verification | None) -> None:
    if outcome.result is None:
        console.print("no replica was mended" if outcome.refusals else "no replica had to be mended")
    else:
        result = outcome.result.json()
        console.print(
            f"{counted(int(str(result['moves'])), 'replica')} mended, "
            f"{counted(int(str(result['documents_moved'])), 'document')} written, {outcome.result.seconds:.1f} s"
        )
    if found is not None:
        _show(console, found)


def _raise_what_is_left(outcome: Outcome, found: Verification | None, lost: dict[str, list[int]]) -> None:
    if lost:
        uid, shards = next(iter(lost.items()))
        raise Refused(
            f"index `{uid}`: no replica of {shards_named(shards)} is in sync",
            hint=f"bring its nodes back, or run `miroir repair {uid} --accept-data-loss`",
        )
    if found is not None and not found.clean:
        raise DifferencesFound(_told(found), hint="say which node is right with `--prefer NODE`")
    if outcome.refusals:
        first = outcome.refusals[0]
        raise PartialError(
            f"{counted(len(outcome.refusals), 'replica')} could not be mended: {first.reason}",
            hint="run `miroir repair` again when the nodes answer",
        )
    if outcome.result is not None and outcome.result.unfinished:
        step = outcome.result.unfinished[0]
        raise PartialError(
            f"{counted(len(outcome.result.unfinished), 'replica')} could not be mended: {step.error}",
            hint="run `miroir repair` again",
        )
    if found is not None:
        _raise_what_was_skipped(found, again="miroir repair")
