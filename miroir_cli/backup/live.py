"""Comparing a backup with the cluster as it is now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.backup.parts import lines_of
from miroir_cli.backup.present import present_documents
from miroir_cli.backup.restore import input_of, page_of
from miroir_cli.migration.compare import same
from miroir_cli.search.export import all_keys

if TYPE_CHECKING:
    from miroir_cli.backup.manifest import Manifest
    from miroir_cli.backup.target import Target
    from miroir_cli.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveComparison:
    """How the cluster's documents differ from those of a backup, counted."""

    index: str
    documents: int
    missing: int
    different: int
    extra: int

    @property
    def equal(self) -> bool:
        return not (self.missing or self.different or self.extra)

    def json(self) -> dict[str, Any]:
        """The contract with scripts."""
        return {
            "index": self.index,
            "documents": self.documents,
            "missing": self.missing,
            "different": self.different,
            "extra": self.extra,
        }


async def compare_live(cluster: Cluster, target: Target, manifest: Manifest, uid: str) -> LiveComparison:
    """Read all documents of an index of the backup and the same ones of the cluster. Raises `IndexNotFound`, and what
    `export_documents` raises."""
    part = manifest.index(uid)
    assert part is not None
    keys = {str(key) for key in await all_keys(cluster, uid)}
    documents = missing = different = seen = 0
    for file in part.files:
        lines = lines_of(input_of(target, manifest.id, file.name, file.bytes, file.sha256))
        while page := await asyncio.to_thread(page_of, lines, part.primary_key):
            found = await present_documents(cluster, uid, list(page))
            documents += len(page)
            seen += len(keys & page.keys())
            missing += len(page.keys() - found.keys())
            different += sum(not same(page[key], found[key]) for key in page.keys() & found.keys())
    return LiveComparison(index=uid, documents=documents, missing=missing, different=different, extra=len(keys) - seen)
