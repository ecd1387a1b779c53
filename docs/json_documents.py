"""The page of JSON documents, from the published schemas: a table of keys for each command and each shared part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from miroir_cli.cli.app import COMMANDS
from miroir_cli.cli.schema import SHARED, definitions, load, names, words_of

BEFORE = """
# JSON documents

With `--json` a command prints exactly one document on standard output. Keys may be added later; these stay.
`miroir schema COMMAND` prints the same as JSON Schema (draft 2020-12), `miroir schema` lists what there is.
A command that failed before it had a result prints [an error](#error) instead. With `--watch` each line is a document.

Times are milliseconds since 1970, durations seconds. With `--dry-run` the document says what would be done.
`documents` of a node counts what it stores, `documents` of an index each document once; it is null when it could not
be counted. A key that is not always there says so under *type*. `next` has the commands that people are told as a hint.
"""

KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}


def json_documents() -> str:
    order = list(COMMANDS)
    commands = [name for name in names() if words_of(name).split()[0] in order]
    commands.sort(key=lambda name: order.index(words_of(name).split()[0]))
    lines = [BEFORE.strip(), ""]
    for same in together(commands):
        lines += [f"## miroir {', '.join(words_of(name) for name in same)}", "", *section(load(same[0]))]
    for name in ("error", "progress"):
        lines += [f"## {name.capitalize()}", "", *section(load(name))]
    lines += ["## Parts of documents", ""]
    for name, part in sorted(definitions().items()):
        if not simple(part):
            lines += [f"### {name}", "", *section(part)]
    return "\n".join(lines)


def together(commands: list[str]) -> list[list[str]]:
    """The commands, those of one group with the same document side by side."""
    found: dict[str, list[str]] = {}
    for name in commands:
        shape = {key: value for key, value in load(name).items() if key != "title"}
        found.setdefault(f"{name.partition('-')[0]} {shape}", []).append(name)
    return list(found.values())


def section(schema: Mapping[str, Any]) -> list[str]:
    """A schema as a sentence and a table; alternatives one after the other."""
    if "$ref" in schema:
        return [f"{upper(schema.get('description', ''))}: [{name_of(schema)}](#{name_of(schema)}).", ""]
    told = f"{upper(schema['description'])}."
    if "anyOf" in schema:
        return [told, "", *(line for part in schema["anyOf"] for line in alternative(part))]
    return [told, "", *bases(schema), *table(schema)]


def alternative(schema: Mapping[str, Any]) -> list[str]:
    if "$ref" in schema:
        description = schema.get("description") or definitions()[name_of(schema)]["description"]
        return [f"- {description}: [{name_of(schema)}](#{name_of(schema)})", ""]
    return [f"- {schema['description']}:", "", *bases(schema), *table(schema)]


def bases(schema: Mapping[str, Any]) -> list[str]:
    """What all of it has that is told elsewhere."""
    links = [f"[{name_of(base)}](#{name_of(base)})" for base in schema.get("allOf", ())]
    return [f"All keys of {' and '.join(links)}{', and' if schema.get('properties') else ''}", ""] if links else []


def table(schema: Mapping[str, Any]) -> list[str]:
    found = list(rows(schema))
    if not found:
        return []
    lines = [f"| `{key}` | {kind} | {told} |".replace("\n", " ") for key, kind, told in found]
    return ["| key | type | what it is |", "|---|---|---|", *lines, ""]


def rows(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """The keys of an object, those of objects in it behind them."""
    for key, value in schema.get("properties", {}).items():
        optional = "" if key in schema.get("required", ()) else ", not always"
        told = value.get("description") or definitions()[name_of(value)]["description"]
        part = definitions()[name_of(value)] if "$ref" in value else value
        if named := [each for each in part.get("enum", ()) if each is not None and f"`{each}`" not in told]:
            told += f": {', '.join(f'`{each}`' for each in named)}"
        yield f"{path}{key}", f"{kind_of(value)}{optional}", told.replace("|", "\\|")
        inner, mark = (value.get("items", {}), "[]") if value.get("type") == "array" else (value, "")
        if "$ref" not in inner:
            yield from rows(inner, f"{path}{key}{mark}.")


def kind_of(schema: Mapping[str, Any]) -> str:
    """The type of a value in a word or two, with a link to the part that describes it."""
    if "$ref" in schema:
        part = definitions()[name_of(schema)]
        return kind_of(part) if simple(part) else f"[{name_of(schema)}](#{name_of(schema)})"
    if "allOf" in schema:
        return " and ".join([*(kind_of(base) for base in schema["allOf"]), "more"])
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    named = [kind_of_container(kind, schema) if kind in ("array", "object") else KINDS[kind] for kind in kinds]
    return " or ".join(named) or "any"


def kind_of_container(kind: str, schema: Mapping[str, Any]) -> str:
    if kind == "array":
        items = kind_of(schema.get("items", {})).replace("text", "texts")
        return f"list of {items.replace('whole number', 'whole numbers').replace('object', 'objects')}"
    values = schema.get("additionalProperties")
    return f"object of {kind_of(values)}" if isinstance(values, dict) else "object"


def simple(part: Mapping[str, Any]) -> bool:
    """Whether a shared part needs no section of its own: it has no keys."""
    return "properties" not in part and "properties" not in part.get("items", {})


def name_of(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).removeprefix(SHARED)


def upper(text: str) -> str:
    return text[:1].upper() + text[1:]
