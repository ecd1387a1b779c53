"""Routing: the right shard, the original bytes, and no document that a node would refuse."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from miroir_cli.documents.chunk import Chunk
from miroir_cli.documents.route import Batch, Router, shard_of
from miroir_cli.model import SHARD_FIELD, ShardId, spell_shard

SHARDS = 7
ROUTER = Router(primary_key="id", shards=SHARDS, geo=True, embedders={"words": 2})

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.text().filter(lambda name: not name.startswith(("_miroir_", "_geo", "_vectors")) and name != "id")
keys = st.integers(-(2**63), 2**64 - 1) | st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)
documents = st.builds(lambda fields, key: {**fields, "id": key}, st.dictionaries(names, values, max_size=5), keys)


def routed(*lines: bytes, router: Router = ROUTER) -> Batch:
    batch = Batch(router.shards)
    ended = [line + b"\n" for line in lines]
    chunk = Chunk(data=b"".join(ended), lines=ended, numbers=range(1, len(lines) + 1), end=0)
    router.route(chunk, batch)
    return batch


def stored(batch: Batch) -> list[dict[str, Any]]:
    """What the nodes would store, all shards together."""
    payload = batch.payload(ShardId(shard) for shard in range(len(batch.counts)))
    return [msgspec.json.decode(line) for line in payload.splitlines()]


def reason(line: bytes, router: Router = ROUTER) -> str:
    """Why a line is refused, alone and among others."""
    batch = routed(b'{"id":"before"}', line, b'{"id":"after"}', router=router)
    assert batch.documents == 2
    alone = routed(line, router=router)
    assert [reject.reason for reject in alone.rejects] == [reject.reason for reject in batch.rejects]
    (reject,) = batch.rejects
    assert reject.line == 2
    assert reject.document == line
    return reject.reason


def test_the_shard_is_the_documented_hash_of_the_key_as_text() -> None:
    assert shard_of("17", 24) == xxhash.xxh64(b"17", seed=0).intdigest() % 24
    assert shard_of("é", 24) == xxhash.xxh64("é".encode()).intdigest() % 24


@settings(max_examples=50, deadline=None)
@given(st.lists(documents, min_size=1, max_size=6))
def test_a_line_gets_the_reserved_field_and_stays_what_it_was(found: list[dict[str, Any]]) -> None:
    batch = routed(*map(msgspec.json.encode, found))
    assert batch.rejects == []
    expected = [{SHARD_FIELD: spell_shard(shard_of(str(one["id"]), SHARDS)), **one} for one in found]
    key = msgspec.json.encode
    assert sorted(map(key, stored(batch))) == sorted(map(key, expected))
    assert sum(batch.distinct().values()) == len({str(one["id"]) for one in found})


@settings(max_examples=50, deadline=None)
@given(documents, st.sampled_from(["", " ", "\t \r"]), st.booleans())
def test_the_shard_does_not_depend_on_how_a_line_is_written(
    document: dict[str, Any], space: str, escaped: bool
) -> None:
    line = msgspec.json.encode(document)
    if escaped:
        line = line.replace(b'"id"', rb'"\u0069d"')
    variant = routed(space.encode() + line + space.encode())
    assert variant.rejects == []
    assert variant.distinct() == routed(msgspec.json.encode(document)).distinct()


def test_a_number_and_its_text_are_one_document() -> None:
    batch = routed(b'{"id":1}', b'{"id":"1"}')
    assert batch.documents == 2
    assert batch.distinct() == {shard_of("1", SHARDS): 1}


def test_a_payload_holds_the_documents_of_its_shards_in_their_order() -> None:
    batch = routed(*(b'{"id":%d,"n":%d}' % (number % 20, number) for number in range(100)))
    for shard in range(SHARDS):
        lines = batch.payload([ShardId(shard)]).splitlines()
        order = [msgspec.json.decode(line)["n"] for line in lines]
        assert order == sorted(order)
        assert all(msgspec.json.decode(line)[SHARD_FIELD] == spell_shard(shard) for line in lines)


def test_empty_lines_are_no_documents() -> None:
    batch = routed(b"", b'{"id":1}', b"   ", b'{"id":2}\r', b"\r")
    assert batch.documents == 2
    assert batch.rejects == []


MISSING = "primary key `id` is missing"
KEY = "expected an integer, or a string of letters, digits, `-` and `_` shorter than 512 bytes"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"x":1}', MISSING),
        (b"{}", MISSING),
        (b'{"a":{"id":1}}', MISSING),
        (b'{"id":null}', f"primary key `id` is `null`, {KEY}"),
        (b'{"id":true}', f"primary key `id` is `true`, {KEY}"),
        (b'{"id":1.0}', f"primary key `id` is `1.0`, {KEY}"),
        (b'{"id":1e2}', f"primary key `id` is `100.0`, {KEY}"),
        (b'{"id":-0}', f"primary key `id` is `-0.0`, {KEY}"),
        (b'{"id":18446744073709551616}', f"primary key `id` is `18446744073709551616`, {KEY}"),
        (b'{"id":-9223372036854775809}', f"primary key `id` is `-9223372036854775809`, {KEY}"),
        (b'{"id":"a b"}', f'primary key `id` is `"a b"`, {KEY}'),
        (b'{"id":" a"}', f'primary key `id` is `" a"`, {KEY}'),
        (b'{"id":"a\\n"}', f'primary key `id` is `"a\\n"`, {KEY}'),
        (b'{"id":"a\\nb"}', f'primary key `id` is `"a\\nb"`, {KEY}'),
        (b'{"id":"a,b"}', f'primary key `id` is `"a,b"`, {KEY}'),
        (b'{"id":"' + b"a" * 512 + b'"}', f'primary key `id` is `"{"a" * 49}...`, {KEY}'),
        (b'{"id":""}', f'primary key `id` is `""`, {KEY}'),
        ('{"id":"é"}'.encode(), f'primary key `id` is `"é"`, {KEY}'),
        (b'{"id":[1]}', f"primary key `id` is `[1]`, {KEY}"),
        (b'{"id":1,"id":2}', "primary key `id` occurs 2 times"),
        (rb'{"id":1,"\u0069d":2}', "primary key `id` occurs 2 times"),
        (rb'{"id":1,"i\u0064":2}', "primary key `id` occurs 2 times"),
        (b"[1]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"id":1', "malformed JSON: Input data was truncated"),
        (b'{"id":1}}', "malformed JSON: trailing characters (byte 9)"),
        (b'{"id":1,}', "malformed JSON: trailing comma in object (byte 8)"),
        (b'{"id":1}{"id":2}', "malformed JSON: trailing characters (byte 9)"),
        (b'{"id":1,"x":"\\ud800"}', "malformed JSON: Input data was truncated"),
        (b'{"id":1,"x":"\xff"}', "not valid UTF-8"),
        (b'{"id":1,"\xff":1}', "not valid UTF-8"),
        (b'{"id":1,"_miroir_shard":"x"}', "the field `_miroir_shard` is reserved: no name may begin with `_miroir_`"),
        (rb'{"id":1,"\u005fmiroir_x":1}', "the field `_miroir_x` is reserved: no name may begin with `_miroir_`"),
        (rb'{"id":1,"_\u006diroir_x":1}', "the field `_miroir_x` is reserved: no name may begin with `_miroir_`"),
        (b'{"id":1,"_geo":"1,2"}', '`_geo` is `"1,2"`, expected an object with `lat` and `lng`'),
        (b'{"id":1,"_geo":{}}', "`_geo` has no `lat` and no `lng`"),
        (b'{"id":1,"_geo":{"lat":1}}', "`_geo` has no `lng`"),
        (b'{"id":1,"_geo":{"lat":1,"lng":2,"alt":3}}', "`_geo` has a field `alt` besides `lat` and `lng`"),
        (b'{"id":1,"_geo":{"lat":true,"lng":2}}', "`_geo.lat` is `true`, expected a finite number"),
        (b'{"id":1,"_geo":{"lat":"1_0","lng":2}}', '`_geo.lat` is `"1_0"`, expected a finite number'),
        (b'{"id":1,"_geo":{"lat":1,"lng":"inf"}}', '`_geo.lng` is `"inf"`, expected a finite number'),
        (b'{"id":1,"_vectors":null}', "`_vectors` is `null`, expected an object"),
        (b'{"id":1,"_vectors":[1,2]}', "`_vectors` is `[1, 2]`, expected an object"),
        (
            b'{"id":1,"_vectors":{"other":5}}',
            "`_vectors.other` is `5`, expected an array or an object with `regenerate`",
        ),
        (
            b'{"id":1,"_vectors":{"words":{"embeddings":[1,2]}}}',
            "`_vectors.words.regenerate` is missing or not a boolean",
        ),
        (
            b'{"id":1,"_vectors":{"words":{"regenerate":false,"z":1}}}',
            "`_vectors.words` has a field `z` besides `regenerate` and `embeddings`",
        ),
        (b'{"id":1,"_vectors":{"words":[1,2,3]}}', "`_vectors.words`: 3 dimensions, the embedder has 2"),
        (
            b'{"id":1,"_vectors":{"words":["a"]}}',
            "`_vectors.words`: expected an array of numbers or an array of such arrays",
        ),
    ],
)
def test_what_a_node_would_refuse_is_refused_with_its_line_and_the_reason(line: bytes, expected: str) -> None:
    assert reason(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":0}',
        b'{"id":-5}',
        b'{"id":18446744073709551615}',
        b'{"id":"' + b"a" * 511 + b'"}',
        b'{"id":1,"a":{"id":2}}',
        b'{"id":1,"kind":"id"}',
        b'{"id":1,"a":{"_miroir_x":1}}',
        b'{"id":1,"note":"_miroir_"}',
        b'{"id":1,"note":"\\u0041 -0"}',
        b'{"id":1,"note":"\\u003cp\\u003e \\u005fmiroir_"}',
        rb'{"id":1,"\u005fmiro":2,"_miroi\u0072":3}',
        b'{"id":1,"_geo":null}',
        b'{"id":1,"_geo":{"lat":"+1.e2","lng":".5"}}',
        b'{"id":1,"_vectors":{"words":[[1,2],[3,4]],"other":[1,"x"]}}',
        b'{"id":1,"_vectors":{"words":null}}',
    ],
)
def test_what_a_node_accepts_is_accepted(line: bytes) -> None:
    batch = routed(line)
    assert batch.rejects == []
    assert batch.documents == 1


@pytest.mark.parametrize("place", range(len("_miroir_")))
def test_no_character_of_a_reserved_name_can_be_hidden(place: int) -> None:
    name = "_miroir_"
    for digits in (f"{ord(name[place]):04x}", f"{ord(name[place]):04X}"):
        hidden = f"{name[:place]}\\u{digits}{name[place + 1 :]}"
        assert reason(f'{{"id":1,"{hidden}x":1}}'.encode()).startswith("the field `_miroir_x` is reserved")


@pytest.mark.parametrize("shift", range(4))
def test_long_text_of_wide_characters_is_accepted_and_one_bad_byte_in_it_refused(shift: int) -> None:
    line = b'{"id":1,"x":"' + b"x" * shift + "é東🙂".encode() * 4000 + b'"}'
    assert routed(line).documents == 1
    assert reason(line[:-5] + line[-4:]) == "not valid UTF-8"


def test_a_batch_keeps_its_order_over_many_chunks() -> None:
    batch, lines = Batch(2), [b'{"id":%d,"x":"%s"}\n' % (number, b"x" * 5000) for number in range(30)]
    router = Router(primary_key="id", shards=2)
    for number, line in enumerate(lines):
        router.route(Chunk(data=line, lines=[line], numbers=[number], end=number), batch)
        if number % 7 == 3:
            assert sum(batch.counts) == number + 1
    for shard in map(ShardId, range(2)):
        mine = [line for number, line in enumerate(lines) if shard_of(str(number), 2) == shard]
        assert batch.lines(shard) == mine
        payload = b"".join(
            line.replace(b"{", b'{"%s":"%s",' % (SHARD_FIELD.encode(), spell_shard(shard).encode())) for line in mine
        )
        assert batch.payload([shard]) == payload
        assert batch.counts[shard] == batch.distinct()[shard] == len(mine)


def test_an_index_without_geo_takes_any_geo() -> None:
    assert routed(b'{"id":1,"_geo":"here"}', router=Router(primary_key="id", shards=2)).documents == 1


def test_any_name_can_be_the_primary_key() -> None:
    router = Router(primary_key='schlüssel "1"', shards=SHARDS)
    line = msgspec.json.encode({'schlüssel "1"': "a", "n": 1})
    assert routed(line, router=router).distinct() == {shard_of("a", SHARDS): 1}


@given(st.lists(st.integers(0, 50), min_size=2, max_size=30))
def test_halves_are_the_whole_in_order_and_smaller(ids: list[int]) -> None:
    batch = routed(*(b'{"id":%d,"n":%d}' % (id, number) for number, id in enumerate(ids)))
    earlier, later = ROUTER.halves(batch, batch.distinct())
    assert 0 < earlier.documents < batch.documents
    assert earlier.documents + later.documents == batch.documents
    for shard in range(SHARDS):
        assert earlier.lines(ShardId(shard)) + later.lines(ShardId(shard)) == batch.lines(ShardId(shard))
    for half in (earlier, later):
        assert sum(half.distinct().values()) == len({one["id"] for one in stored(half)})


def test_the_shard_of_a_single_line_is_that_of_its_batch() -> None:
    assert ROUTER.shard_of_line(b'{"id":"x"}') == shard_of("x", SHARDS)
    assert ROUTER.shard_of_line(b'{"x":1}') is None
