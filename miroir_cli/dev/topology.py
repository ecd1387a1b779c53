"""The topology file of local nodes: written when there is none, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from miroir_cli.errors import MiroirError
from miroir_cli.model import Node, NodeName
from miroir_cli.topology.file import load_topology, render_topology
from miroir_cli.topology.finding import DEFAULT_STATE

if TYPE_CHECKING:
    from miroir_cli.dev.nodes import NodeReport


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyNote:
    """Whether a file was written, and what to tell about it."""

    written: bool
    said: str


def write_topology(path: Path, nodes: Sequence[NodeReport], *, state_url: str | None = None) -> TopologyNote:
    """Write a topology file that names these local nodes, two copies of everything when there are several.
    `state_url`: the Redis that has the state; None: a file has it.

    A file that is there stays as it is; the note says which nodes it does not name.
    """
    replicas = min(2, len(nodes))
    text = render_topology(
        name="dev",
        nodes=tuple(Node(name=NodeName(node.name), url=node.url) for node in nodes),
        replicas=replicas,
        state_url=state_url or DEFAULT_STATE,
    )
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return TopologyNote(written=False, said=_compare(path, nodes))
    copies = "2 replicas" if replicas == 2 else "1 replica"
    count = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
    return TopologyNote(written=True, said=f"wrote `{path}`: {count}, {copies} of each shard")


def _compare(path: Path, nodes: Sequence[NodeReport]) -> str:
    try:
        named = {node.url.rstrip("/") for node in load_topology(path).nodes}
    except MiroirError as error:
        return f"`{path}` was left as it is, and is not valid: {error.message}"
    strangers = ", ".join(f"`{node.name}` ({node.url})" for node in nodes if node.url not in named)
    return f"`{path}` was left as it is" + (f"; it does not name {strangers}" if strangers else "")
