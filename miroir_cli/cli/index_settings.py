"""`miroir index settings`: one index's settings, the same on all its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.errors import ChangesPending, SettingsInvalid, UsageError

if TYPE_CHECKING:
    from miroir_cli.indexes.configure import SettingsChange

settings = typer.Typer(no_args_is_help=True, help="Read and change the settings of an index on all its nodes.")

Uid = Annotated[str, typer.Argument(metavar="UID", help="The index.", show_default=False)]
Keys = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY]...", help="Names of settings; all of them when left out.", show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
RESUME = "run the same command again: settings already applied are not applied twice"


@settings.command()
def get(ctx: typer.Context, uid: Uid, keys: Keys = None) -> None:
    """Print the settings as JSON, ready to be edited and given to `set --file`."""

    async def command(console: Console) -> None:
        from miroir_cli.indexes.configure import get_settings

        async with console.cluster() as cluster:
            found = await get_settings(cluster, uid)
        chosen = {key: _chosen(found, key) for key in keys} if keys else found
        console.show(chosen, lambda: console.print_json(chosen))

    run(ctx, command)


@settings.command(name="set")
def set_(
    ctx: typer.Context,
    uid: Uid,
    pairs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=JSON]...", help="Such as `sortableAttributes='[\"price\"]'`.", show_default=False),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", metavar="FILE", help="Settings as JSON; `-` reads standard input."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Change settings: those that are named change, null resets one, the others stay."""

    async def command(console: Console) -> None:
        from miroir_cli.indexes.configure import change_settings, plan_settings

        patch = {**(console.read_json(file) if file else {}), **parse_pairs(pairs or ())}
        if not patch:
            raise UsageError("no setting given", hint="name some as KEY=JSON, or a file with `--file`")
        source = f"`{file}`" if file else "settings"
        async with console.cluster() as cluster:
            change = plan_settings if dry_run else change_settings
            result = await change(cluster, uid, patch, source=source)
        _show_change(console, uid, result, dry_run=dry_run)

    run(ctx, command, when_interrupted=RESUME)


@settings.command()
def reset(ctx: typer.Context, uid: Uid, keys: Keys = None, dry_run: DryRun = False) -> None:
    """Set settings back to Meilisearch's defaults."""

    async def command(console: Console) -> None:
        from miroir_cli.indexes.configure import plan_settings, reset_settings
        from miroir_cli.indexes.settings import KEYS

        async with console.cluster() as cluster:
            if dry_run:
                result = await plan_settings(cluster, uid, dict.fromkeys(keys or KEYS))
            else:
                result = await reset_settings(cluster, uid, keys or ())
        _show_change(console, uid, result, dry_run=dry_run)

    run(ctx, command, when_interrupted=RESUME)


@settings.command()
def diff(
    ctx: typer.Context,
    uid: Uid,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Settings as JSON; `-` reads standard input.")],
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 9 when something differs.")
    ] = False,
) -> None:
    """Compare a settings file with what the index has: what `set --file` would change."""

    async def command(console: Console) -> None:
        from miroir_cli.indexes.configure import diff_settings

        wanted = console.read_json(file)
        async with console.cluster() as cluster:
            found = await diff_settings(cluster, uid, wanted, source=f"`{file}`")
        console.show(
            {"index": uid, "differences": _changes(found)}, lambda: _print_changes(console, found, "no differences")
        )
        if found and detailed_exitcode:
            raise ChangesPending(
                f"{len(found)} settings of index `{uid}` differ from `{file}`",
                hint=f"run `miroir index settings set {uid} --file {file}`",
            )

    run(ctx, command)


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """`KEY=JSON` words as a mapping. Raises `UsageError` for a word without `=`, `SettingsInvalid` for bad JSON."""
    import msgspec

    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"`{pair}` is not KEY=JSON", hint="such as `searchableAttributes='[\"title\"]'`")
        try:
            found[key] = msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise SettingsInvalid(
                f"the value of `{key}` is not JSON: {text}", hint="texts need quotes of their own: KEY='\"text\"'"
            ) from error
    return found


def _chosen(found: Mapping[str, Any], key: str) -> Any:
    if key not in found:
        import difflib

        near = difflib.get_close_matches(key, found, n=1)
        raise SettingsInvalid(f"unknown setting `{key}`", hint=f"did you mean `{near[0]}`?" if near else None)
    return found[key]


def _show_change(console: Console, uid: str, change: SettingsChange, *, dry_run: bool) -> None:
    document: dict[str, Any] = {
        "index": uid,
        "changed": _changes(change.changed),
        "nodes": list(change.nodes),
        "stale": list(change.stale),
    }
    if dry_run:
        document["dry_run"] = True
    console.show(document, lambda: _print_changes(console, change.changed, "nothing to change"))
    if change.changed and not dry_run:
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
            ["setting", "before", "after"],
            [(key, shown(before), shown(after)) for key, (before, after) in changed.items()],
        )
    else:
        console.print(nothing)
