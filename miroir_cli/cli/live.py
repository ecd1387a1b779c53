"""The live picture of `miroir status --watch`: nodes, what is under way, where the replicas are. Pure: a view and the
size of the terminal become lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from miroir_cli.cli.failure import one_line
from miroir_cli.cli.grid import counts, grid, height_of, legend, shortened
from miroir_cli.cli.table import Cell, Column, Styled, counted, spoken, table_lines

if TYPE_CHECKING:
    from rich.text import Text

    from miroir_cli.migration.watching import IndexView, NodeView, View, WorkView

BAR: Final = 20
MOST_WARNINGS: Final = 3
MOST_WORK: Final = 4
FEWEST_NODES: Final = 3
SHORTEST_UID: Final = 12
OLD: Final = 5.0
"""Seconds after which a figure's age is told."""

COLUMNS: Final = (
    Column(name="node", name_like=True, least=12),
    Column(name="state", keep=True),
    Column(name="stale", right=True, keep=True),
    Column(name="documents", right=True, keep=True),
    Column(name="queue", right=True, keep=True, optional=True),
    Column(name="shards", right=True, keep=True, optional=True),
    Column(name="as of", keep=True, optional=True),
)
STATES: Final = {"up": "green", "asking": "dim", "gone": "bold yellow"}


