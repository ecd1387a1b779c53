"""Copies between a plain Meilisearch and the cluster: what `import --from` and `export --to` do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.cli.consent import agree, preview
from miroir_cli.cli.meant import index_meant
from miroir_cli.cli.restore import plain_server
from miroir_cli.cli.table import Column
from miroir_cli.errors import PartialError, UsageError

if TYPE_CHECKING:
    from miroir_cli.backup.copying import Copied, CopyProgress
    from miroir_cli.backup.from_server import Arrival, CopyOptions
    from miroir_cli.cli.console import Console


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server as the command line names it. `index` None: of the same uid."""

    url: str
    index: str | None = None
    key_env: str | None = None


async def import_from(
    console: Console, uid: str | None, server: Server, *, all: bool, options: CopyOptions, dry_run: bool, yes: bool
) -> None:
    """Copy one index, or all of them, into the cluster."""
    from miroir_cli.backup.from_server import copy_from, plan_copy_from

    if (uid is None) != all:
        raise UsageError("say which index to copy, or `--all`", hint="such as `miroir import INDEX --from URL`")
    if all and (server.index is not None or options.primary_key is not None or options.settings):
        raise UsageError("`--from-index`, `--primary-key` and `--settings` are for one index, not for `--all`")
    opening = plain_server(server.url, server.key_env, retry_for=options.retry_for)
    async with console.cluster() as cluster, opening as origin:
        if uid is not None:
            uids = [(await cluster.target_of(uid, written=True), server.index or uid)]
        else:
            uids = [(each["uid"],) * 2 for each in await origin.indexes()]
        plans = [await plan_copy_from(cluster, origin, to, origin=name, options=options) for to, name in uids]
        for plan in plans:
            for setting in plan.unknown:
                console.warn(f"setting `{setting}` of index `{plan.origin}` is not known to miroir and left out")
        if dry_run:
            await preview(console, cluster, _plan_document(server, plans), lambda: _show_plans(console, plans))
            return
        if options.delete:
            question = f"Copy, and delete the documents that `{server.url}` does not have?"
            await agree(console, cluster, question, plan=lambda: _show_plans(console, plans), yes=yes)
        done: list[Copied] = []
        for plan in plans:
            with console.progress() as progress:
                report = _reporter(progress, plan.uid)
                done.append(await copy_from(cluster, origin, plan, options=options, report=report))
    _show_copied(console, done, server, key="from", single=uid is not None)


async def export_to(
    console: Console, uid: str, server: Server, *, options: CopyOptions, dry_run: bool, yes: bool
) -> None:
    """Copy an index of the cluster into a server."""
    from miroir_cli.backup.from_server import copy_to
    from miroir_cli.indexes.counts import count_documents

    there = server.index or uid
    opening = plain_server(server.url, server.key_env, retry_for=options.retry_for, mark="miroir:export")
    async with console.cluster() as cluster, opening as destination:
        uid = await index_meant(console, cluster, uid)
        count = (await count_documents(cluster, await cluster.reload(uid))).documents
        has = await destination.count(there) if await destination.index(there) is not None else None
        found = {"to": server.url, "index": there, "documents": {"from": count, "to": has}, "dry_run": True}

        def plan() -> None:
            is_there = "which is not there yet" if has is None else f"which has {has:,}"
            console.print(f"would compare {count:,} documents of `{uid}` with index `{there}`, {is_there}")

        if dry_run:
            await preview(console, cluster, found, plan)
            return
        if options.delete:
            question = f"Copy, and delete the documents of `{there}` on `{server.url}` that the cluster does not have?"
            await agree(console, cluster, question, plan=plan, yes=yes)
        with console.progress() as progress:
            report = _reporter(progress, there)
            done = await copy_to(cluster, destination, uid, there=there, options=options, report=report)
    _show_copied(console, [done], server, key="to", single=True)


def _reporter(progress: Any, uid: str) -> Any:
    read, stored = progress.lane(f"{uid}: read"), progress.lane("stored")

    def report(state: CopyProgress) -> None:
        read.update(state.compared, total=state.total)
        stored.update(state.stored)

    return report


def _plan_document(server: Server, plans: Sequence[Arrival]) -> dict[str, Any]:
    indexes = [
        {
            "index": plan.uid,
            "from": plan.origin,
            "primary_key": plan.primary_key or None,
            "documents": plan.documents,
            "settings": plan.settings,
            "exists": plan.settings is None,
        }
        for plan in plans
    ]
    return {"from": server.url, "indexes": indexes, "dry_run": True}


def _show_plans(console: Console, plans: Sequence[Arrival]) -> None:
    rows = [
        (plan.uid, plan.origin, plan.primary_key, plan.documents, "is there" if plan.settings is None else "created")
        for plan in plans
    ]
    console.table(["index", "from", "primary key", Column(name="documents", right=True), "would be"], rows)


def _show_copied(console: Console, done: Sequence[Copied], server: Server, *, key: str, single: bool) -> None:
    documents = [{key: server.url, **each.json()} for each in done]
    columns: list[Column | str] = [
        "index",
        Column(name="copied", right=True),
        Column(name="unchanged", right=True),
        Column(name="deleted", right=True),
        Column(name="from", right=True),
        Column(name="to", right=True),
    ]
    rows = [(each.index, each.copied, each.unchanged, each.deleted, each.origin, each.there) for each in done]
    value = documents[0] if single else {key: server.url, "indexes": documents}
    console.show(value, lambda: console.table(columns, rows))
    for each in done:
        for reason in each.reasons[:10]:
            console.warn(reason)
        if each.extra:
            console.warn(
                f"index `{each.index}`: {each.extra:,} documents are only at the destination; `--delete` deletes them"
            )
    console.say("what was written at the origin meanwhile may be missing: run it again when nobody writes any more")
    unequal = [each for each in done if not each.equal]
    if unequal:
        first = unequal[0]
        raise PartialError(
            f"index `{first.index}` has {first.there:,} documents, its origin {first.origin:,}"
            + (f"; {first.rejected:,} were refused" if first.rejected else ""),
            hint="run the same command again: it compares, and copies what is missing",
        )
