"""`miroir backup restore`, and how a server outside of the cluster is reached."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from miroir_cli.cli.backup_tables import restore_document, show_restore_plan, show_restored
from miroir_cli.cli.consent import agree, preview_cluster
from miroir_cli.cli.console import Console, run
from miroir_cli.cli.options import SAFETY, DryRun, RetryFor, Yes
from miroir_cli.errors import DifferencesFound, PartialError, UsageError

if TYPE_CHECKING:
    from miroir_cli.backup.manifest import Manifest
    from miroir_cli.backup.plain import PlainServer
    from miroir_cli.backup.restore import Destination, Restored, RestoreOptions, RestoreProgress

Place = Annotated[
    str,
    typer.Argument(
        metavar="PLACE",
        help="A folder, or a URL that fsspec knows, such as `s3://bucket/folder` (`miroir[remote]`).",
        show_default=False,
    ),
]
Id = Annotated[
    str, typer.Argument(metavar="[BACKUP]", help="Its id, or the beginning of it (the latest).", show_default=False)
]
WITH_KEY = "leave it out, put the server's key into a variable, and name that: `--key-env VARIABLE`"
ADDRESS = "such as `http://127.0.0.1:7700`"
CONTENT, WHERE = "What is in it", "Where to"


def restore(
    ctx: typer.Context,
    place: Place,
    id: Id = "latest",
    index: Annotated[
        list[str] | None,
        typer.Option("--index", metavar="UID", help="Only this index; may be repeated.", rich_help_panel=CONTENT),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--as", metavar="UID", help="Restore it under another uid.", rich_help_panel=WHERE)
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="Into one Meilisearch instead of the cluster.", rich_help_panel=WHERE),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option("--key-env", metavar="VAR", help="Which variable holds its key.", rich_help_panel=WHERE),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option("--shards", min=1, metavar="S", help="Shards (as many as it had).", rich_help_panel=WHERE),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(
            "--replicas", min=1, metavar="R", help="Copies of each shard in each group.", rich_help_panel=WHERE
        ),
    ] = None,
    settings_file: Annotated[
        str | None,
        typer.Option(
            "--settings",
            metavar="FILE",
            help="Settings over those of the backup, such as the keys of embedders.",
            rich_help_panel=CONTENT,
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Delete an index of the same uid first (it asks for the uid).", rich_help_panel=SAFETY
        ),
    ] = False,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Compare every document once it is restored.", rich_help_panel=SAFETY),
    ] = False,
    retry_for: RetryFor = 60.0,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Restore indexes of a backup into a cluster or into one Meilisearch.

    The cluster may be of any size. Files are checked before the first write, and counts at the end. An index that
    exists is refused unless `--replace`. Interrupted or killed, the same command goes on where it stopped. `--to` needs
    no topology file.

    Examples:
      miroir backup restore backups --index books --as books-restored
      miroir backup restore backups --index books --to http://127.0.0.1:7704
    """

    async def command(console: Console) -> None:
        from miroir_cli.backup.catalog import find_backup
        from miroir_cli.backup.into_cluster import IntoCluster
        from miroir_cli.backup.restore import RestoreOptions, restore_backup, wishes_of
        from miroir_cli.backup.target import open_target

        options = RestoreOptions(
            indexes=tuple(index) if index else None,
            name=name,
            shards=shards,
            replicas=replicas,
            settings=console.read_json(settings_file) if settings_file else {},
            replace=replace,
            compare=compare,
            retry_for=retry_for,
        )
        if to is not None and (shards is not None or replicas is not None):
            raise UsageError("one Meilisearch has no shards and no replicas", hint="leave out `--shards`, `--replicas`")
        target = await asyncio.to_thread(open_target, place)
        manifest = await asyncio.to_thread(find_backup, target, id)
        wishes = wishes_of(manifest, options)
        async with _destination(console, to, key_env, manifest, target.url, options) as destination:
            taken = [wish.uid for wish in wishes if not await destination.is_free(wish)]
            document = restore_document(manifest, wishes, taken, to=to, replace=replace)

            def plan() -> None:
                show_restore_plan(console, document)

            if dry_run:
                if replace and isinstance(destination, IntoCluster):
                    await preview_cluster(console, destination.cluster)
                console.show(document, plan)
                return
            for uid in taken if replace else ():
                where = "" if to is None else f" of {to}"
                question = f"Index `{uid}`{where} is deleted with all its documents first."
                if isinstance(destination, IntoCluster):
                    await agree(console, destination.cluster, question, plan=plan, yes=yes, name=uid)
                else:
                    console.confirm_name(question, uid, yes=yes)
            with console.progress() as progress:
                lane = progress.lane("restored")

                def report(state: RestoreProgress) -> None:
                    checking = f"checking files, {state.checked * 100 // state.to_check} %" if state.to_check else ""
                    lane.update(state.documents, total=state.expected, note=checking)

                restored = await restore_backup(target, manifest, destination, options=options, report=report)
        console.show(restored.json(), lambda: show_restored(console, restored))
        _raise_what_is_missing(console, restored)

    run(ctx, command, when_interrupted="run the same command again: it goes on from there")


def _raise_what_is_missing(console: Console, restored: Restored) -> None:
    """Raise for documents that were not restored, or not as the backup has them."""
    for each in restored.indexes:
        for reason in each.reasons[:10]:
            console.warn(reason)
        if each.differences:
            raise DifferencesFound(
                f"{len(each.differences):,} documents of `{each.index}` are not as in the backup, such as "
                f"`{each.differences[0]}`",
                hint="somebody may have written them meanwhile",
            )
    if restored.rejected:
        raise PartialError(f"{restored.rejected:,} documents were not restored")


@asynccontextmanager
async def _destination(
    console: Console, to: str | None, key_env: str | None, manifest: Manifest, place: str, options: RestoreOptions
) -> AsyncIterator[Destination]:
    from miroir_cli.backup.into_cluster import IntoCluster
    from miroir_cli.backup.into_server import IntoServer

    if to is not None:
        async with plain_server(to, key_env, retry_for=options.retry_for, mark=f"miroir:{manifest.id}") as server:
            yield IntoServer(server)
        return
    if key_env is not None:
        raise UsageError("`--key-env` is for a server", hint="say which with `--to URL`")
    async with console.cluster() as cluster, cluster.locks.once("restore"):
        yield IntoCluster(cluster, manifest, place, options)


@asynccontextmanager
async def plain_server(
    url: str, key_env: str | None, *, retry_for: float, mark: str = ""
) -> AsyncIterator[PlainServer]:
    """A Meilisearch that no topology file names, found to be one. Raises `UsageError` when the variable is not set, and
    for what is no address, or one that has a password: addresses are shown and remembered."""
    from miroir_cli.backup.plain import PlainServer
    from miroir_cli.secrecy import is_variable
    from miroir_cli.topology.schema import check_url

    def refuse(problem: str, hint: str | None) -> None:
        raise UsageError(f"the server's address {problem}", hint=WITH_KEY if "@" in url else hint or ADDRESS)

    check_url(url, refuse)
    key = None
    if key_env is not None:
        key = os.environ.get(key_env)
        if not key:
            if not is_variable(key_env):
                raise UsageError(
                    "what `--key-env` has been given is no variable that is set",
                    hint="it takes the name of a variable that holds the key, not the key: `--key-env SERVER_KEY`",
                )
            raise UsageError(
                f"variable `{key_env}` is not set", hint=f"put the server's key there: `export {key_env}=…`"
            )
    server = PlainServer(url, key=key, retry_for=retry_for, mark=mark)
    try:
        await server.check()
        yield server
    finally:
        await server.close()
