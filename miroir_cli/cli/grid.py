"""Where the replicas of an index are, at a glance: a grid of nodes and shards with one sign for each replica. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from miroir_cli.model import ReplicaState

if TYPE_CHECKING:
    from rich.text import Text

    from miroir_cli.model import Replica

UNREACHABLE: Final = "?"
NOTHING: Final = "."
SIGNS: Final[Mapping[str, tuple[str, str, str]]] = {
    ReplicaState.SERVING: ("#", "in sync", "green"),
    ReplicaState.JOINING: (">", "joining", "bold cyan"),
    ReplicaState.LEAVING: ("<", "leaving", "cyan"),
    ReplicaState.STALE: ("!", "stale", "bold yellow"),
    ReplicaState.LOST: ("x", "lost", "bold red"),
    UNREACHABLE: (UNREACHABLE, "its node does not answer", "bold red"),
}
"""The sign of a state, what it means, and its style beside; one in sync on a node that is away has its own."""

TICK: Final = 10
"""Shards between two numbers of the ruler; a line of shards is as many times that as there is room for."""

LONGEST_NAME: Final = 20


def sign_of(replica: Replica, away: Collection[str]) -> tuple[str, str, str]:
    """The sign of a replica, what it means, and its style."""
    in_sync_away = replica.state is ReplicaState.SERVING and replica.node in away
    return SIGNS[UNREACHABLE if in_sync_away else replica.state]


def grid(
    replicas: Sequence[Replica], *, shards: int, nodes: Sequence[str], away: Collection[str], width: int | None
) -> list[Text]:
    """A line for each node under a ruler with the shards' numbers; more blocks of them where the shards need it.

    `away` are the nodes that do not answer. `width` None means one block, however wide.
    """
    from rich.text import Text

    longest = max((len(node) for node in nodes), default=0)
    label = longest if width is None else min(LONGEST_NAME, longest)
    room = shards if width is None else block_of(shards, label=label, width=width)
    found = {(str(replica.node), int(replica.shard)): sign_of(replica, away) for replica in replicas}
    lines = []
    for start in range(0, shards, room):
        block = range(start, min(shards, start + room))
        ruler = "".join(f"{shard:<{TICK}}" for shard in block if shard % TICK == 0)
        lines.append(Text(f"{'':{label}}  {ruler}".rstrip(), style="dim"))
        for node in nodes:
            line = Text(f"{shortened(node, label):{label}}  ")
            for shard in block:
                sign, _, style = found.get((node, shard), (NOTHING, "", "dim"))
                line.append(sign, style=style)
            lines.append(line)
    return lines


def block_of(shards: int, *, label: int, width: int) -> int:
    """How many shards a line shows."""
    room = width - label - 2
    return shards if shards <= room else max(TICK, room // TICK * TICK)


def height_of(*, shards: int, nodes: Sequence[str], width: int) -> int:
    """The lines of a grid."""
    label = min(LONGEST_NAME, max((len(node) for node in nodes), default=0))
    room = block_of(shards, label=label, width=width)
    return -(-shards // room) * (1 + len(nodes))


def legend(replicas: Iterable[Replica], away: Collection[str]) -> Text:
    """The signs that occur, and what they mean."""
    from rich.text import Text

    used = {sign_of(replica, away) for replica in replicas}
    line = Text()
    for sign, meaning, style in SIGNS.values():
        if (sign, meaning, style) in used or sign == "#":
            line.append("   " if line else "")
            line.append(sign, style=style)
            line.append(f" {meaning}")
    return line


def counts(replicas: Iterable[Replica], away: Collection[str]) -> str:
    """How many replicas are in which state, as `miroir status` counts them: `24 in sync, 8 unreachable now`."""
    found = Counter(sign_of(replica, ())[1] for replica in replicas)
    told = [f"{found[meaning]:,} {meaning}" for _, meaning, _ in SIGNS.values() if found[meaning]]
    if unreachable := sum(replica.node in away for replica in replicas):
        told.append(f"{unreachable:,} unreachable now")
    return ", ".join(told) or "no replica"


def shortened(name: str, room: int) -> str:
    """A name with an ellipsis in its middle where it is longer than that."""
    if len(name) <= room:
        return name
    return f"{name[: room // 2]}…{name[len(name) - (room - room // 2 - 1) :]}"
