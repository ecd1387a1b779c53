"""Every JSON document that a test makes a command print is held to the command's schema, and must not say more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from miroir_cli.cli.schema import SHARED, definitions, load, names

VALUED = ("-t", "--topology", "--progress")
"""Global options with a value, which may stand before the command's name."""


def check_output(
    words: Sequence[str], out: str, err: str = "", *, environment: Mapping[str, str] | None = None
) -> None:
    """What a command has written: its document, or each line of its stream; and its lines of progress."""
    for line in err.splitlines():
        if line.startswith('{"event":"progress"'):
            check("progress", json.loads(line))
    options = words[: words.index("--")] if "--" in words else words
    if "--json" in options or (environment or {}).get("MIROIR_JSON"):
        name = schema_of(words)
        for document in documents(out):
            check("error" if name is None or failed(document) else name, document)


def documents(out: str) -> list[Any]:
    """The one document on standard output, or those of its lines."""
    try:
        return [json.loads(out)] if out.strip() else []
    except json.JSONDecodeError:
        return [json.loads(line) for line in out.splitlines()]


def failed(document: Any) -> bool:
    return isinstance(document, dict) and set(document) == {"error"} and isinstance(document["error"], dict)


def schema_of(words: Sequence[str]) -> str | None:
    """The schema of the command in a command line; None where there is no such command."""
    known = set(names())
    typed: list[str] = []
    skip = False
    for word in words:
        if not skip and not word.startswith("-"):
            typed.append(word)
        skip = word in VALUED
    found = ("-".join(typed[:count]) for count in (3, 2, 1) if len(typed) >= count)
    return next((name for name in found if name in known), None)


def check(name: str, document: Any) -> None:
    """Fails when the document is not what the schema promises, or has keys of which it does not tell."""
    error = best_match(validator(name).iter_errors(document))
    if error is not None:
        where = error.json_path.removeprefix("$").removeprefix(".") or "the document"
        raise AssertionError(f"schemas/{name}.json: {where}: {error.message}")


@cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(strict(load(name)))


def strict(schema: Any) -> Any:
    """The schema with everything that it refers to in its place; objects that list their keys have no others."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "description")}
        return strict({**definitions()[schema["$ref"].removeprefix(SHARED)], **rest})
    merged = {key: strict(value) for key, value in schema.items() if key not in ("properties", "allOf")}
    if "properties" in schema:
        merged["properties"] = {key: strict(value) for key, value in schema["properties"].items()}
    for part in map(strict, schema.get("allOf", ())):
        merged["properties"] = {**part["properties"], **merged.get("properties", {})}
        merged["required"] = [*part.get("required", ()), *merged.get("required", ())]
    if "properties" in merged and "additionalProperties" not in schema:
        merged["additionalProperties"] = False
    return merged
