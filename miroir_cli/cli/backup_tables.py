"""What people read of backups."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.cli.progress import amount
from miroir_cli.cli.table import Column, counted

if TYPE_CHECKING:
    from miroir_cli.backup.catalog import Entry
    from miroir_cli.backup.create import Created
    from miroir_cli.backup.manifest import Manifest
    from miroir_cli.backup.restore import Restored, Wish
    from miroir_cli.backup.retention import Kept
    from miroir_cli.cli.console import Console


def moment(at: int) -> str:
    """Milliseconds since 1970 as local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at / 1000))


def show_created(console: Console, created: Created) -> None:
    manifest = created.manifest
    console.print(
        f"backup {manifest.id}: {counted(manifest.documents, 'document')} of "
        f"{counted(len(manifest.indexes), 'index', 'indexes')}, {amount(manifest.bytes, 'bytes')}, "
        f"{created.seconds:.1f} s{', resumed' if created.resumed else ''}"
    )


def show_list(console: Console, entries: Sequence[Entry]) -> None:
    console.table(
        [
            Column(name="backup", keep=True),
            Column(name="state"),
            Column(name="began", optional=True),
            Column(name="indexes", optional=True),
            Column(name="documents", right=True),
            Column(name="size", right=True),
        ],
        [_entry_row(entry) for entry in entries],
    )
    for entry in entries:
        if entry.error:
            console.warn(entry.error)


def _entry_row(entry: Entry) -> tuple[Any, ...]:
    manifest = entry.manifest
    if manifest is None:
        return entry.id, entry.state, moment(entry.started_at), None, None, None
    names = ", ".join(index.uid for index in manifest.indexes)
    size = amount(manifest.bytes, "bytes")
    return entry.id, entry.state, moment(entry.started_at), names, manifest.documents, size


def show_backup(console: Console, manifest: Manifest) -> None:
    console.print(f"backup {manifest.id} of cluster `{manifest.cluster}`, miroir {manifest.miroir}")
    console.print(f"from {moment(manifest.started_at)} to {moment(manifest.finished_at)}, {manifest.compression}")
    console.table(
        [
            Column(name="index", keep=True),
            Column(name="primary key", optional=True),
            Column(name="shards", right=True),
            Column(name="documents", right=True),
            Column(name="size", right=True),
            Column(name="as of, from"),
            Column(name="to"),
        ],
        [
            (
                index.uid,
                index.primary_key,
                index.shards,
                index.documents,
                amount(index.bytes, "bytes"),
                moment(min(part.at for part in index.parts)),
                moment(max(part.at for part in index.parts)),
            )
            for index in manifest.indexes
        ],
    )
    for index in manifest.indexes:
        for path in index.secrets:
            console.print(f"without `{path}` of index `{index.uid}`")
    for alias in manifest.aliases:
        console.print(f"alias `{alias.name}` of {', '.join(alias.targets)}")
    if manifest.keys is not None:
        console.print(f"{counted(len(manifest.keys), 'API key')}, without values")


def show_found(console: Console, found: Mapping[str, Any]) -> None:
    console.print(
        f"backup {found['backup']}: {counted(found['files'], 'file')}, {amount(found['bytes'], 'bytes')}, "
        f"{'sound' if not found['flaws'] else counted(len(found['flaws']), 'flaw')}"
    )
    for flaw in found["flaws"]:
        console.print(f"`{flaw['file']}` {flaw['reason']}")
    for each in found["live"] or ():
        console.print(
            f"index `{each['index']}`: {each['documents']:,} documents compared, {each['missing']:,} missing in the "
            f"cluster, {each['different']:,} different, {each['extra']:,} added since"
        )


def show_pruning(console: Console, kept: Sequence[Kept], *, dry_run: bool) -> None:
    gone = "would go" if dry_run else "deleted"
    console.table(
        [Column(name="backup", keep=True), Column(name="began", optional=True), Column(name="kept because")],
        [(each.backup.id, moment(each.backup.at), ", ".join(each.reasons) or gone) for each in kept],
    )


def restore_document(
    manifest: Manifest, wishes: Sequence[Wish], taken: Sequence[str], *, to: str | None, replace: bool
) -> dict[str, Any]:
    """What a restore would do, or be refused for."""
    indexes = [
        {
            "index": wish.uid,
            "from": wish.part.uid,
            "documents": wish.part.documents,
            "exists": wish.uid in taken,
            "replaced": wish.uid in taken and replace,
        }
        for wish in wishes
    ]
    return {"backup": manifest.id, "into": to, "indexes": indexes, "dry_run": True}


def show_restore_plan(console: Console, document: Mapping[str, Any]) -> None:
    """The same for people."""
    said = {(False, False): "created", (True, True): "replaced", (True, False): "refused: it exists"}
    into = document["into"]
    console.print(f"backup {document['backup']} into {'the cluster' if into is None else into}")
    console.table(
        ["index", "from", Column(name="documents", right=True), "would be"],
        [
            (each["index"], each["from"], each["documents"], said[bool(each["exists"]), bool(each["replaced"])])
            for each in document["indexes"]
        ],
    )


def show_restored(console: Console, restored: Restored) -> None:
    where = "the cluster" if restored.into is None else restored.into
    console.table(
        ["index", Column(name="documents", right=True), Column(name="rejected", right=True), "compared"],
        [(each.index, each.documents, each.rejected, _compared(each.differences)) for each in restored.indexes],
    )
    if restored.aliases:
        console.print(f"aliases: {', '.join(restored.aliases)}")
    console.print(
        f"backup {restored.backup} is in {where}, {restored.seconds:.1f} s{', resumed' if restored.resumed else ''}"
    )


def _compared(differences: tuple[str, ...] | None) -> str:
    return "no" if differences is None else f"{len(differences):,} differ" if differences else "equal"
