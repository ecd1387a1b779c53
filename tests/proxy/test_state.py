"""The proxy and the state store: lost, silent, back again."""

from __future__ import annotations

from pathlib import Path

import pytest

from miroir_cli.dev.engine.testing import Engine
from miroir_cli.errors import EpochStale
from miroir_cli.indexes.catalog import create_index, plan_index
from tests.backends import both_backends, lose_state
from tests.proxy.conftest import Served, serving, write_topology


async def with_books(served: Served) -> None:
    cluster = served.service.cluster
    await create_index(cluster, await plan_index(cluster, "books", primary_key="id"))


@both_backends
async def test_a_proxy_without_the_state_of_its_nodes_does_not_start(tmp_path: Path, engines: list[Engine]) -> None:
    path = write_topology(tmp_path, engines)
    async with serving(path) as served:
        await with_books(served)
    lose_state(tmp_path)
    with pytest.raises(EpochStale, match="is empty, but node `n1` belongs to a cluster `test` already"):
        async with serving(path):
            pass
