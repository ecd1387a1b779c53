"""The doctor on real servers: no false alarm about any setting, and what freezing and changes by hand look like."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from miroir_cli.indexes.configure import change_settings
from miroir_cli.node.answers import Accepted
from tests.checkup.staged import findings
from tests.faults.servers import LIVE, PATIENCE, servers_of
from tests.faults.world import N2, UID, Ledger, create, keys_of_every_shard, put
from tests.oracle.corpus import SETTINGS

pytestmark = LIVE

EVERYTHING: dict[str, Any] = {
    "displayedAttributes": ["value", "title"],
    "searchableAttributes": ["title", "value"],
    "filterableAttributes": ["value", {"attributePatterns": ["genre*"], "features": {"facetSearch": True}}],
    "sortableAttributes": ["year", "value"],
    "stopWords": ["The", "a"],
    "nonSeparatorTokens": ["@", "#"],
    "separatorTokens": ["|"],
    "dictionary": ["J. R. R."],
    "synonyms": {"Film": ["movie", "Cinema"], "sf": ["science fiction"]},
    "distinctAttribute": "value",
    "proximityPrecision": "byAttribute",
    "typoTolerance": {"minWordSizeForTypos": {"oneTypo": 4}, "disableOnWords": ["Dune", "Été"]},
    "faceting": {"sortFacetValuesBy": {"genre": "count"}, "maxValuesPerFacet": 7},
    "pagination": {"maxTotalHits": 50},
    "searchCutoffMs": 500,
    "localizedAttributes": [{"attributePatterns": ["title"], "locales": ["fr", "jpn"]}],
    "facetSearch": False,
    "prefixSearch": "disabled",
}


async def test_no_setting_is_taken_for_drift_unless_it_was_changed_by_hand(tmp_path: Path) -> None:
    with servers_of(tmp_path) as (world, _):
        async with world.cluster(patience=PATIENCE) as cluster:
            index = await create(cluster)
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), Ledger())
            for settings in (*SETTINGS.values(), EVERYTHING):
                await change_settings(cluster, UID, dict.fromkeys(EVERYTHING))
                await change_settings(cluster, UID, settings)
                assert await findings(world, patience=PATIENCE) == {}
            client = cluster.fleet[N2]
            answer = await client.write("PATCH", f"indexes/{UID}/settings", content=b'{"stopWords": null}')
            assert isinstance(answer, Accepted)
            await client.wait_task(answer.task)
            found = await findings(world, patience=PATIENCE)
        assert set(found) == {"settings.drift"}
        assert found["settings.drift"].where == f"{UID}@n2"
        assert found["settings.drift"].message.endswith(": `stopWords`")


async def test_a_frozen_server_is_told_in_time(tmp_path: Path) -> None:
    with servers_of(tmp_path) as (world, servers):
        async with world.cluster(patience=PATIENCE) as cluster:
            await create(cluster)
        servers[1].signal(signal.SIGSTOP)
        began = time.monotonic()
        assert set(await findings(world, patience=PATIENCE)) == {"node.hanging"}
        assert time.monotonic() - began < 15.0
        servers[1].signal(signal.SIGCONT)
        servers[1].kill()
        assert set(await findings(world, patience=PATIENCE)) == {"node.down"}
