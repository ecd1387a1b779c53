"""The status of a cluster with nodes that do not do their part."""

from __future__ import annotations

from pathlib import Path

from miroir_cli.dev.engine.faults import Kind
from miroir_cli.indexes.status import status
from tests.faults.world import create, world_of


async def test_a_node_that_hangs_is_shown_as_down_in_time(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, replicas=2) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            world.engine(2).faults.add(Kind.DELAY, seconds=3.0, count=None)
            found = await status(cluster)
        assert [node["state"] for node in found["nodes"]] == ["up", "down"]
        assert "did not answer" in found["nodes"][1]["error"]
        assert found["indexes"][0]["documents"] == 0
