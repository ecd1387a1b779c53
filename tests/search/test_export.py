"""Whole indexes, over embedded nodes that fail and indexes that change meanwhile."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.dev.engine.testing import running_engine
from miroir_cli.errors import MiroirError, NodeRefusal, ShardUnavailable
from miroir_cli.search.export import export_documents
from tests.oracle.world import UID, embedded_nodes, world

DOCUMENTS: list[dict[str, Any]] = [{"id": key, "n": key % 7, "text": "word " * (key % 9)} for key in range(900)]
SETTINGS = {"filterableAttributes": ["n"], "displayedAttributes": ["id"]}


async def exported(cluster: Any, **options: Any) -> list[Any]:
    return [json.loads(line) async for page in export_documents(cluster, UID, **options) for line in page]


async def test_every_document_is_exported_once_in_the_order_of_keys(tmp_path: Path) -> None:
    with embedded_nodes(tmp_path, 4) as urls:
        async with world(tmp_path / "home", urls, documents=DOCUMENTS, settings=SETTINGS, replicas=2) as made:
            assert await exported(made.cluster) == DOCUMENTS
            some = await exported(made.cluster, filter="n IN [1, 3]", fields=["n"])
            assert some == [{"n": document["n"]} for document in DOCUMENTS if document["n"] in (1, 3)]
            with pytest.raises(NodeRefusal, match="not filterable"):
                await exported(made.cluster, filter="text = word")


async def test_numbers_keep_how_they_are_written(tmp_path: Path) -> None:
    with embedded_nodes(tmp_path, 3) as urls:
        async with world(
            tmp_path / "home", urls, documents=[{"id": "b", "x": 1.0}, {"id": "a", "x": 2**60}], settings={}
        ) as made:
            lines = [line async for page in export_documents(made.cluster, UID) for line in page]
            assert lines == [b'{"id":"a","x":1152921504606846976}', b'{"id":"b","x":1.0}']


@pytest.mark.parametrize("replicas", [1, 2])
async def test_when_a_node_dies_meanwhile_another_is_read_or_the_export_fails(tmp_path: Path, replicas: int) -> None:
    with ExitStack() as stack:
        engines = [stack.enter_context(running_engine(tmp_path / f"disk{number}")) for number in range(4)]
        urls = [engine.url for engine in engines]
        async with world(tmp_path / "home", urls, documents=DOCUMENTS, settings=SETTINGS, replicas=replicas) as made:
            pages = export_documents(made.cluster, UID)
            found = [json.loads(line) for line in await anext(pages)]
            engines[2].stop()
            try:
                async for page in pages:
                    found += map(json.loads, page)
            except ShardUnavailable:
                assert replicas == 1
                assert len(found) < len(DOCUMENTS)
            else:
                assert replicas == 2
                assert found == DOCUMENTS


async def test_documents_deleted_meanwhile_are_left_out_and_others_are_not(tmp_path: Path) -> None:
    from miroir_cli.documents.write import delete_documents

    with embedded_nodes(tmp_path, 3) as urls:
        async with world(tmp_path / "home", urls, documents=DOCUMENTS, settings=SETTINGS) as made:
            pages = export_documents(made.cluster, UID)
            found = [json.loads(line)["id"] for line in await anext(pages)]
            await delete_documents(made.cluster, UID, ids=["0", "899"])
            async for page in pages:
                found += [json.loads(line)["id"] for line in page]
            assert found == list(range(899))


async def test_an_index_deleted_meanwhile_ends_the_export(tmp_path: Path) -> None:
    from miroir_cli.indexes.catalog import create_index, delete_index, plan_index

    with embedded_nodes(tmp_path, 3) as urls:
        async with world(tmp_path / "home", urls, documents=DOCUMENTS, settings=SETTINGS) as made:
            pages = export_documents(made.cluster, UID)
            await anext(pages)
            await delete_index(made.cluster, UID)
            await create_index(made.cluster, await plan_index(made.cluster, UID, primary_key="id"))
            with pytest.raises(MiroirError, match="deleted and created anew"):
                await anext(pages)
