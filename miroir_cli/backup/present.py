"""Documents of the cluster as they are compared with those of files and of other servers, and how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from miroir_cli.errors import ShardUnavailable
from miroir_cli.indexes.counts import count_documents
from miroir_cli.migration.compare import as_written
from miroir_cli.model import shards_named
from miroir_cli.search.export import documents_by_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miroir_cli.cluster import Cluster


async def present_documents(cluster: Cluster, uid: str, keys: Sequence[str]) -> dict[str, bytes]:
    """Those of these documents that exist, as they are written elsewhere: mostly the same byte for byte."""
    found = await documents_by_key(cluster, uid, keys)
    return {key: as_written(msgspec.Raw(document)) for key, document in found.items()}


async def count_present(cluster: Cluster, uid: str) -> int:
    """How many documents an index has. Raises `ShardUnavailable` when nobody answers for a shard."""
    count = await count_documents(cluster, await cluster.reload(uid))
    if count.missing:
        raise ShardUnavailable(
            f"index `{uid}` cannot be counted: nobody answers for {shards_named(count.missing)}",
            hint="run `miroir status` to see which nodes answer, then the same command again",
        )
    return count.documents
