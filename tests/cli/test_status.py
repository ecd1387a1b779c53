"""`miroir status`: the document that scripts rely on, and what people see when something is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from rich.cells import cell_len

from miroir_cli.dev.engine.testing import Engine
from tests.conftest import Miroir, clean_environment
from tests.schemas import check


def test_the_document_has_the_promised_shape(ready: Miroir) -> None:
    ready("index", "create", "books", "-k", "id")
    found = ready("status", "--json").json
    assert {"cluster", "nodes", "indexes", "runs"} <= set(found)
    assert {"name", "epoch"} <= set(found["cluster"])
    for node in found["nodes"]:
        assert {"name", "url", "group", "state", "version", "shards", "documents"} <= set(node)
    for index in found["indexes"]:
        assert {"uid", "primary_key", "shards", "replicas", "documents", "in_sync", "stale"} <= set(index)
    assert [node["state"] for node in found["nodes"]] == ["up", "up", "up"]


def test_people_see_nodes_and_indexes(ready: Miroir) -> None:
    assert "no index yet" in ready("status").out
    ready("index", "create", "books", "-k", "id")
    done = ready("status")
    assert done.status == 0
    assert done.err == ""
    assert "cluster `test`" in done.out
    assert "(embedded)" in done.out


def test_a_node_that_is_down_is_shown_and_told(ready: Miroir, engines: list[Engine]) -> None:
    ready("index", "create", "books", "-k", "id")
    engines[1].stop()
    done = ready("status")
    assert done.status == 0
    assert "down" in done.out
    assert "warning: node `n2` cannot be reached" in done.err
    found = ready("status", "--json").json
    assert [node["state"] for node in found["nodes"]] == ["up", "down", "up"]
    assert found["indexes"][0]["documents"] == 0


def test_it_fits_a_narrow_terminal(ready: Miroir) -> None:
    ready("index", "create", "books", "-k", "id")
    for width in (60, 80):
        lines = ready("status", env={"COLUMNS": str(width)}).out.splitlines()
        assert max(cell_len(line) for line in lines) <= width


def test_without_a_topology_it_says_how_to_get_one(miroir: Miroir) -> None:
    done = miroir("status")
    assert done.status == 6
    assert "miroir init" in done.err


def test_watching_goes_on_until_it_is_stopped(ready: Miroir, tmp_path: Path) -> None:
    assert ready("status").status == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "miroir_cli", "status", "--watch", "--interval", "0.2", "--json"],
        cwd=tmp_path,
        env=clean_environment(HOME=os.fspath(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        for _ in range(2):
            found = json.loads(process.stdout.readline())
            check("status", found)
            assert found["cluster"]["name"] == "test"
        process.send_signal(signal.SIGTERM)
        err = process.stderr.read()
    assert process.returncode == 143
    assert err == b"error: interrupted\n"
