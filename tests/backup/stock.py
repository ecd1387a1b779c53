"""An index with documents in every shard, to back up, and what a backup has of it."""

from __future__ import annotations

from typing import Any

import msgspec

from miroir_cli.backup.create import CreateOptions
from miroir_cli.backup.manifest import Manifest
from miroir_cli.backup.parts import lines_of
from miroir_cli.backup.restore import input_of
from miroir_cli.backup.target import Target
from miroir_cli.cluster import Cluster
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import write
from tests.faults.world import UID, addition, create, keys_of_every_shard

HASTY = CreateOptions(retry_for=8.0, file_bytes=1500)


async def stock(cluster: Cluster, *, each: int = 40) -> dict[str, Any]:
    """An index with documents in every shard."""
    index = await create(cluster)
    documents = {key: f"value of {key} {'x' * 40}" for key in keys_of_every_shard(index, each=each)}
    written = await write(cluster, index, addition(index, documents))
    await settle_until(cluster, index, written.n)
    return documents


def documents_of(target: Target, manifest: Manifest, uid: str = UID) -> dict[str, Any]:
    """All documents of an index of a backup."""
    part = manifest.index(uid)
    assert part is not None
    found: dict[str, Any] = {}
    for file in part.files:
        lines = list(lines_of(input_of(target, manifest.id, file.name, file.bytes, file.sha256)))
        assert len(lines) == file.documents
        for line in lines:
            document = msgspec.json.decode(line)
            assert document["id"] not in found and set(document) == {"id", "value"}
            found[document["id"]] = document["value"]
    return found
