"""The backups in a place: listed, found, checked, thrown away."""

from __future__ import annotations

import calendar
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from miroir_cli.backup.manifest import BEGUN, MANIFEST, Begun, File, Manifest, decode
from miroir_cli.backup.retention import Dated, Kept, Rules, is_ahead, plan
from miroir_cli.errors import BackupDamaged, BackupNotFound, BackupTooNew, BackupUnavailable

if TYPE_CHECKING:
    from miroir_cli.backup.target import Target

ID: Final = re.compile(r"\d{8}T\d{6}Z(-\d+)?")
LATEST: Final = "latest"
BLOCK: Final = 1 << 20
READERS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One backup as a list shows it; `state` is `complete`, `unfinished`, or `damaged` with the reason in `error`.

    Those of the same indexes of the same cluster have the same `series`.
    """

    id: str
    state: str
    started_at: int
    manifest: Manifest | None = None
    cluster: str | None = None
    error: str | None = None
    series: str = ""

    def json(self) -> dict[str, Any]:
        """The contract with scripts."""
        manifest = self.manifest
        return {
            "backup": self.id,
            "state": self.state,
            "cluster": self.cluster,
            "started_at": self.started_at,
            "finished_at": None if manifest is None else manifest.finished_at,
            "indexes": [] if manifest is None else [index.uid for index in manifest.indexes],
            "documents": None if manifest is None else manifest.documents,
            "bytes": None if manifest is None else manifest.bytes,
            "error": self.error,
        }


def folders_of(target: Target) -> list[str]:
    """The folders of backups, oldest first."""
    return sorted((name for name in target.folders() if ID.fullmatch(name)), key=_place)


def _place(id: str) -> tuple[str, int]:
    time, _, number = id.partition("-")
    return time, int(number or 1)


def is_complete(target: Target, folder: str) -> bool:
    return target.size(f"{folder}/{MANIFEST}") is not None


def begun_of(target: Target, folder: str) -> Begun | None:
    """What an unfinished backup has said of itself; None when it did not come that far. Raises `BackupDamaged`.

    Its id is what its folder is called now: a folder may be renamed, or copied beside another one.
    """
    name = f"{folder}/{BEGUN}"
    content = target.read(name)
    return None if content is None else msgspec.structs.replace(decode(content, Begun, name=name), id=folder)


def manifest_of(target: Target, folder: str) -> Manifest:
    """The manifest in a folder, whose name is the id. Raises `BackupNotFound` when it is unfinished, `BackupDamaged`,
    `BackupTooNew`."""
    name = f"{folder}/{MANIFEST}"
    content = target.read(name)
    if content is None:
        raise BackupNotFound(
            f"backup `{folder}` is not complete", hint="run `miroir backup create` as before: it goes on with it"
        )
    return msgspec.structs.replace(decode(content, Manifest, name=f"{target.url}/{name}"), id=folder)


def list_backups(target: Target) -> list[Entry]:
    """All backups, oldest first, unfinished and damaged ones too; one that cannot be read counts as damaged."""
    return [_entry(target, folder) for folder in folders_of(target)]


def _entry(target: Target, folder: str) -> Entry:
    at = _time_of(folder)
    try:
        if is_complete(target, folder):
            manifest = manifest_of(target, folder)
            return Entry(
                id=folder,
                state="complete",
                started_at=manifest.started_at,
                manifest=manifest,
                cluster=manifest.cluster,
                series=_series(manifest.cluster_id, manifest.only),
            )
        begun = begun_of(target, folder)
    except (BackupDamaged, BackupTooNew, BackupUnavailable) as error:
        return Entry(id=folder, state="damaged", started_at=at, error=error.message)
    if begun is None:
        return Entry(id=folder, state="unfinished", started_at=at)
    return Entry(
        id=folder,
        state="unfinished",
        started_at=begun.started_at,
        cluster=begun.cluster,
        series=_series(begun.cluster_id, begun.indexes),
    )


def _series(cluster_id: str, indexes: Sequence[str] | None) -> str:
    return " ".join([cluster_id, *sorted(indexes or ())])


def _time_of(folder: str) -> int:
    text = folder.partition("-")[0]
    try:
        return calendar.timegm(time.strptime(text, "%Y%m%dT%H%M%SZ")) * 1000
    except ValueError:
        return 0


def find_backup(target: Target, id: str) -> Manifest:
    """A complete backup by its id, the beginning of one that no other has, or `latest`, which is none from the future
    if there is another. Raises `BackupNotFound`."""
    folders = folders_of(target)
    if id == LATEST:
        complete = [folder for folder in folders if is_complete(target, folder)]
        if not complete:
            raise BackupNotFound(
                f"there is no complete backup in `{target.url}`", hint=f"run `miroir backup create {target.url}`"
            )
        now = time.time_ns() // 1_000_000
        return manifest_of(target, max(reversed(complete), key=lambda folder: not is_ahead(_time_of(folder), now)))
    found = [folder for folder in folders if folder == id] or [folder for folder in folders if folder.startswith(id)]
    if len(found) != 1:
        what = "is the beginning of several backups" if found else "not found"
        raise BackupNotFound(f"backup `{id}` {what} in `{target.url}`", hint=f"run `miroir backup list {target.url}`")
    return manifest_of(target, found[0])


# checking files


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """What is wrong with one file of a backup."""

    file: str
    index: str
    shard: int
    reason: str


def check_files(
    target: Target,
    manifest: Manifest,
    *,
    indexes: Sequence[str] | None = None,
    report: Callable[[int], None] = lambda bytes: None,
) -> list[Flaw]:
    """Compare all files with the manifest: whether they are there, their sizes and hashes. Blocks.

    `report` is told the bytes read, how many more each time. Raises `BackupUnavailable` when the place as a whole
    cannot be read.
    """
    files = [
        (index.uid, part.shard, file)
        for index in manifest.indexes
        if indexes is None or index.uid in indexes
        for part in index.parts
        for file in part.files
    ]
    with ThreadPoolExecutor(READERS) as pool:
        reasons = pool.map(partial(_wrong_with, target, manifest.id, report), [file for _, _, file in files])
        return [
            Flaw(file=f"{manifest.id}/{file.name}", index=uid, shard=shard, reason=reason)
            for (uid, shard, file), reason in zip(files, reasons, strict=True)
            if reason is not None
        ]


def _wrong_with(target: Target, folder: str, report: Callable[[int], None], file: File) -> str | None:
    name = f"{folder}/{file.name}"
    size = target.size(name)
    if size is None:
        return "is missing"
    if size != file.bytes:
        return f"has {size:,} bytes, expected {file.bytes:,}"
    digest = hashlib.sha256()
    try:
        with target.open(name) as content:
            while block := content.read(BLOCK):
                digest.update(block)
                report(len(block))
    except (OSError, BackupUnavailable) as error:
        return f"cannot be read: {error}"
    return None if digest.hexdigest() == file.sha256 else "has other content than was written"


def require_sound(flaws: Sequence[Flaw]) -> None:
    """Raise `BackupDamaged` for the first one."""
    if flaws:
        more = f", and {len(flaws) - 1} more files are damaged" if len(flaws) > 1 else ""
        raise BackupDamaged(
            f"`{flaws[0].file}` {flaws[0].reason}{more}", hint="restore an older backup: `miroir backup list`"
        )


# throwing away


def plan_pruning(entries: Sequence[Entry], rules: Rules, *, now: int, resumable: int) -> list[Kept]:
    """Which of these stay, and why; newest first. Damaged ones are left alone: somebody should look at them."""
    dated = [_dated(entry) for entry in entries if entry.state != "damaged"]
    return plan(dated, rules, now=now, resumable=resumable)


def _dated(entry: Entry) -> Dated:
    moment = datetime.fromtimestamp(entry.started_at / 1000).astimezone()
    year, week, _ = moment.isocalendar()
    return Dated(
        id=entry.id,
        at=entry.started_at,
        day=f"{moment:%Y-%m-%d}",
        week=f"{year}-{week}",
        month=f"{moment:%Y-%m}",
        series=entry.series,
        complete=entry.state == "complete",
    )


def delete_backup(target: Target, id: str) -> None:
    """The manifest goes first: what is half deleted is no complete backup."""
    target.delete_folder(id, first=MANIFEST)
