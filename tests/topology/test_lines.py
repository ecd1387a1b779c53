"""On which line each key of a topology file stands, however it is written."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miroir_cli.topology.example import EXAMPLE
from miroir_cli.topology.lines import line_of, lines_of

TEXT = """\
# a comment with [brackets] and = signs
[cluster] # another
name = "x # no comment"
"shards" = 3

[[nodes]]
name = 'n1'
url = "http://a:1" # [nope]

[[nodes]]
name = \"\"\"
n2
= 3
\"\"\"
url = "http://b:1"

[serve]
port = 7000
[serve.admin]
key_env = "K"
"""


def test_tables_keys_and_long_texts() -> None:
    assert lines_of(TEXT) == {
        "cluster": 2,
        "cluster.name": 3,
        "cluster.shards": 4,
        "nodes": 6,
        "nodes[0]": 6,
        "nodes[0].name": 7,
        "nodes[0].url": 8,
        "nodes[1]": 10,
        "nodes[1].name": 11,
        "nodes[1].url": 15,
        "serve": 17,
        "serve.port": 18,
        "serve.admin": 19,
        "serve.admin.key_env": 20,
    }


def test_lists_and_tables_inside_of_values() -> None:
    nodes = 'nodes = [\n  {name = "n1", url = "u"}, # one\n\n  {name = "n2"},\n]\n'
    text = 'cluster = {name = "x", shards = 3}\n' + nodes + "a.b = 1\n"
    lines = lines_of(text)
    assert (lines["cluster"], lines["cluster.shards"]) == (1, 1)
    assert (lines["nodes"], lines["nodes[0].url"], lines["nodes[1]"], lines["nodes[1].name"]) == (2, 3, 5, 5)
    assert (lines["a"], lines["a.b"]) == (7, 7)


def test_sub_tables_of_the_last_node() -> None:
    assert lines_of("[[nodes]]\n[[nodes]]\n[nodes.more]\nkey = 1\n")["nodes[1].more.key"] == 4


@pytest.mark.parametrize(
    ("key", "line"), [("nodes[1].weight", 10), ("serve.admin.key_file", 19), ("nodes[7].name", 6), ("state.url", None)]
)
def test_a_key_that_is_missing_is_looked_for_where_it_belongs(key: str, line: int | None) -> None:
    assert line_of(lines_of(TEXT), key) == line


@given(st.text(alphabet="[]{}=\"'#.,\n ab\\", max_size=60))
def test_nothing_raises_or_runs_for_ever(text: str) -> None:
    assert all(1 <= line <= text.count("\n") + 1 for line in lines_of(text).values())


def keys_of(value: Any, path: str = "") -> set[str]:
    if isinstance(value, dict):
        inner = {name: keys_of(each, f"{path}.{name}" if path else name) for name, each in value.items()}
        return {path, *(key for keys in inner.values() for key in keys)} - {""}
    if isinstance(value, list):
        return {path, *(key for number, each in enumerate(value) for key in keys_of(each, f"{path}[{number}]"))}
    return {path}


WORD = st.sampled_from(["name", "url", "a-b", "c_d", "x y", "é", 'q"', "."])
VALUE = st.recursive(
    st.sampled_from(['"a"', "'#'", "3", "1.5", "true", '"""\nx]\n"""', "1979-05-27"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: "[" + ", # c\n".join(each) + "\n]")
        | st.lists(st.tuples(WORD, inner), max_size=3, unique_by=lambda pair: pair[0]).map(
            lambda pairs: "{" + ", ".join(f"{quoted(name)} = {one_line(value)}" for name, value in pairs) + "}"
        )
    ),
    max_leaves=6,
)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '\\"') + '"'


def one_line(value: str) -> str:
    return value if "\n" not in value else "0"


@given(st.lists(st.tuples(WORD, VALUE), max_size=5, unique_by=lambda pair: pair[0]), st.booleans())
def test_every_key_that_the_parser_finds_has_a_line(pairs: list[tuple[str, str]], listed: bool) -> None:
    header = "[[t]]" if listed else "[t]"
    text = "\n\n".join([header, *(f"{quoted(name)} = {value}" for name, value in pairs)]) + "\n"
    assert keys_of(tomllib.loads(text)) == set(lines_of(text))


def test_every_key_of_the_example_has_a_line() -> None:
    assert keys_of(tomllib.loads(EXAMPLE)) == set(lines_of(EXAMPLE))
