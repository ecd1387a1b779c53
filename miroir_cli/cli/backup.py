"""`miroir backup`: indexes as files, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.backup_tables import show_backup, show_created, show_found, show_list, show_pruning
from miroir_cli.cli.console import Console, run
from miroir_cli.cli.options import SAFETY, SPEED, DryRun, Parallel, Rate, RetryFor, Yes
from miroir_cli.cli.restore import CONTENT, Id, Place, restore
from miroir_cli.cli.textfile import MetricsFile
from miroir_cli.errors import DifferencesFound, IndexNotFound, UsageError

if TYPE_CHECKING:
    from miroir_cli.backup.create import CreateOptions
    from miroir_cli.backup.manifest import Manifest

app = typer.Typer()
backup = typer.Typer(
    no_args_is_help=True,
    help="""Back up indexes as files, check, restore and thin them out.

    A backup is a folder of compressed NDJSON files and a manifest with settings and hashes, in a folder or in any place
    that fsspec reaches. Each shard is exactly as it was at one moment, while searches and writes go on. Only `create`,
    and `restore` into the cluster, need a topology file.

    Examples:
      miroir backup create backups
      miroir backup restore backups --index books --as books-restored
    """,
)
app.add_typer(backup, name="backup")


class Compression(StrEnum):
    ZSTD = "zstd"
    GZIP = "gzip"


IndexNames = Annotated[
    list[str] | None, typer.Option("--index", metavar="UID", help="Only this index; may be repeated.")
]


@backup.command()
def create(
    ctx: typer.Context,
    place: Place,
    index: Annotated[
        list[str] | None,
        typer.Option("--index", metavar="UID", help="Only this index; may be repeated.", rich_help_panel=CONTENT),
    ] = None,
    with_keys: Annotated[
        bool,
        typer.Option("--with-keys", help="With the clients' API keys, without their values.", rich_help_panel=CONTENT),
    ] = False,
    with_secrets: Annotated[
        bool,
        typer.Option(
            "--with-secrets", help="With the keys and headers of embedders, readable.", rich_help_panel=CONTENT
        ),
    ] = False,
    parallel: Parallel = 4,
    rate: Rate = None,
    retry_for: RetryFor = 60.0,
    file_bytes: Annotated[
        int, typer.Option(metavar="BYTES", min=1, help="Bytes of documents in a file.", rich_help_panel=SPEED)
    ] = 256 << 20,
    compression: Annotated[
        Compression | None,
        typer.Option(
            "--compression", help="zstd where there is one (Python 3.14, `miroir[zstd]`).", rich_help_panel=CONTENT
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin again instead of resuming.", rich_help_panel=SAFETY)
    ] = False,
    dry_run: DryRun = False,
    metrics_file: MetricsFile = None,
) -> None:
    """Back up all indexes, or some, while searches and writes go on.

    Every shard is read from a replica in sync, exactly as it is at one moment of its own, which the backup states.
    Interrupted or killed, the same command goes on where it stopped; a folder without a manifest is no backup yet.

    Examples:
      miroir backup create backups
      miroir backup create backups --index books --rate 20000
    """

    async def command(console: Console) -> None:
        from miroir_cli.backup.create import CreateOptions, CreateProgress, create_backup
        from miroir_cli.backup.target import open_target

        options = CreateOptions(
            indexes=tuple(sorted(set(index))) if index else None,
            parallel=parallel or 4,
            rate=rate,
            retry_for=retry_for,
            file_bytes=file_bytes,
            compression=compression,
            restart=restart,
            with_keys=with_keys,
            with_secrets=with_secrets,
        )
        target = await asyncio.to_thread(open_target, place)
        async with console.cluster() as cluster:
            if dry_run:
                await _show_plan(console, cluster, place, options)
                return
            with console.progress() as progress:
                lane = progress.lane("backed up")

                def report(state: CreateProgress) -> None:
                    note = f"{state.shards} of {state.of_shards} shards"
                    lane.update(state.documents, total=state.expected, note=note)

                created = await create_backup(cluster, target, options=options, report=report)
        console.show(created.json(), lambda: show_created(console, created))
        if created.manifest.compression == Compression.GZIP and compression is None:
            console.say("compressed with gzip: `pip install 'miroir[zstd]'` makes it smaller and quicker")
        for uid in created.skipped:
            console.warn(f"index `{uid}` was deleted meanwhile and is not in the backup")
        for each in created.manifest.indexes:
            if each.secrets:
                console.say(f"index `{each.uid}`: without {', '.join(f'`{path}`' for path in each.secrets)}")

    run(ctx, command, when_interrupted="run the same command again: it goes on from there")


async def _show_plan(console: Console, cluster: Any, place: str, options: CreateOptions) -> None:
    from miroir_cli.indexes.counts import count_documents

    names = options.indexes or tuple(index.uid for index in await cluster.store.indexes())
    maps = [await cluster.reload(uid) for uid in names]
    counts = [await count_documents(cluster, map) for map in maps]
    indexes = [
        {"index": map.index.uid, "documents": count.documents, "shards": map.index.shards}
        for map, count in zip(maps, counts, strict=True)
    ]
    console.show(
        {"place": place, "indexes": indexes, "dry_run": True},
        lambda: console.table(
            ["index", "shards", "documents"], [(each["index"], each["shards"], each["documents"]) for each in indexes]
        ),
    )


@backup.command(name="list")
def list_(ctx: typer.Context, place: Place) -> None:
    """List the backups in a place, also unfinished and damaged ones.

    No cluster is needed for it: it reads the manifests.

    Examples:
      miroir backup list backups
    """

    async def command(console: Console) -> None:
        from miroir_cli.backup.catalog import list_backups
        from miroir_cli.backup.target import open_target

        target = await asyncio.to_thread(open_target, place)
        entries = await asyncio.to_thread(list_backups, target)
        console.show({"backups": [entry.json() for entry in entries]}, lambda: show_list(console, entries))
        if not entries:
            console.say(f"no backup yet: run `miroir backup create {place}`")

    run(ctx, command)


@backup.command()
def show(ctx: typer.Context, place: Place, id: Id = "latest") -> None:
    """Show what a backup has: its indexes, and as of which moment each shard is.

    No cluster is needed for it.

    Examples:
      miroir backup show backups
    """

    async def command(console: Console) -> None:
        from miroir_cli.backup.catalog import find_backup
        from miroir_cli.backup.target import open_target

        target = await asyncio.to_thread(open_target, place)
        manifest = await asyncio.to_thread(find_backup, target, id)
        console.show(manifest.json(), lambda: show_backup(console, manifest))

    run(ctx, command)


@backup.command()
def verify(
    ctx: typer.Context,
    place: Place,
    id: Id = "latest",
    index: IndexNames = None,
    live: Annotated[
        bool, typer.Option("--live", help="Also compare every document with the cluster as it is now.")
    ] = False,
    metrics_file: MetricsFile = None,
) -> None:
    """Check that all files of a backup are there and hold what was written.

    Nothing is changed, and no cluster is needed unless `--live` compares with it. The exit status is 13 when something
    differs.

    Examples:
      miroir backup verify backups
      miroir backup verify backups --live
    """

    async def command(console: Console) -> None:
        from miroir_cli.backup.catalog import check_files, find_backup, require_sound
        from miroir_cli.backup.live import compare_live
        from miroir_cli.backup.target import open_target

        target = await asyncio.to_thread(open_target, place)
        manifest = await asyncio.to_thread(find_backup, target, id)
        names = _names(manifest, index)
        total = sum(each.bytes for each in manifest.indexes if each.uid in names)
        with console.progress() as progress:
            lane = progress.lane("read", unit="bytes", total=total)
            done = 0

            def report(size: int) -> None:
                nonlocal done
                done += size
                lane.update(done)

            flaws = await asyncio.to_thread(check_files, target, manifest, indexes=names, report=report)
        compared = None
        if live and not flaws:
            async with console.cluster() as cluster:
                compared = [await compare_live(cluster, target, manifest, uid) for uid in names]
        found = {
            "backup": manifest.id,
            "files": sum(len(each.files) for each in manifest.indexes if each.uid in names),
            "bytes": total,
            "flaws": [
                {"file": flaw.file, "index": flaw.index, "shard": flaw.shard, "reason": flaw.reason} for flaw in flaws
            ],
            "live": None if compared is None else [each.json() for each in compared],
        }
        console.show(found, lambda: show_found(console, found))
        require_sound(flaws)
        if compared and not all(each.equal for each in compared):
            raise DifferencesFound("the cluster is not as the backup has it", hint="what was written since is expected")

    run(ctx, command)


def _names(manifest: Manifest, wanted: Sequence[str] | None) -> list[str]:
    known = [each.uid for each in manifest.indexes]
    for uid in wanted or ():
        if uid not in known:
            raise IndexNotFound(f"index `{uid}` is not in backup `{manifest.id}`", hint=f"it has {', '.join(known)}")
    return list(wanted or known)


@backup.command()
def prune(
    ctx: typer.Context,
    place: Place,
    keep_last: Annotated[int, typer.Option(min=0, metavar="N", help="Keep the last N.")] = 0,
    keep_daily: Annotated[int, typer.Option(min=0, metavar="N", help="The newest of each of the last N days.")] = 0,
    keep_weekly: Annotated[int, typer.Option(min=0, metavar="N", help="The newest of each of the last N weeks.")] = 0,
    keep_monthly: Annotated[int, typer.Option(min=0, metavar="N", help="The newest of each of the last N months.")] = 0,
    keep_within: Annotated[
        str | None, typer.Option(metavar="AGE", help="All that are not older, such as `36h`, `30d`, `8w`.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    metrics_file: MetricsFile = None,
) -> None:
    """Delete backups that no rule keeps; the newest complete one always stays.

    Backups of the same indexes of one cluster count by themselves. Days, weeks and months are those of the local time
    and only count when they have a backup. Unfinished backups go once a newer one is complete. Damaged ones stay for
    somebody to look at.

    Examples:
      miroir backup prune backups --keep-last 3 --keep-daily 7 --keep-weekly 5 --yes
      miroir backup prune backups --keep-within 30d --dry-run
    """

    async def command(console: Console) -> None:
        import time

        from miroir_cli.backup.beginning import OLDEST
        from miroir_cli.backup.catalog import delete_backup, list_backups, plan_pruning
        from miroir_cli.backup.create import alone
        from miroir_cli.backup.retention import Rules, parse_age
        from miroir_cli.backup.target import open_target

        within = parse_age(keep_within) if keep_within is not None else 0
        rules = Rules(last=keep_last, daily=keep_daily, weekly=keep_weekly, monthly=keep_monthly, within=within)
        if not rules:
            raise UsageError("no rule says what to keep", hint="such as `--keep-daily 7 --keep-weekly 5`")
        target = await asyncio.to_thread(open_target, place)
        nothing = dry_run or not await asyncio.to_thread(target.folders)
        async with nullcontext() if nothing else alone(None, target):
            entries = await asyncio.to_thread(list_backups, target)
            kept = plan_pruning(entries, rules, now=time.time_ns() // 1_000_000, resumable=OLDEST)
            going = [each.backup.id for each in kept if not each.reasons]
            if going and not dry_run:
                console.confirm(f"Delete {len(going)} of {len(kept)} backups in `{place}`?", yes=yes)
                for id in going:
                    await asyncio.to_thread(delete_backup, target, id)
        document = {
            "kept": [{"backup": each.backup.id, "reasons": list(each.reasons)} for each in kept if each.reasons],
            "deleted": going,
            "dry_run": dry_run,
        }
        console.show(document, lambda: show_pruning(console, kept, dry_run=dry_run))

    run(ctx, command, when_interrupted="run the same command again: it deletes what is left")


backup.command()(restore)
