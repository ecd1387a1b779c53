"""Restoring into the cluster: an index is created as any other, its files are imported as any others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.backup.journal import Remembered
from miroir_cli.backup.present import count_present, present_documents
from miroir_cli.backup.restore import Destination, RestoredIndex, RestoreOptions, Wish, folder_of
from miroir_cli.documents.load import ImportOptions, ImportSummary, import_documents
from miroir_cli.errors import Interrupted, TemporaryError
from miroir_cli.indexes.aliases import create_alias
from miroir_cli.indexes.catalog import create_index, delete_index, plan_index
from miroir_cli.indexes.configure import change_settings
from miroir_cli.indexes.settings import KEYS
from miroir_cli.migration.heal import healing
from miroir_cli.store.aliases import AliasKind, name_taken, require_unused

if TYPE_CHECKING:
    from miroir_cli.backup.manifest import AliasPart, Manifest
    from miroir_cli.cluster import Cluster
    from miroir_cli.documents.importing import ImportProgress
    from miroir_cli.documents.sources import Input
    from miroir_cli.model import IndexMap

SIDE_BY_SIDE: Final = 4
"""Imports of one index. A process that goes on with what another one has begun parts the files as that did."""


class IntoCluster(Destination):
    """This cluster. What was begun is remembered beside the state: for each index the incarnation that was in its way,
    and the one that it has."""

    def __init__(self, cluster: Cluster, manifest: Manifest, url: str, options: RestoreOptions) -> None:
        self.cluster = cluster
        wanted = {"backup": manifest.id, "place": url, "indexes": options.indexes, "as": options.name}
        self._memory = Remembered(folder_of(cluster.topology), wanted)
        self.options = options
        self._known: dict[str, dict[str, Any]] | None = None

    async def is_free(self, wish: Wish) -> bool:
        await self._read()
        alias = await self.cluster.store.alias(wish.uid)
        if alias is not None:
            raise name_taken(alias)
        found = await self.cluster.store.map(wish.uid)
        has_begun = self._has_begun(wish, found)
        self.resumed |= has_begun
        if self.options.replace and found is not None and not has_begun:
            require_unused(wish.uid, await self.cluster.store.aliases())
        return found is None or has_begun

    def _has_begun(self, wish: Wish, found: IndexMap | None) -> bool:
        """Whether what is there is what an earlier process has made, or has had to delete first and has deleted.

        An index that was deleted, replaced or renamed since is another one.
        """
        entry = self._entry(wish)
        if "incarnation" in entry:
            return found is not None and found.index.incarnation == entry["incarnation"]
        return bool(entry) and (found is None or found.index.incarnation != entry["in_the_way"])

    async def make(self, wish: Wish, *, options: RestoreOptions) -> None:
        known = await self._read()
        found = await self.cluster.store.map(wish.uid)
        if not self._has_begun(wish, found):
            await self._save({**known, wish.uid: {"in_the_way": None if found is None else found.index.incarnation}})
        if found is not None and found.index.incarnation == self._entry(wish)["in_the_way"]:
            await delete_index(self.cluster, wish.uid)
            found = None
        if found is None:
            plan = await plan_index(
                self.cluster,
                wish.uid,
                primary_key=wish.part.primary_key or None,
                shards=options.shards or wish.part.shards,
                replicas=options.replicas or wish.part.replicas,
                settings=wish.settings,
                tie_break=wish.part.tie_break,
                source=f"backup, index `{wish.part.uid}`",
            )
            found = await create_index(self.cluster, plan)
        elif dict(found.index.settings) != dict(wish.settings):
            await change_settings(self.cluster, wish.uid, {**dict.fromkeys(KEYS), **wish.settings})
        await self._save(
            {**await self._read(), wish.uid: {**self._entry(wish), "incarnation": found.index.incarnation}}
        )

    async def fill(
        self, wish: Wish, files: Sequence[Input], *, options: RestoreOptions, report: Callable[[int], None]
    ) -> RestoredIndex:
        """Several imports side by side, for the files of a shard go to its nodes alone. One that is done is not begun
        again: the same call goes on behind it."""
        groups = [files[number::SIDE_BY_SIDE] for number in range(SIDE_BY_SIDE)]
        stored: dict[int, int] = {}
        done: dict[str, Any] = self._entry(wish).get("done", {})

        async def load(number: int, group: Sequence[Input]) -> ImportSummary | None:
            def tell(progress: ImportProgress) -> None:
                stored[number] = progress.indexed
                report(sum(stored.values()))

            if str(number) in done:
                stored[number] = done[str(number)]["documents"]
                return None
            summary = await import_documents(
                self.cluster, wish.uid, group, options=ImportOptions(retry_for=options.retry_for), report=tell
            )
            done[str(number)] = {
                "documents": summary.documents,
                "rejected": summary.rejected,
                "reasons": [*summary.reasons, *summary.failures],
            }
            await self._save({**await self._read(), wish.uid: {**self._entry(wish), "done": done}})
            return summary

        async with healing(self.cluster, wish.uid):
            try:
                async with asyncio.TaskGroup() as tasks:
                    for number, group in enumerate(groups):
                        if group:
                            tasks.create_task(load(number, group))
            except BaseExceptionGroup as errors:
                caused = [error for error in errors.exceptions if not isinstance(error, Interrupted)]
                raise (caused or errors.exceptions)[0] from None  # the others were only told to stop
        rejected = sum(each["rejected"] for each in done.values())
        reasons = tuple(reason for each in done.values() for reason in each["reasons"])
        documents = await self.count(wish)
        if documents < wish.part.documents - rejected:
            await self._save({uid: entry for uid, entry in (await self._read()).items() if uid != wish.uid})
            raise TemporaryError(
                f"index `{wish.uid}` has {documents:,} documents, the backup {wish.part.documents:,}",
                hint="somebody may have deleted some meanwhile; restore it again with `--replace`",
            )
        return RestoredIndex(index=wish.uid, documents=documents, rejected=rejected, reasons=reasons)

    async def count(self, wish: Wish) -> int:
        return await count_present(self.cluster, wish.uid)

    async def documents(self, wish: Wish, keys: Sequence[str]) -> Mapping[str, bytes]:
        return await present_documents(self.cluster, wish.uid, keys)

    async def name(self, aliases: Sequence[AliasPart]) -> tuple[str, ...]:
        made = []
        for part in aliases:
            if await self.cluster.store.resolve(part.name) is None:
                await create_alias(self.cluster, part.name, part.targets, kind=AliasKind(part.kind))
                made.append(part.name)
        return tuple(made)

    async def end(self) -> None:
        await asyncio.to_thread(self._memory.forget)

    def _entry(self, wish: Wish) -> dict[str, Any]:
        return (self._known or {}).get(wish.uid, {})

    async def _read(self) -> dict[str, dict[str, Any]]:
        if self._known is not None:
            return self._known
        known: dict[str, dict[str, Any]] = await asyncio.to_thread(self._memory.read)
        self._known = known
        return known

    async def _save(self, known: dict[str, dict[str, Any]]) -> None:
        self._known = known
        await asyncio.to_thread(self._memory.save, known)
