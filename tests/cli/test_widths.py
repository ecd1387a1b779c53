"""Every command that prints a table: it fits terminals of 40, 80 and 120 columns, and tells what it leaves out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from miroir_cli.cli.console import Console
from miroir_cli.cli.dev import show_nodes
from miroir_cli.cli.global_options import Options
from miroir_cli.dev.engine.testing import Engine
from miroir_cli.dev.nodes import NodeReport
from tests.backends import state_options
from tests.conftest import Finished, Miroir

LONG = "search-node-in-the-basement-of-frankfurt-03"
PRODUCTS = "products-of-the-european-catalogue-with-a-long-name"
BOOK: dict[str, Any] = {
    "title": "the 数据库 naïve 👩‍👩‍👧‍👦 Straße of ❤️ " * 8,
    "author": "數據庫 🦊",
    "genre": "a genre with a rather long name that goes on",
    "tags": ["a", "b"],
    "url": f"https://example.org/{'x' * 60}",
    "nested": {"a": 1},
}
COMMANDS = [
    ["status"],
    ["status", "--map"],
    ["node", "list"],
    ["index", "list"],
    ["index", "show", "books"],
    ["index", "stats", "books"],
    ["index", "create", "more", "-k", "id", "--dry-run"],
    ["index", "settings", "diff", "books", "settings.json"],
    ["index", "settings", "set", "books", "--file", "settings.json", "--dry-run"],
    ["search", "books", "naïve", "--limit", "3"],
    ["search", "books", "--facets", "genre", "--limit", "2"],
    ["search", "--multi", "multi.json"],
    ["search", "--multi", "federation.json"],
    ["browse", "books", "--limit", "3"],
    ["facet-search", "books", "genre"],
    ["explain", "books"],
    ["locate", "books", "1"],
    ["import", "books", "books.ndjson", "--dry-run"],
    ["rebalance", "plan"],
    ["rebalance", "plan", "-v"],
    ["node", "drain", "n1", "--dry-run", "-v"],
    ["journal", "list"],
    ["journal", "show", "1"],
    ["journal", "show", "2"],
    ["verify"],
    ["doctor"],
    ["doctor", "--list-checks"],
    ["config", "check"],
    ["config", "show"],
    ["tasks", "list"],
    ["tasks", "list", "--status", "succeeded", "--limit", "3"],
    ["backup", "list", "place"],
    ["backup", "verify", "place"],
    ["plan-capacity", "--documents", "1000000", "--bytes-per-document", "1000", "--node-memory", "8G"],
    ["state", "recover", "--dry-run"],
    ["schema"],
]


@pytest.fixture
def world(miroir: Miroir, engines: list[Engine], tmp_path: Path) -> Miroir:
    """Long names, wide characters, a run, a replica that differs, and something to move."""
    nodes = [f"n1={engines[0].url}", f"n2={engines[1].url}", f"{LONG}={engines[2].url}"]
    options = [word for node in nodes for word in ("--node", node)]
    assert miroir("init", *options, "--name", "wide", "--shards", "6", "--replicas", "1", *state_options()).status == 0
    for uid in ("books", PRODUCTS):
        assert miroir("index", "create", uid, "-k", "id").status == 0
    settings = {"filterableAttributes": ["genre"], "synonyms": {"a": ["b" * 40, "c" * 40]}}
    (tmp_path / "settings.json").write_text(json.dumps({**settings, "stopWords": ["the"]}))
    assert miroir("index", "settings", "set", "books", 'filterableAttributes=["genre"]').status == 0
    (tmp_path / "books.ndjson").write_text(
        "".join(json.dumps({"id": number, **BOOK}, ensure_ascii=False) + "\n" for number in range(60))
    )
    for uid in ("books", PRODUCTS):
        assert miroir("import", uid, "books.ndjson").status == 0
    queries = [{"indexUid": uid, "q": "naïve", "limit": 2} for uid in ("books", PRODUCTS)]
    (tmp_path / "multi.json").write_text(json.dumps({"queries": queries}))
    queries = [{"indexUid": uid, "q": "naïve"} for uid in ("books", PRODUCTS)]
    (tmp_path / "federation.json").write_text(json.dumps({"federation": {"limit": 3}, "queries": queries}))
    topology = tmp_path / "miroir.toml"
    topology.write_text(topology.read_text().replace("replicas = 1", "replicas = 2"))
    assert miroir("rebalance", "run", "--yes").status == 0
    index = engines[2].node.indexes["books"]
    index.apply(index.prepare([index.deletion(next(iter(index.numbers.values())))]))
    assert miroir("backup", "create", "place").status == 0
    assert miroir("verify").status == 13
    topology.write_text(topology.read_text().replace("replicas = 2", "replicas = 3"))
    return miroir


def headings(whole: Finished) -> set[str]:
    """The columns of the tables that a pipe gets."""
    lines = whole.out.splitlines()
    ruled = [lines[place - 1] for place, line in enumerate(lines) if line.startswith("──")]
    return {name for line in ruled for name in re.split(r" {2,}", line.strip())}


OF_PIPES = {"group", "zone", "from", "of"}
"""Columns that a terminal gets only where rows differ in them, or have anything there."""


@pytest.mark.parametrize("width", [40, 80, 120])
def test_tables_fit_and_lose_nothing_silently(world: Miroir, width: int) -> None:
    for words in COMMANDS:
        whole, narrow = world(*words), world(*words, env={"COLUMNS": str(width)})
        assert narrow.status == whole.status, (words, narrow.err)
        for line in [*narrow.out.splitlines(), *narrow.err.splitlines()]:
            if words[:2] != ["index", "show"] or not line.startswith((" ", "{", "}")):  # settings are for copying
                assert cell_len(line) <= width or " " not in line.strip(), (words, line)
        said = " ".join(narrow.out.split())
        for heading in headings(whole) - OF_PIPES:
            assert heading in said, (words, heading, narrow.out)


def test_a_pipe_gets_everything_whole(world: Miroir) -> None:
    for words in COMMANDS:
        done = world(*words)
        assert "…" not in done.out, words
        assert "not shown" not in done.out, words
    found = world("browse", "books", "--limit", "3").out
    assert "👩‍👩‍👧‍👦" in found and BOOK["url"] in found and '{"a": 1}' in found
    assert found.count("Straße") % 8 == 0
    assert world("status").out.splitlines()[2].split() == [
        *("node", "state", "stale", "documents", "shards", "version", "group", "zone", "url"),
    ]


def test_a_name_is_cut_where_names_differ_least(world: Miroir) -> None:
    found = world("node", "list", env={"COLUMNS": "60"}).out
    row = next(line for line in found.splitlines() if "…" in line)
    name = row.split()[0]
    assert LONG.startswith(name.partition("…")[0]) and LONG.endswith(name.partition("…")[2])
    assert name.endswith("-03")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_local_nodes_fit(width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    report = NodeReport(
        name="n1",
        url="http://127.0.0.1:7701",
        engine="miroir-embedded",
        state="running",
        pid=123,
        version="1.50.0",
        data="/srv/data",
        log=f"/srv/{'log/' * 20}",
    )
    show_nodes(Console(Options()), [report])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cell_len, lines)) <= width
    assert "log" in " ".join(lines)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {}])
def test_states_are_words_without_colours(world: Miroir, engines: list[Engine], environment: dict[str, str]) -> None:
    engines[1].stop()
    done = world("status", env=environment)
    assert "\x1b" not in done.out + done.err
    assert re.search(r"^n2 +down", done.out, re.M)
