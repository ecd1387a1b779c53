"""What a manifest says, what it leaves out, and what is refused when it is read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from miroir_cli.backup.adopt import adopt
from miroir_cli.backup.manifest import (
    FORMAT,
    File,
    IndexPart,
    Manifest,
    ShardPart,
    decode,
    encode,
    missing_secrets,
    without_secrets,
)
from miroir_cli.errors import BackupDamaged, BackupTooNew

OPENAI = {"source": "openAi", "apiKey": "sk-1", "model": "x"}
REST = {"source": "rest", "url": "http://e", "headers": {"Authorization": "Bearer 1"}}


def manifest(**changes: Any) -> Manifest:
    file = File(name="books/00000-0000.ndjson.zst", bytes=10, documents=2, sha256="00")
    part = ShardPart(shard=0, incarnation=1, at=5, intent=7, epoch=3, node="n1", documents=2, files=(file,))
    index = IndexPart(
        uid="books",
        primary_key="id",
        shards=1,
        replicas=None,
        tie_break=True,
        settings={"stopWords": ["a"]},
        parts=(part,),
    )
    fields: dict[str, Any] = {
        "format": FORMAT,
        "id": "20261127T014139Z",
        "miroir": "0.1",
        "cluster": "c",
        "cluster_id": "i",
        "epoch": 3,
        "started_at": 1,
        "finished_at": 9,
        "compression": "zstd",
        "indexes": (index,),
    }
    return Manifest(**{**fields, **changes})


def test_it_comes_back_as_it_was_written() -> None:
    assert decode(encode(manifest()), Manifest, name="m") == manifest()


def test_a_newer_format_is_refused_before_anything_else_is_read() -> None:
    with pytest.raises(BackupTooNew, match=r"`m` has format 9"):
        decode(b'{"format": 9, "indexes": "in another way"}', Manifest, name="m")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff", encode(manifest())[:-20]])
def test_what_is_cut_off_or_no_manifest_is_damaged(content: bytes) -> None:
    with pytest.raises(BackupDamaged, match="`m` is damaged"):
        decode(content, Manifest, name="m")


def test_what_the_types_do_not_say_is_checked() -> None:
    (index,) = manifest().indexes
    missing = msgspec.structs.replace(index, shards=2)
    (part,) = index.parts
    outside = msgspec.structs.replace(part.files[0], name="../other/file")
    elsewhere = msgspec.structs.replace(index, parts=(msgspec.structs.replace(part, files=(outside,)),))
    miscounted = msgspec.structs.replace(index, parts=(msgspec.structs.replace(part, documents=3),))
    empty = [
        msgspec.structs.replace(part, files=(msgspec.structs.replace(part.files[0], name=name),))
        for name in ("/etc/passwd", "books/", "./x", "books/x\0")
    ]
    elsewhere_too = [msgspec.structs.replace(index, parts=(part,)) for part in empty]
    many = msgspec.structs.replace(index, shards=10**12)
    keyless = msgspec.structs.replace(index, primary_key="")
    for wrong in (missing, elsewhere, miscounted, many, keyless, *elsewhere_too):
        with pytest.raises(BackupDamaged):
            decode(encode(manifest(indexes=(wrong,))), Manifest, name="m")
    with pytest.raises(BackupDamaged, match="`books` is there twice"):
        decode(encode(manifest(indexes=(index, index))), Manifest, name="m")
    again = msgspec.structs.replace(index, uid="again")
    with pytest.raises(BackupDamaged, match=r"`books/00000-0000.ndjson.zst` is there twice"):
        decode(encode(manifest(indexes=(index, again))), Manifest, name="m")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"format": 1', '"format": 0'),
        ('"started_at": 1', '"started_at": 1' + "0" * 30),
        ('"started_at": 1', '"started_at": -1'),
        ('"at": 5', '"at": 1' + "0" * 17),
        ('"shards": 1', '"shards": 0'),
        ('"replicas": null', '"replicas": 0'),
        ('"bytes": 10', '"bytes": -10'),
    ],
)
def test_numbers_that_cannot_be_are_damage(before: str, after: str) -> None:
    text = encode(manifest()).decode()
    assert before in text
    with pytest.raises(BackupDamaged):
        decode(text.replace(before, after, 1).encode(), Manifest, name="m")


def test_secrets_of_embedders_are_left_out_and_named() -> None:
    composite = {"source": "composite", "searchEmbedder": OPENAI, "indexingEmbedder": REST}
    settings = {"stopWords": ["a"], "embedders": {"a": OPENAI, "b": composite, "c": {"source": "userProvided"}}}
    kept, secrets = without_secrets(settings)
    assert "sk-1" not in str(kept) and "Bearer" not in str(kept)
    assert kept["stopWords"] == ["a"] and kept["embedders"]["a"] == {"source": "openAi", "model": "x"}
    assert secrets == (
        "embedders.a.apiKey",
        "embedders.b.searchEmbedder.apiKey",
        "embedders.b.indexingEmbedder.headers",
    )
    given = {"embedders": {"a": {"apiKey": "sk-2"}, "b": {"searchEmbedder": {"apiKey": None}}}}
    assert missing_secrets(secrets, given) == ("embedders.b.indexingEmbedder.headers",)
    assert missing_secrets(secrets, {"embedders": None}) == ()


def test_the_settings_of_a_server_are_those_that_somebody_has_changed() -> None:
    defaults = {"stopWords": [], "pagination": {"maxTotalHits": 1000}, "faceting": {"maxValuesPerFacet": 100, "x": 1}}
    found = {
        "stopWords": ["a"],
        "pagination": {"maxTotalHits": 1000},
        "faceting": {"maxValuesPerFacet": 5, "x": 1},
        "embedders": {"a": {"source": "openAi", "apiKey": "sk-12XXXXXX...", "url": None}},
        "notYetKnown": True,
        "distinctAttribute": None,
    }
    adopted = adopt(found, defaults)
    assert adopted.settings == {
        "stopWords": ["a"],
        "faceting": {"maxValuesPerFacet": 5},
        "embedders": {"a": {"source": "openAi"}},
    }
    assert (adopted.secrets, adopted.unknown) == (("embedders.a.apiKey",), ("notYetKnown",))
