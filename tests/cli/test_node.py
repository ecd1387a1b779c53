"""`miroir node`: what is printed, the JSON documents, the exit statuses, and that the file says what was done."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len

from miroir_cli.dev.engine.testing import Engine
from tests.backends import both_backends
from tests.cli.conftest import edit, somebody_runs, take_out
from tests.conftest import Miroir

RUN_KEYS = {"run", "state", "moves", "documents_moved", "seconds", "nodes"}


def names(miroir: Miroir) -> dict[str, str]:
    """The nodes with their states."""
    return {node["name"]: node["state"] for node in miroir("node", "list", "--json").json["nodes"]}


def documents(miroir: Miroir) -> int:
    return int(miroir("index", "stats", "books", "--json").json["numberOfDocuments"])


# list


def test_nodes_are_listed_with_what_the_file_says_of_them(stocked: Miroir, tmp_path: Path) -> None:
    edit(tmp_path, 'name = "n3"\n', 'name = "n3"\nweight = 2.5\ndrained = true\n')
    found = stocked("node", "list", "--json").json["nodes"]
    assert [(node["name"], node["state"], node["weight"], node["drained"]) for node in found] == [
        ("n1", "up", 1.0, False),
        ("n2", "up", 1.0, False),
        ("n3", "drained", 2.5, True),
    ]
    assert {"url", "group", "zone", "version", "shards", "in_sync", "stale", "documents"} <= set(found[0])
    last = stocked("node", "list").out.splitlines()[-1].split()
    assert (last[0], last[1], last[4]) == ("n3", "drained", "2.5")


def test_a_node_that_the_file_no_longer_names_is_listed_while_it_has_shards(stocked: Miroir, tmp_path: Path) -> None:
    take_out(tmp_path, "n2")
    assert names(stocked) == {"n1": "up", "n3": "up", "n2": "gone"}


# add


def test_a_dry_run_shows_the_plan_and_changes_nothing(stocked: Miroir, spare: Engine, tmp_path: Path) -> None:
    before = (tmp_path / "miroir.toml").read_text()
    done = stocked("node", "add", f"n4={spare.url}", "--dry-run", "--json")
    assert done.status == 0
    assert {"moves", "minimum", "nodes", "documents", "bytes", "expected_seconds", "dry_run"} <= set(done.json)
    assert {"index", "shard", "from", "to"} <= set(done.json["moves"][0])
    assert [node["name"] for node in done.json["nodes"]] == ["n1", "n2", "n3", "n4"]
    assert (tmp_path / "miroir.toml").read_text() == before
    assert names(stocked) == {"n1": "up", "n2": "up", "n3": "up"}


def test_the_plan_fits_a_narrow_terminal(stocked: Miroir, spare: Engine) -> None:
    for width in (40, 80):
        done = stocked("node", "add", f"n4={spare.url}", "--dry-run", env={"COLUMNS": str(width)})
        table = [line for line in done.out.splitlines() if "document" not in line or line.startswith("node")]
        assert max(cell_len(line) for line in table) <= width
        assert "3 shards to copy (the fewest possible)" in done.out
        assert "time not known yet" in " ".join(done.out.split())


@both_backends
def test_a_node_is_added_and_gets_its_share(stocked: Miroir, spare: Engine, tmp_path: Path) -> None:
    comment = "# The cluster as it should be"
    done = stocked("node", "add", f"n4={spare.url}", "--zone", "z", "--weight", "1", "--yes", "--json")
    assert done.status == 0, done.err
    assert set(done.json) >= RUN_KEYS | {"pause_median", "pause_max"}
    assert (done.json["state"], done.json["moves"], done.json["nodes"]) == ("done", 3, ["n4"])
    assert done.json["documents_moved"] > 0
    text = (tmp_path / "miroir.toml").read_text()
    assert text.startswith(comment) and f'name = "n4"\nurl = "{spare.url}"\nzone = "z"\n' in text
    assert [node["shards"] for node in stocked("node", "list", "--json").json["nodes"]] == [3, 3, 3, 3]
    assert documents(stocked) == 60
    again = stocked("node", "add", f"n4={spare.url}", "--zone", "z", "--json")
    assert again.status == 0
    assert (again.json["run"], again.json["state"], again.json["moves"]) == (None, "done", 0)


def test_without_a_terminal_nothing_is_done_unless_told(stocked: Miroir, spare: Engine, tmp_path: Path) -> None:
    before = (tmp_path / "miroir.toml").read_text()
    done = stocked("node", "add", f"n4={spare.url}")
    assert done.status == 2
    assert "Add node `n4`?" in done.err and "--yes" in done.err
    assert "3 shards to copy" in done.out
    assert (tmp_path / "miroir.toml").read_text() == before


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["n4"], 2, "`n4` is not NAME=URL"),
        (["n1=http://127.0.0.1:9"], 2, "node `n1` is in `miroir.toml` already"),
        (["n4=http://127.0.0.1:9"], 5, "node `n4` cannot be reached"),
        (["n4=http://127.0.0.1:9"], 5, "hint: check that Meilisearch runs at this address and port"),
        (["n4=ftp://127.0.0.1:9"], 6, "expected http://HOST:PORT"),
        (["n4=http://127.0.0.1:9", "--key-env", "A", "--key-file", "b"], 2, "only one of"),
        (["n4=http://127.0.0.1:9", "--key-env", "NOT_THERE"], 12, "`NOT_THERE` is not set"),
    ],
)
def test_a_node_that_cannot_be_added_is_refused_before_anything(
    ready: Miroir, tmp_path: Path, words: list[str], status: int, message: str
) -> None:
    before = (tmp_path / "miroir.toml").read_text()
    done = ready("node", "add", *words, "--yes")
    assert done.status == status
    assert message in done.err
    assert (tmp_path / "miroir.toml").read_text() == before


def test_a_node_of_another_cluster_is_refused(ready: Miroir, spare: Engine, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    assert ready("-t", str(other), "init", "--node", f"x={spare.url}", "--name", "other").status == 0
    edit_state = other.read_text().replace(".miroir/state.db", ".other/state.db")
    other.write_text(edit_state)
    assert ready("-t", str(other), "index", "create", "films", "-k", "id").status == 0
    done = ready("node", "add", f"n4={spare.url}", "--yes")
    assert done.status == 14
    assert "belongs to another cluster: `other`" in done.err


def test_another_run_is_named_and_nothing_is_done(stocked: Miroir, spare: Engine, tmp_path: Path) -> None:
    before = (tmp_path / "miroir.toml").read_text()
    with somebody_runs(tmp_path):
        done = stocked("node", "add", f"n4={spare.url}", "--yes")
    assert done.status == 8
    assert "(`miroir node add n9`)" in done.err and "miroir rebalance status" in done.err
    assert (tmp_path / "miroir.toml").read_text() == before


def test_what_could_not_be_finished_is_named(stocked: Miroir, spare: Engine, engines: list[Engine]) -> None:
    engines[2].stop()
    done = stocked("node", "add", f"n4={spare.url}", "--yes", "--retry-for", "1", "--json")
    assert done.status == 3
    assert done.json["state"] == "stopped" and done.json["unfinished"]
    assert "are done; shard" in done.err and "n3" in done.err
    engines[2].start()
    assert stocked("rebalance", "run", "--yes").status == 0
    assert documents(stocked) == 60


# drain and remove


def test_a_node_is_drained_and_then_removed(stocked: Miroir, spare: Engine, tmp_path: Path) -> None:
    assert stocked("node", "add", f"n4={spare.url}", "--yes").status == 0
    done = stocked("node", "drain", "n2", "--yes")
    assert done.status == 0, done.err
    assert "3 shards moved" in done.out and "writers waited" in done.out
    assert names(stocked) == {"n1": "up", "n2": "drained", "n3": "up", "n4": "up"}
    done = stocked("node", "remove", "n2", "--yes")
    assert done.status == 0, done.err
    assert "node `n2` is no longer part of the cluster" in done.out
    assert names(stocked) == {"n1": "up", "n3": "up", "n4": "up"}
    assert documents(stocked) == 60
    assert stocked("node", "remove", "n2", "--yes").status == 4


def test_too_few_nodes_that_are_left_are_refused(stocked: Miroir, tmp_path: Path) -> None:
    before = (tmp_path / "miroir.toml").read_text()
    everybody = ["n1", "n2", "n3"]
    for words, left in (
        (["drain", "n2", "n3"], "the cluster has 1 node that takes shards (`n2`, `n3` are drained)"),
        (["remove", "n2", "n3"], "the cluster has 1 node that takes shards"),
        (["remove", "n2", "n3", "--no-drain"], "the cluster has 1 node"),
        (["drain", *everybody], "the cluster has 0 nodes that take shards (`n1`, `n2`, `n3` are drained)"),
        (["remove", *everybody], "the cluster has 0 nodes that take shards"),
        (["remove", *everybody, "--no-drain"], "`nodes` has no node"),
    ):
        done = stocked("node", *words, "--yes")
        assert done.status == 14, done.err
        assert f"error: cannot {words[0]} {', '.join(n for n in words if n in everybody)}: then " in done.err
        assert left in done.err
    assert (tmp_path / "miroir.toml").read_text() == before


def test_a_dead_node_is_removed_without_draining(stocked: Miroir, engines: list[Engine]) -> None:
    engines[1].stop()
    done = stocked("node", "remove", "n2", "--yes")
    assert done.status == 5
    assert "miroir node remove n2 --no-drain" in done.err
    done = stocked("node", "remove", "n2", "--no-drain", "--yes", "--json")
    assert done.status == 0, done.err
    assert done.json["removed"] == ["n2"]
    assert names(stocked) == {"n1": "up", "n3": "up"}
    assert documents(stocked) == 60


def test_an_only_copy_is_given_up_only_by_force_and_is_shown(
    stocked: Miroir, engines: list[Engine], tmp_path: Path
) -> None:
    edit(tmp_path, "replicas = 2", "replicas = 1")
    assert stocked("rebalance", "run", "--yes").status == 0
    placement = stocked("index", "show", "books", "--json").json["placement"]
    only = [replica["shard"] for replica in placement if replica["node"] == "n2"]
    engines[1].stop()
    done = stocked("node", "remove", "n2", "--no-drain", "--yes")
    assert done.status == 14
    assert f"shards {', '.join(map(str, only))} of index `books`" in done.err
    assert stocked("node", "remove", "n2", "--force", "--yes").status == 2
    done = stocked("node", "remove", "n2", "--no-drain", "--force", "--yes")
    assert done.status == 0, done.err
    assert f"given up, with all their documents: shards {', '.join(map(str, only))}" in done.err
    found = stocked("status", "--json").json
    assert [index["stale"] for index in found["indexes"]] == [0]
    assert 0 < documents(stocked) < 60


# replace


def test_a_dead_node_is_replaced(stocked: Miroir, spare: Engine, engines: list[Engine]) -> None:
    engines[1].stop()
    done = stocked("node", "replace", "n2", f"n4={spare.url}", "--yes", "--json")
    assert done.status == 0, done.err
    assert done.json["nodes"] == ["n2", "n4"] and done.json["removed"] == ["n2"]
    assert names(stocked) == {"n1": "up", "n4": "up", "n3": "up"}
    assert documents(stocked) == 60


def test_a_replacement_can_be_tried(stocked: Miroir, spare: Engine, tmp_path: Path) -> None:
    before = (tmp_path / "miroir.toml").read_text()
    found = stocked("node", "replace", "n2", f"n4={spare.url}", "--dry-run", "--json").json
    assert {move["from"] for move in found["moves"]} == {"n2"}
    assert {move["to"] for move in found["moves"]} == {"n4"}
    assert (tmp_path / "miroir.toml").read_text() == before
    assert stocked("node", "replace", "n2", "n4", "--dry-run").status == 2
    assert stocked("node", "replace", "n7", f"n4={spare.url}", "--dry-run").status == 4
