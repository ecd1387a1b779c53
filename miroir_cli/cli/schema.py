"""`miroir schema`: the published shape of each command's JSON document, JSON Schema draft 2020-12.

`schemas/<the command's words, joined by ->.json` has the document of a command; `error.json` that of any command that
failed, `progress.json` a line of `--progress json`. What several have in common is in `definitions.json`.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.table import Column
from miroir_cli.errors import UsageError, nearest

app = typer.Typer()

DEFINITIONS: Final = "definitions"
SHARED: Final = f"{DEFINITIONS}.json#/$defs/"
COLUMNS: Final = (Column(name="command", keep=True), Column(name="document", wrap=True))


@app.command()
def schema(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND]...", help="A command's words, `error` or `progress`.", show_default=False),
    ] = None,
) -> None:
    """Print the JSON Schema of what a command prints with `--json`.

    Without a command it lists what there is. A document has at least what its schema requires; keys may be added
    later. The lines of a stream (`--watch`) are documents, one by one. `error` is the document of any command that
    failed before it had a result, `progress` a line of `--progress json`.

    Examples:
      miroir schema                         # what there is
      miroir schema status
      miroir schema index create > index-create.json
    """

    async def command(console: Console) -> None:
        if words:
            found = bundled(named(words))
            console.show(found, lambda: console.print_json(found))
            return
        listed = [{"command": words_of(name), "description": load(name)["description"]} for name in names()]
        rows = [(each["command"], each["description"]) for each in listed]
        console.show({"schemas": listed}, lambda: console.table(COLUMNS, rows))

    run(ctx, command)


def names() -> list[str]:
    """The schemas there are, by the words of their command joined with `-`."""
    found = sorted(path.name.removesuffix(".json") for path in _folder().iterdir() if path.name.endswith(".json"))
    return [name for name in found if name != DEFINITIONS]


def words_of(name: str) -> str:
    """The command's words: `rebalance plan` for `rebalance-plan`."""
    title: str = load(name)["title"]
    return title.removeprefix("miroir ")


def named(words: list[str]) -> str:
    """The name of the schema for a command's words. Raises `UsageError` with what may have been meant."""
    known = names()
    wanted = "-".join(word for part in words for word in part.split()).removeprefix("miroir-")
    if wanted in known:
        return wanted
    shown = wanted.replace("-", " ")
    members = [f"`{words_of(name)}`" for name in known if name.startswith(f"{wanted}-")]
    if members:
        raise UsageError(f"`{shown}` is a group of commands", hint=f"one of {', '.join(members)}")
    near = nearest(wanted, known, alike=0.5)
    hint = f"did you mean `{words_of(near)}`?" if near else "run `miroir schema` to see what there is"
    raise UsageError(f"no command `{shown}` that prints a JSON document", hint=hint)


@cache
def load(name: str) -> dict[str, Any]:
    """A schema as its file has it, with references into `definitions.json`."""
    found: dict[str, Any] = json.loads((_folder() / f"{name}.json").read_text(encoding="utf-8"))
    return found


def definitions() -> dict[str, Any]:
    """The shared parts by name."""
    found: dict[str, Any] = load(DEFINITIONS)["$defs"]
    return found


def bundled(name: str) -> dict[str, Any]:
    """A schema that stands for itself: the shared parts that it needs are under `$defs`."""
    schema = load(name)
    needed: dict[str, Any] = {}
    waiting = references(schema)
    while waiting:
        part = waiting.pop()
        if part not in needed:
            needed[part] = definitions()[part]
            waiting |= references(needed[part])
    whole: dict[str, Any] = _pointed(schema)
    return {**whole, "$defs": {part: _pointed(needed[part]) for part in sorted(needed)}} if needed else whole


def references(schema: Any) -> set[str]:
    """Names of the shared parts that a schema refers to."""
    if isinstance(schema, dict):
        own = {target.removeprefix(SHARED)} if isinstance(target := schema.get("$ref"), str) else set()
        return own.union(*map(references, schema.values()))
    return set().union(*map(references, schema)) if isinstance(schema, list) else set()


def _pointed(schema: Any) -> Any:
    """The same with references into the document itself."""
    if isinstance(schema, dict):
        return {
            key: value.replace(SHARED, "#/$defs/") if key == "$ref" else _pointed(value)
            for key, value in schema.items()
        }
    return [_pointed(part) for part in schema] if isinstance(schema, list) else schema


def _folder() -> Any:
    return files("miroir_cli.cli") / "schemas"
