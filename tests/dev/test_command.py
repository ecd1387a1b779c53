"""`miroir dev` as it is typed."""

from __future__ import annotations

from pathlib import Path

from miroir_cli.dev.engine.ports import free_port
from tests.conftest import Miroir


def test_the_next_steps_are_about_the_nodes_that_were_started(miroir: Miroir, tmp_path: Path) -> None:
    (tmp_path / "else where").mkdir()
    topology = "else where/miroir.toml"
    port = str(free_port())
    started = miroir("-t", topology, "dev", "up", "--nodes", "1", "--engine", "embedded", "--port", port)
    try:
        assert started.status == 0, started.err
        assert f"wrote `{topology}`: 1 node, 1 replica of each shard\n" in started.err
        assert f"run `miroir -t '{topology}' status` to see the cluster" in started.err
        assert f"run `miroir -t '{topology}' dev down` to stop" in started.err
    finally:
        assert miroir("-t", topology, "dev", "down").status == 0
