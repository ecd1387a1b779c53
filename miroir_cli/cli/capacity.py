"""`miroir plan-capacity`: how many nodes, and what they need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.table import Column, counted, spoken
from miroir_cli.errors import UsageError

if TYPE_CHECKING:
    from miroir_cli.topology.sizing import Demand, Need, Range, Sizing

app = typer.Typer()

WHAT: Final = "What is to be searched"
NODES: Final = "What there is for it"
UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY_UNITS: Final = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.I)
COLUMNS = (
    Column(name="of one node", keep=True),
    Column(name="needed", right=True, keep=True),
    Column(name="there is", right=True, keep=True),
    Column(name="verdict", keep=True),
)
SAID: Final = {"yes": "this fits", "perhaps": "this may fit", "no": "this does not fit"}


@app.command("plan-capacity")
def plan_capacity(
    ctx: typer.Context,
    documents: Annotated[int | None, typer.Option(metavar="N", min=1, help="Documents.", rich_help_panel=WHAT)] = None,
    bytes_per_document: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Bytes of one document as JSON, on average.", rich_help_panel=WHAT),
    ] = None,
    queries_per_second: Annotated[
        float | None, typer.Option(metavar="N", min=0, help="Searches a second at the worst.", rich_help_panel=WHAT)
    ] = None,
    database_ratio: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            min=0.1,
            help="Bytes of database for each byte of documents, where a sample has told.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    from_cluster: Annotated[
        str | None,
        typer.Option(
            metavar="INDEX",
            help="Take what is not said from this index of the cluster and from the topology file.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    nodes: Annotated[int | None, typer.Option(metavar="N", min=1, help="Nodes.", rich_help_panel=NODES)] = None,
    replicas: Annotated[
        int | None, typer.Option(metavar="R", min=1, help="Copies of each document.", rich_help_panel=NODES)
    ] = None,
    groups: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Replica groups.", rich_help_panel=NODES)
    ] = None,
    node_cores: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processor cores of a node.", rich_help_panel=NODES)
    ] = 4,
    node_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory of a node, such as 16GiB.", rich_help_panel=NODES)
    ] = None,
    node_disk: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Disk of a node, such as 200GB.", rich_help_panel=NODES)
    ] = None,
) -> None:
    """Estimate what a cluster needs: disk, memory, time, searches.

    The figures are estimates with a range, from measurements that docs/benchmarks.md shows, for text differs a lot.
    A sample of your own documents narrows them: import it and use --from-cluster. Without it no node is asked and no
    topology file is needed. Embeddings are not counted. Where nothing is said there are three nodes and two replicas.

    Examples:
      miroir plan-capacity --documents 5000000 --bytes-per-document 800 --node-memory 32GiB --node-disk 200GB
      miroir plan-capacity --from-cluster books --documents 5000000     # the same data, but more of it
      miroir plan-capacity --documents 1000000 --bytes-per-document 500 --queries-per-second 300 --json
    """

    async def command(console: Console) -> None:
        from miroir_cli.topology.sizing import Demand

        memory, disk = read_size("--node-memory", node_memory), read_size("--node-disk", node_disk)
        known = await _of_cluster(console, from_cluster) if from_cluster is not None else {}
        said = {
            "documents": documents,
            "bytes_per_document": bytes_per_document,
            "database_ratio": database_ratio,
            "nodes": nodes,
            "replicas": replicas,
            "groups": groups,
        }
        known |= {name: value for name, value in said.items() if value is not None}
        for name in ("documents", "bytes_per_document"):
            if not known.get(name):
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"`{option}` is not given", hint="say it, or take it with `--from-cluster INDEX`")
        demand = Demand(
            **known,
            node_cores=node_cores,
            node_memory=memory,
            node_disk=disk,
            queries_per_second=queries_per_second,
        )
        typed = {"disk": node_disk or "", "memory": node_memory or ""}
        _show(console, _checked(demand), typed)

    run(ctx, command)


def read_size(option: str, text: str | None) -> int | None:
    """`16GiB`, `200 GB`, `500000` in bytes. Raises `UsageError`."""
    if text is None:
        return None
    found = SIZE.fullmatch(text.strip())
    if found is None or (found[3] and not found[2]) or not float(found[1]):
        raise UsageError(f"`{option}` is `{text}`, expected a size", hint="such as `16GiB`, `200GB` or `500000`")
    units = BINARY_UNITS if found[3] else UNITS
    return int(float(found[1]) * units[found[2].lower()])


async def _of_cluster(console: Console, uid: str) -> dict[str, Any]:
    """What an index and its cluster are like now. Raises `UsageError` when it is empty."""
    from miroir_cli.indexes.measures import measure_all

    async with console.cluster() as cluster:
        map = await cluster.map(uid)
        uids = [index.uid for index in await cluster.store.indexes()]
        whole = await measure_all(cluster, uids)
        maps = [await cluster.map(name) for name in uids]
        copies = {str(each.index.uid): len(each.replicas) / each.index.shards for each in maps}
    found = whole.indexes[uid]
    if not found.documents:
        raise UsageError(f"index `{uid}` has no documents", hint=f"import a sample first: `miroir import {uid} FILE`")
    stored = sum(measure.raw_size * copies[name] for name, measure in whole.indexes.items())
    groups = {node.group for node in cluster.topology.active_nodes}
    return {
        "documents": found.documents,
        "bytes_per_document": max(1, found.average_size),
        "database_ratio": round(whole.used / stored, 2) if stored else None,
        "nodes": len(cluster.topology.active_nodes),
        "replicas": max(1, round(len(map.replicas) / map.index.shards / len(groups))),
        "groups": len(groups),
    }


def _checked(demand: Demand) -> Demand:
    if demand.nodes % demand.groups:
        raise UsageError(
            f"{counted(demand.nodes, 'node')} cannot be {counted(demand.groups, 'equal group')}",
            hint="the estimate is for groups of equal size",
        )
    if demand.nodes_per_group < demand.replicas:
        had, wanted = counted(demand.nodes_per_group, "node"), counted(demand.replicas, "replica")
        raise UsageError(
            f"{had} in a group are too few for {wanted}",
            hint="copies of a document are on different nodes",
        )
    return demand


def _show(console: Console, demand: Demand, typed: Mapping[str, str]) -> None:
    from miroir_cli.topology.sizing import estimate, smallest

    sizing, sure, possible = estimate(demand), smallest(demand), smallest(demand, sure=False)
    asked = any(need.given is not None for need in sizing.needs)
    needs: dict[str, Any] = {
        need.name: {**asdict(need.estimate), "given": need.given, "verdict": need.verdict} for need in sizing.needs
    }
    document: dict[str, Any] = {
        "demand": asdict(demand),
        **asdict(sizing),
        **needs,
        "fits": sizing.fits if asked else None,
        "enough": _cluster(sure) if asked else None,
        "perhaps_enough": _cluster(possible) if asked else None,
    }
    console.show(document, lambda: _print(console, demand, sizing, typed, _advice(sure, possible) if asked else None))


def _cluster(demand: Demand | None) -> dict[str, int] | None:
    return None if demand is None else {"nodes": demand.nodes, "groups": demand.groups, "replicas": demand.replicas}


def _print(console: Console, demand: Demand, sizing: Sizing, typed: Mapping[str, str], advice: str | None) -> None:
    copies = counted(demand.replicas, "replica")
    group = f" in {demand.groups} groups" if demand.groups > 1 else ""
    console.print(
        f"{counted(demand.documents, 'document')} of {demand.bytes_per_document:,} bytes, {copies}, "
        f"{counted(demand.nodes, 'node')}{group} of {counted(demand.node_cores, 'core')}: an estimate"
    )
    console.print()
    rows: list[tuple[str, ...]] = [
        ("documents", f"{sizing.documents_per_node:,}", "", ""),
        ("database", sizes(sizing.database), "", ""),
        ("disk, with room to work", sizes(sizing.disk.estimate), typed["disk"], _verdict(sizing.disk)),
        ("memory, to be quick", sizes(sizing.memory.estimate), typed["memory"], _verdict(sizing.memory)),
    ]
    if sizing.after_loss is not None:
        rows.append(("memory, one node less", sizes(sizing.after_loss), typed["memory"], ""))
    console.table(COLUMNS, rows)
    console.print()
    low, high = sizing.import_seconds.low, sizing.import_seconds.high
    console.print(f"first import: {spoken(low)} to {spoken(high)}")
    searches = sizing.searches
    console.print(
        f"searches a second: {numbers(searches.estimate)}; each asks {numbers(sizing.nodes_asked)} nodes"
        + (f"; {searches.given:,g} wanted: {_verdict(searches)}" if searches.given is not None else "")
    )
    if sizing.proxy_workers is not None:
        console.print(f"`miroir serve`: {counted(ceil(sizing.proxy_workers.high), 'worker')}, a core for each")
    if advice is not None:
        console.print()
        console.print(f"{SAID[sizing.fits]}; {advice}")


def _advice(sure: Demand | None, possible: Demand | None) -> str:
    if possible is None:
        return "no number of such nodes does: take larger ones, or other replicas"
    if sure is None:
        return f"{_nodes(possible)} may be enough, no number of such nodes surely is"
    if (sure.nodes, sure.groups) == (possible.nodes, possible.groups):
        return f"{_nodes(sure)} are enough"
    return f"{_nodes(possible)} may be enough, {_nodes(sure)} are"


def _nodes(demand: Demand) -> str:
    return counted(demand.nodes, "node") + (f" in {demand.groups} groups" if demand.groups > 1 else "")


def _verdict(need: Need) -> str:
    return "" if need.given is None else need.verdict


def sizes(estimate: Range) -> str:
    """`3.1 to 17.4 GB`: both in the unit of the larger one."""
    unit, name = _unit(estimate.high)
    return f"{estimate.low / unit:.3g} to {estimate.high / unit:.3g} {name}"


def _unit(value: float) -> tuple[float, str]:
    return next((each for each in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")) if value >= each[0]), (1e3, "kB"))


def numbers(estimate: Range) -> str:
    low, high = round(estimate.low), round(estimate.high)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
