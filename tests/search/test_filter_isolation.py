"""No filter of a client reaches beyond the shards that a node is asked about, on an embedded node with all of them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miroir_cli.dev.engine.testing import Engine, running_engine
from miroir_cli.documents.route import shard_of
from miroir_cli.errors import UsageError
from miroir_cli.indexes.settings import SHARD_FILTER
from miroir_cli.model import SHARD_FIELD, ShardId, shard_filter, spell_shard
from miroir_cli.search.filters import rewrite
from miroir_cli.search.narrow import narrowed

SHARDS = 4
KEYS = [1, 2, 3, 10, -1, "a", "A", "b-1", "B-1", "x_y", "007", "1e2", "abcdef"]


def asked(engine: Engine, method: str, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"{engine.url}/{path}",
        method=method,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            assert error.code == 400
            return None


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    documents = [
        {
            "id": key,
            "color": ["red", "it's", 'say "hi"', "a)"][number % 4],
            "n": number,
            SHARD_FIELD: spell_shard(shard_of(str(key), SHARDS)),
        }
        for number, key in enumerate(KEYS)
    ]
    with running_engine(tmp_path_factory.mktemp("filters")) as made:
        asked(made, "POST", "indexes", {"uid": "i", "primaryKey": "id"})
        asked(made, "PATCH", "indexes/i/settings", {"filterableAttributes": [SHARD_FILTER, "id", "color", "n"]})
        asked(made, "POST", "indexes/i/documents", documents)
        while asked(made, "GET", "tasks?statuses=enqueued,processing", None)["total"]:
            pass
        yield made


def found(engine: Engine, *filters: Any) -> set[Any] | None:
    body = asked(engine, "POST", "indexes/i/search", {"filter": list(filters), "limit": 100})
    return None if body is None else {hit["id"] for hit in body["hits"]}


WORDS = ["1", "1.0", "'1'", '"01"', "2", "-1", "a", "A", "'B-1'", "007", "7", "100", "1e2", "red", "']'"]
values = st.sampled_from([*WORDS, "'it\\'s'", '"a)"'])
names = st.sampled_from(["id", "'id'", '"id"', "color", "n", "id", "id"])
conditions = st.one_of(
    st.builds("{} {} {}".format, names, st.sampled_from(["=", "=", "=", "!=", ">", "<="]), values),
    st.builds("{} IN [{}, {}]".format, names, values, values),
    st.builds("{} {} TO {}".format, names, values, values),
    st.builds("{} {}".format, names, st.sampled_from(["EXISTS", "IS NULL", "NOT EXISTS", "IS NOT EMPTY"])),
)
sentences = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.builds("{} {} {}".format, inner, st.sampled_from(["AND", "AND", "OR", "or"]), inner),
        st.builds("({})".format, inner),
        st.builds("NOT {}".format, inner),
    ),
    max_leaves=5,
)
noise = st.text(alphabet="idn =!<>()'\"[],\\-_ANDORT§¶\n", max_size=24)
texts = st.one_of(sentences, sentences, noise, st.builds("{}{}".format, sentences, noise))
clients = st.one_of(texts, st.lists(st.one_of(texts, st.lists(texts, max_size=3)), max_size=3))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(client=clients, shard=st.integers(0, SHARDS - 1))
def test_a_filter_finds_what_it_finds_in_its_shards_and_nothing_else(engine: Engine, client: Any, shard: int) -> None:
    try:
        sent = rewrite(client)
    except UsageError:
        return
    everywhere = found(engine, *sent)
    here = found(engine, *sent, shard_filter([ShardId(shard)]))
    assert (everywhere is None) == (here is None)
    if everywhere is not None and here is not None:
        assert here == {key for key in everywhere if shard_of(str(key), SHARDS) == shard}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(client=clients)
def test_shards_that_are_left_out_have_nothing_that_matches(engine: Engine, client: Any) -> None:
    try:
        sent = rewrite(client)
    except UsageError:
        return
    everywhere = found(engine, *sent)
    shards = narrowed(sent, "id", lambda key: shard_of(key, SHARDS))
    if everywhere and shards is not None:
        assert {shard_of(str(key), SHARDS) for key in everywhere} <= set(shards)
