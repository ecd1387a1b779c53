"""What a node's disk says of itself: the marker of its cluster, and how far its numbers of tasks are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import NodeRefusal
from miroir_cli.model import MARKER, RESERVED_INDEX

if TYPE_CHECKING:
    from miroir_cli.node.client import NodeClient
    from miroir_cli.store.records import Member


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What a node shows of its disk: the marker (None: it has none) and its highest task uid."""

    marker: dict[str, Any] | None
    top_task: int

    def is_of(self, member: Member) -> bool:
        """Whether it can be the disk that was enrolled. `member` must have been read before the disk was."""
        return self.marker is not None and self.top_task >= member.top_task

    @property
    def epoch(self) -> int:
        """The newest epoch that was told to the node; -1 when none was."""
        return -1 if self.marker is None else int(self.marker.get("epoch", 0))


async def read_disk(client: NodeClient) -> Disk:
    """What a node's disk says of itself; changes nothing."""
    await client.version()
    try:
        marker: dict[str, Any] | None = await client.get_document(RESERVED_INDEX, MARKER)
    except NodeRefusal as error:
        if error.status != 404:
            raise
        marker = None
    if marker is not None and "cluster_id" not in marker:
        marker = None  # only `publish` was here since the disk was emptied
    return Disk(marker=marker, top_task=await client.top_task())