def picture(view: View, *, width: int, height: int, clock: str = "", interval: float = 2.0) -> list[Text]:
    """The cluster in at most `height` lines of at most `width` cells; `clock` is the time of day.

    What is wrong comes before what is well: warnings, runs and imports, nodes that need attention, then the grids of as
    many indexes as there is room for; of the others a line each, or their number.
    """
    away = frozenset(node.name for node in view.nodes if node.state not in ("up", "asking"))
    lines = [_heading(view, width, clock, interval), *_warnings(view, width)]
    if view.work:
        lines += [_blank(), *_work(view.work, width)]
    last = legend((replica for index in view.indexes for replica in index.replicas), away)
    lines += [_blank(), *_nodes(view, width, min(height - len(lines) - 6, height // 2))]
    lines += _indexes(view, away, width, height - len(lines) - 2)
    lines = [_fitted(line, width) for line in [*lines, _blank(), last]]
    return lines if len(lines) <= height else [*lines[: height - 1], lines[-1]]


def maps(view: View, *, width: int | None) -> list[Text]:
    """The grids of all indexes and the legend, however high: what `miroir status --map` prints."""
    away = frozenset(node.name for node in view.nodes if node.state not in ("up", "asking"))
    lines: list[Text] = []
    for index in view.indexes:
        lines += [_title(index, away, width), *_grid(view, index, away, width), _blank()]
    lines.append(legend((replica for index in view.indexes for replica in index.replicas), away))
    return lines if width is None else [_fitted(line, width) for line in lines]


def _heading(view: View, width: int, clock: str, interval: float) -> Text:
    from rich.text import Text

    up = sum(node.state == "up" for node in view.nodes)
    left = f"cluster `{view.cluster}`, epoch {view.epoch}: {up} of {counted(len(view.nodes), 'node')} up"
    right = f"{clock}, every {interval:g} s, ctrl-C ends"
    if len(left) + 2 + len(right) > width:
        right = right.partition(",")[0]
    return Text(f"{left}{' ' * max(2, width - len(left) - len(right))}{right}", style="bold")


def _warnings(view: View, width: int) -> list[Text]:
    from rich.text import Text

    told = [node.error for node in view.nodes if node.error] + list(view.warnings)
    covered = [f"index `{index.uid}`: {_uncovered(index)}" for index in view.indexes if _uncovered(index)]
    told = [*covered, *told]
    lines = [Text(f"! {each}", style="bold yellow") for each in told[:MOST_WARNINGS]]
    if len(told) > MOST_WARNINGS:
        lines.append(Text(f"! and {len(told) - MOST_WARNINGS} more: `miroir status` has them", style="bold yellow"))
    return lines


def _uncovered(index: IndexView) -> str:
    served = {replica.shard for replica in index.replicas if replica.in_sync}
    missing = index.shards - len(served)
    return f"no replica of {counted(missing, 'shard')} is in sync" if missing else ""


def _work(work: Sequence[WorkView], width: int) -> list[Text]:
    """A line for each run and import: its name, a bar, how far it is, how fast, how long it still takes."""
    from rich.text import Text

    shown = work[:MOST_WORK]
    room = min(max(len(each.name) for each in shown), max(SHORTEST_UID, width - 62))
    lines = []
    for each in shown:
        start = Text.assemble(f"{shortened(each.name, room):{room}}  ", bar(each.share), "  ")
        lines.append(start.append(_facts(each, width - start.cell_len)))
    if len(work) > MOST_WORK:
        lines.append(Text(f"and {len(work) - MOST_WORK} more"))
    return lines


def _facts(work: WorkView, room: int) -> str:
    """How far something is, as much of it as there is room for, what matters most first."""
    facts = [work.state] if work.state != "running" else []
    facts.append(f"{work.documents:,}" + (f" of {work.total:,}" if work.total else ""))
    facts += [f"{spoken(work.left)} left"] if work.left is not None else []
    facts += [f"{work.rate:,.0f} documents/s"] if work.rate and work.state == "running" else []
    while len(facts) > 1 and len(", ".join(facts)) > room:
        facts.pop()
    return ", ".join(facts)


def bar(share: float | None) -> Text:
    """`[#####---------------]  25%`; dots where it is not known."""
    from rich.text import Text

    if share is None:
        return Text(f"[{'.' * BAR}]    ?")
    done = int(share * BAR)
    return Text.assemble("[", ("#" * done, "green"), "-" * (BAR - done), f"] {int(share * 100):>3}%")


def _nodes(view: View, width: int, room: int) -> list[Text]:
    """The table of nodes; where there are too many, those that need attention and the number of the others."""
    from rich.text import Text

    nodes = view.nodes
    most = max(FEWEST_NODES, room - 3)
    chosen = nodes if len(nodes) <= max(most, room - 2) else sorted(nodes, key=lambda each: _well(view, each))[:most]
    shown = [node for node in nodes if node in chosen]
    lines, _ = table_lines(COLUMNS, [_node_row(view, node) for node in shown], width=width)
    rest = [node for node in nodes if node not in shown]
    if rest:
        well = sum(_well(view, node) for node in rest)
        lines.append(Text(f"and {counted(len(rest), 'more node')}, {well} of them up and in sync"))
    return lines


def _well(view: View, node: NodeView) -> bool:
    return node.state == "up" and not node.queue and not _stale(view, node)


def _stale(view: View, node: NodeView) -> int:
    return sum(
        replica.state.value in ("stale", "lost")
        for index in view.indexes
        for replica in index.replicas
        if replica.node == node.name
    )


def _node_row(view: View, node: NodeView) -> tuple[Cell, ...]:
    held = sum(replica.node == node.name for index in view.indexes for replica in index.replicas)
    stale = _stale(view, node)
    return (
        node.name,
        Styled(text=node.state, style=STATES.get(node.state, "bold red")),
        Styled(text=f"{stale:,}", style="bold yellow" if stale else ""),
        node.documents,
        node.queue,
        held,
        _as_of(node.age),
    )


def _as_of(age: float | None) -> str | None:
    """How old a figure is; what is fresh is from now."""
    return None if age is None else "now" if age <= OLD else f"{spoken(age)} ago"


def _indexes(view: View, away: frozenset[str], width: int, room: int) -> list[Text]:
    """As many grids as there is room for, those first that are not whole; then a line for each other index."""
    from rich.text import Text

    if not view.indexes:
        return [_blank(), Text("no index yet")]
    order = sorted(view.indexes, key=lambda index: _whole(index, away))
    listed = order if len(order) + 1 <= room else order[: max(0, room - 2)]
    heights = {index.uid: 2 + height_of(shards=index.shards, nodes=_rows(view, index), width=width) for index in listed}
    drawn: set[str] = set()
    for index in listed:
        wanted = {*drawn, index.uid}
        others = len(order) - len(wanted) if len(listed) == len(order) else len(listed) - len(wanted) + 1
        if sum(heights[uid] for uid in wanted) + (others + 1 if others else 0) <= room:
            drawn = wanted
    lines: list[Text] = []
    for index in (each for each in view.indexes if each.uid in drawn):
        lines += [_blank(), _title(index, away, width), *_grid(view, index, away, width)]
    others_listed = [each for each in view.indexes if each in listed and each.uid not in drawn]
    if others_listed or len(order) > len(listed):
        lines.append(_blank())
    lines += [_title(index, away, width) for index in others_listed]
    if len(order) > len(listed):
        rest = [index for index in order if index not in listed]
        well = sum(_whole(index, away) for index in rest)
        lines.append(Text(f"and {counted(len(rest), 'more index', 'more indexes')}, {well} of them whole"))
    return lines


def _whole(index: IndexView, away: frozenset[str]) -> bool:
    return all(replica.in_sync and replica.node not in away for replica in index.replicas)


def _title(index: IndexView, away: frozenset[str], width: int | None) -> Text:
    from rich.text import Text

    old = f" {spoken(index.age)} ago" if index.age is not None and index.age > OLD else ""
    documents = "" if index.documents is None else f" {counted(index.documents, 'document')}{old},"
    told = f":{documents} {counted(index.shards, 'shard')}, {counts(index.replicas, away)}"
    room = len(index.uid) if width is None else max(SHORTEST_UID, width - len(told))
    return Text.assemble((shortened(index.uid, room), "bold"), told)


def _grid(view: View, index: IndexView, away: frozenset[str], width: int | None) -> list[Text]:
    return grid(index.replicas, shards=index.shards, nodes=_rows(view, index), away=away, width=width)


def _rows(view: View, index: IndexView) -> list[str]:
    """The nodes that have a part of an index."""
    holders = {replica.node for replica in index.replicas}
    return [node.name for node in view.nodes if node.name in holders]


def _blank() -> Text:
    from rich.text import Text

    return Text()


def _fitted(line: Text, width: int) -> Text:
    """The line in so many cells, without what drives a terminal: nodes say what they like in errors."""
    from rich.text import Text

    if not line.plain.isprintable():
        line = Text(one_line(line.plain), style=line.style)
    if line.cell_len > width:
        line = line.copy()
        line.truncate(width, overflow="ellipsis")
    return line
