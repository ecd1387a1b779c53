"""`miroir index settings`: one index's settings, the same on all its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.consent import agree, preview
from miroir_cli.cli.console import Console, Next, run
from miroir_cli.cli.meant import index_meant
from miroir_cli.cli.options import DetailedExitcode, DryRun, Index, Yes
from miroir_cli.cli.table import Column
from miroir_cli.errors import ChangesPending, SettingsInvalid, UsageError, nearest

if TYPE_CHECKING:
    from miroir_cli.indexes.configure import SettingsChange

GROUP = """
Read and change the settings of an index on all its nodes.

They are Meilisearch's, with its names and JSON values. They are checked before anything is sent, applied on every node
in one order with the writes, and read back. What somebody changes on a node past miroir is put back.

Examples:
  miroir index settings get books
  miroir index settings set books filterableAttributes='["year", "genre"]'
  miroir index settings diff books settings.json
"""

settings = typer.Typer(no_args_is_help=True, help=GROUP)

Keys = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SETTING]...", help="Names of settings; all of them when left out.", show_default=False),
]
RESUME = "run the same command again: settings already applied are not applied twice"


@settings.command()
def get(ctx: typer.Context, uid: Index, keys: Keys = None) -> None:
    """Print settings as JSON, ready to be edited.

    And given back to `miroir index settings set --file`.

    Examples:
      miroir index settings get books > settings.json
      miroir index settings get books synonyms stopWords
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.configure import get_settings

        async with console.cluster() as cluster:
            found = await get_settings(cluster, await index_meant(console, cluster, uid))
        chosen = {key: _chosen(found, key) for key in keys} if keys else found
        console.show(chosen, lambda: console.print_json(chosen))

    run(ctx, command)


@settings.command(name="set")
def set_(
    ctx: typer.Context,
    uid: Index,
    pairs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=JSON]...", help="Such as `sortableAttributes='[\"year\"]'`.", show_default=False),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="Settings as JSON (`-`: standard input)."),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Change settings: those that are named; the others stay.

    The value null sets one back to its default. Documents are indexed anew by the nodes where that is needed; searches
    go on meanwhile. A node that is away gets them when it answers again.

    Examples:
      miroir index settings set books sortableAttributes='["year"]'
      miroir index settings set books synonyms='{"sf": ["science fiction"]}' stopWords=null
      miroir index settings set books --file settings.json --dry-run
      miroir index settings set books --file settings.json
    """

    async def command(console: Console) -> None:
        patch = {**(console.read_json(file) if file else {}), **parse_pairs(pairs or ())}
        if not patch:
            raise UsageError("no setting given", hint="name some as NAME=JSON, or a file with `--file`")
        source = f"`{file}`" if file else "settings"
        await _change(console, uid, patch, source=source, dry_run=dry_run, yes=yes)

    run(ctx, command, when_interrupted=RESUME)


@settings.command()
def reset(ctx: typer.Context, uid: Index, keys: Keys = None, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Set settings back to Meilisearch's defaults.

    All of them when none is named.

    Examples:
      miroir index settings reset books synonyms
      miroir index settings reset books --dry-run
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.settings import KEYS

        await _change(console, uid, dict.fromkeys(keys or KEYS), source="settings", dry_run=dry_run, yes=yes)

    run(ctx, command, when_interrupted=RESUME)


@settings.command()
def diff(
    ctx: typer.Context,
    uid: Index,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Settings as JSON (`-`: standard input).")],
    detailed_exitcode: DetailedExitcode = False,
) -> None:
    """Compare a settings file with what the index has.

    What `miroir index settings set --file` would change.

    Examples:
      miroir index settings diff books settings.json
      miroir index settings diff books settings.json --detailed-exitcode      # 9 when something differs
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.configure import diff_settings

        wanted = console.read_json(file)
        async with console.cluster() as cluster:
            index = await index_meant(console, cluster, uid)
            found = await diff_settings(cluster, index, wanted, source=f"`{file}`")
        apply = Next(command=f"miroir index settings set {uid} --file {file}", purpose="to make them equal")
        console.show(
            {"index": index, "differences": _changes(found)},
            lambda: _print_changes(console, found, "no differences"),
            next=[apply] if found and file != "-" else (),
        )
        if found and detailed_exitcode:
            raise ChangesPending(
                f"{len(found)} settings of index `{uid}` differ from `{file}`",
                hint=f"run `miroir index settings set {uid} --file {file}`",
            )

    run(ctx, command)


async def _change(
    console: Console, uid: str, patch: Mapping[str, Any], *, source: str, dry_run: bool, yes: bool
) -> None:
    from miroir_cli.indexes.configure import change_settings, plan_settings

    async with console.cluster() as cluster:
        uid = await index_meant(console, cluster, uid, written=True)
        if dry_run or console.asks(yes=yes):
            planned = await plan_settings(cluster, uid, patch, source=source)

            def show() -> None:
                _print_changes(console, planned.changed, "nothing to change")

            if dry_run:
                await preview(console, cluster, _change_document(uid, planned, dry_run=True), show)
                return
            if planned.changed:
                question = f"Change these settings of index `{uid}`? Nodes may index all documents anew."
                await agree(console, cluster, question, plan=show, yes=yes, always=False)
        result = await change_settings(cluster, uid, patch, source=source)
    _show_change(console, uid, result)


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """`NAME=JSON` words as a mapping. Raises `UsageError` for a word without `=`, `SettingsInvalid` for bad JSON."""
    import msgspec

    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"`{pair}` is not NAME=JSON", hint="such as `searchableAttributes='[\"title\"]'`")
        try:
            found[key] = msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise SettingsInvalid(
                f"the value of `{key}` is not JSON: {text}", hint="texts need quotes of their own: NAME='\"text\"'"
            ) from error
    return found


def _chosen(found: Mapping[str, Any], key: str) -> Any:
    if key not in found:
        near = nearest(key, found, alike=0.6)
        raise SettingsInvalid(f"unknown setting `{key}`", hint=f"did you mean `{near}`?" if near else None)
    return found[key]


def _change_document(uid: str, change: SettingsChange, *, dry_run: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "index": uid,
        "changed": _changes(change.changed),
        "nodes": list(change.nodes),
        "stale": list(change.stale),
    }
    return {**document, "dry_run": True} if dry_run else document


def _show_change(console: Console, uid: str, change: SettingsChange) -> None:
    document = _change_document(uid, change, dry_run=False)
    mend = Next(command=f"miroir repair {uid}", purpose="when they answer again")
    console.show(
        document,
        lambda: _print_changes(console, change.changed, "nothing to change"),
        next=[mend] if change.stale else (),
    )
    if change.changed:
        console.say(f"settings of index `{uid}` are in force on {', '.join(change.nodes)}")
    if change.stale:
        console.warn(f"{', '.join(change.stale)} did not get them: not read from until they have caught up")


def _changes(changed: Mapping[str, tuple[Any, Any]]) -> list[dict[str, Any]]:
    return [{"key": key, "before": before, "after": after} for key, (before, after) in changed.items()]


def _print_changes(console: Console, changed: Mapping[str, tuple[Any, Any]], nothing: str) -> None:
    import msgspec

    def shown(value: Any) -> str:
        return "(default)" if value is None else msgspec.json.encode(value).decode()

    if changed:
        console.table(
            [Column(name="setting", keep=True), Column(name="before", wrap=True), Column(name="after", wrap=True)],
            [(key, shown(before), shown(after)) for key, (before, after) in changed.items()],
        )
    else:
        console.print(nothing)
