"""The published schemas: there is one for every command's document, it is whole, and `miroir schema` prints it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.core import TyperGroup
from typer.main import get_command

from miroir_cli.cli.app import app
from miroir_cli.cli.schema import DEFINITIONS, SHARED, bundled, definitions, load, names, references
from tests.conftest import Miroir
from tests.schemas import check, schema_of

WITHOUT_DOCUMENT = {"serve", "dev node", "completions"}
"""Commands that run until they are stopped, or print what is no JSON document."""

OTHERS = {"error", "progress"}
"""Documents of no one command."""


@cache
def commands() -> tuple[str, ...]:
    """Every command's words."""
    return tuple(_walk(get_command(app)))


def _walk(command: Any, words: tuple[str, ...] = ()) -> Iterator[str]:
    if not isinstance(command, TyperGroup):
        yield " ".join(words)
        return
    context: Any = None
    for name in command.list_commands(context):
        yield from _walk(command.get_command(context, name), (*words, name))


def test_every_command_with_a_document_has_a_schema_and_every_schema_a_command() -> None:
    wanted = {words.replace(" ", "-") for words in commands() if words not in WITHOUT_DOCUMENT}
    assert set(names()) == wanted | OTHERS


@pytest.mark.parametrize("name", [*names(), DEFINITIONS])
def test_a_schema_is_one_and_describes_every_key(name: str) -> None:
    schema = load(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert references(schema) <= set(definitions())
    for path, part in parts(schema):
        for key, value in part.get("properties", {}).items():
            told = value.get("description") or ("$ref" in value and definitions()[value["$ref"].removeprefix(SHARED)])
            assert told, f"{path}/{key} has no description"
            assert not str(told).endswith("."), f"{path}/{key}"
        assert set(part.get("required", ())) <= set(part.get("properties", ())), path
        assert part.get("additionalProperties", True) is not False, f"{path}: keys may be added later"


@pytest.mark.parametrize("words", [words for words in commands() if words not in WITHOUT_DOCUMENT])
def test_a_schema_has_the_name_of_its_command(words: str) -> None:
    assert load(words.replace(" ", "-"))["title"] == f"miroir {words}"
    assert schema_of(["-t", "other.toml", *words.split(), "--json", "books"]) == words.replace(" ", "-")


def test_every_shared_part_is_used() -> None:
    used: set[str] = set().union(*(references(load(name)) for name in [*names(), DEFINITIONS]))
    assert set(definitions()) == used


def parts(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema, and where it is."""
    if isinstance(schema, list):
        for place, part in enumerate(schema):
            yield from parts(part, f"{path}/{place}")
    elif isinstance(schema, dict):
        yield path, schema
        for key in ("properties", "$defs"):
            for name, part in schema.get(key, {}).items():
                yield from parts(part, f"{path}/{name}")
        for key in ("items", "additionalProperties", "anyOf", "allOf"):
            yield from parts(schema.get(key), f"{path}/{key}")


def test_a_key_without_a_schema_fails_here_and_is_allowed_to_people(ready: Miroir) -> None:
    found = ready("status", "--json").json
    check("status", found)
    found["nodes"][0]["mood"] = "good"
    Draft202012Validator(bundled("status")).validate(found)
    with pytest.raises(AssertionError, match=r"status\.json: nodes\[0\]: .*'mood'"):
        check("status", found)
    del found["nodes"][0]["mood"], found["nodes"][0]["name"]
    with pytest.raises(AssertionError, match=r"'name' is a required property"):
        check("status", found)
    with pytest.raises(AssertionError, match="'secret' was unexpected"):
        check("index-delete", {"uid": "books", "deleted": True, "nodes": [], "secret": 1})


@pytest.mark.parametrize("name", names())
def test_a_printed_schema_stands_for_itself(name: str) -> None:
    printed = bundled(name)
    Draft202012Validator.check_schema(printed)
    assert {target.removeprefix("#/$defs/") for target in references(printed)} == set(printed.get("$defs", {}))
    assert "definitions.json" not in json.dumps(printed)


def test_the_schema_of_a_command_is_printed(miroir: Miroir) -> None:
    done = miroir("schema", "index", "create")
    assert done.status == 0 and done.err == ""
    assert done.json == bundled("index-create")
    assert miroir("schema", "index create", "--json").json == done.json
    assert miroir("schema", "error").json["properties"]["error"]["required"] == ["code", "message", "hint"]


def test_without_a_command_it_lists_what_there_is(miroir: Miroir) -> None:
    listed = miroir("schema", "--json").json["schemas"]
    assert {each["command"] for each in listed} == {*commands(), *OTHERS} - WITHOUT_DOCUMENT
    assert "rebalance plan" in miroir("schema").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statsu"], "did you mean `status`?"),
        (["index", "creat"], "did you mean `index create`?"),
        (["journal"], "one of `journal list`, `journal show`"),
        (["serve"], "no command `serve` that prints a JSON document"),
        (["xyzzy"], "run `miroir schema` to see what there is"),
    ],
)
def test_a_schema_that_is_not_there_is_told_with_what_may_be_meant(miroir: Miroir, words: list[str], said: str) -> None:
    done = miroir("schema", *words)
    assert done.status == 2
    assert said in done.err
