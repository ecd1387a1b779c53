"""Who may do what: master key, API keys, tenant tokens; and what nodes that do not agree make of it."""

from __future__ import annotations

import asyncio
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.errors import ApiError, AuthenticationFailed, MiroirError, NodeUnavailable
from miroir_cli.model import NodeName
from miroir_cli.proxy.keyring import FRESH, Keyring
from miroir_cli.proxy.master import Introduction, judge_master
from miroir_cli.topology.keys import value_of
from tests.backends import both_backends
from tests.proxy.guarded import MASTER, SEARCH, answer, guarded_world, key_called, part, token


def invalid(message: str = "The provided API key is invalid.") -> dict[str, Any]:
    link = "https://docs.meilisearch.com/errors#invalid_api_key"
    return {"status": 403, "message": message, "code": "invalid_api_key", "type": "auth", "link": link}


SCOPED = {"actions": ["search", "indexes.get", "documents.add"], "indexes": ["books", "b*"], "expiresAt": None}


async def test_the_master_key_may_everything_and_a_stranger_nothing(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster)
            for action in ("search", "keys.create", "documents.add"):
                assert await answer(keyring, MASTER, action) == {}
            nothing = await answer(keyring, None)
            assert (nothing["status"], nothing["code"]) == (401, "missing_authorization_header")
            assert await answer(keyring, "a stranger's") == invalid()
            assert await answer(keyring, MASTER[:-1]) == invalid()
            assert await answer(keyring, "") == invalid()


async def test_the_first_keys_are_those_of_a_new_meilisearch(tmp_path: Path) -> None:
    with guarded_world(tmp_path, ["one master key of its own", "another one of its own"]) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster, own=MASTER)
            assert {key["name"]: key["actions"] for key in await keyring.listed()} == {
                "Default Search API Key": ("search",),
                "Default Admin API Key": ("*",),
                "Default Read-Only Admin API Key": ("*.get", "keys.get"),
                "Default Chat API Key": ("chatCompletions", "search"),
            }


@pytest.mark.parametrize(
    "head", [b'{"alg":[]}', b'{"alg":{}}', b'{"alg":7}', b'{"alg":"none"}', b"[]", b"[" * 20_000, b"9" * 5000]
)
async def test_the_head_of_a_token_may_be_anything(tmp_path: Path, head: bytes) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster:
            refused = await answer(Keyring(cluster), f"{part(head)}.{part(head)}.AAAA")
            assert (refused["status"], refused["code"]) == (403, "invalid_api_key")
            assert refused["message"].startswith("Could not decode tenant token, ")


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        (SEARCH, ["search"], ["documents.get", "keys.get", "indexes.get"]),
        ("Default Read-Only Admin API Key", ["search", "documents.get", "keys.get", "stats.get"], ["documents.add"]),
        ("Default Admin API Key", ["search", "documents.add", "keys.create", "dumps.create"], []),
    ],
)
async def test_a_key_may_what_its_actions_say(
    tmp_path: Path, name: str, allowed: list[str], refused: list[str]
) -> None:
    with guarded_world(tmp_path, ["one master key of its own", "another one of its own"]) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster, own=MASTER)
            value = (await key_called(keyring, name))["key"]
            for action in allowed:
                assert await answer(keyring, value, action, None) == {}
            for action in refused:
                assert await answer(keyring, value, action, None) == invalid()


async def test_a_key_for_some_indexes_sees_no_others(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster)
            value = (await keyring.create(SCOPED))["key"]
            assert await answer(keyring, value, "search", "boats") == {}
            assert await answer(keyring, value, "search", "cars") == invalid(
                'The API key cannot acces the index `cars`, authorized indexes are ["b*", "books"].'
            )
            assert await answer(keyring, value, "indexes.get", None) == {}
            assert await answer(keyring, value, "documents.add", None) == invalid()
            caller = await keyring.caller({"authorization": f"Bearer {value}"}, "search", None)
            assert caller.sees("books") and not caller.sees("cars") and not caller.sees_all
            assert caller.may("documents.add", "books") and not caller.may("documents.add", "cars")
            assert not caller.may("indexes.create") and caller.patterns == ("books", "b*")


async def test_names_of_miroirs_own_keys_are_not_for_clients(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster)
            with pytest.raises(ApiError, match="name of miroir's own keys") as refused:
                await keyring.create({**SCOPED, "name": "_miroir:slot:1"})
            assert refused.value.api_code == "invalid_api_key_name"
            uid = (await keyring.create({**SCOPED, "name": "_miroir"}))["uid"]
            with pytest.raises(ApiError, match="name of miroir's own keys"):
                await keyring.change(uid, {"name": "_miroir:"})
            assert (await keyring.get(uid))["name"] == "_miroir"


async def test_a_key_ends_when_it_says(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster)
            end = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 2))
            value = (await keyring.create({**SCOPED, "expiresAt": end}))["key"]
            assert await answer(keyring, value) == {}
            await asyncio.sleep(2.1)
            assert await answer(keyring, value) == invalid()


async def test_a_deleted_key_is_refused_at_once_here_and_soon_elsewhere(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster, world.cluster() as elsewhere:
            keyring, other = Keyring(cluster), Keyring(elsewhere)
            key = await keyring.create(SCOPED)
            tenant = token({"apiKeyUid": key["uid"], "searchRules": ["*"]}, key["key"])
            await asyncio.sleep(FRESH)
            for given in (key["key"], tenant):
                assert await answer(keyring, given) == await answer(other, given) == {}
            await keyring.delete(key["key"])
            assert await answer(keyring, key["key"]) == invalid()
            assert (await answer(keyring, tenant))["code"] == "invalid_api_key"
            await asyncio.sleep(FRESH)
            assert await answer(other, key["key"]) == invalid()
            assert (await answer(other, tenant))["code"] == "invalid_api_key"


@both_backends
async def test_nodes_with_the_master_key_get_the_keys_with_the_same_values(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster)
            key = await keyring.create(SCOPED)
            for client in cluster.fleet.clients.values():
                assert (await client.get(f"keys/{key['uid']}"))["key"] == key["key"]
            await keyring.change(key["uid"], {"name": "renamed"})
            for client in cluster.fleet.clients.values():
                found = await client.get(f"keys/{key['uid']}")
                assert (found["key"], found["name"]) == (key["key"], "renamed")
            world.engine(2).stop()
            late = await keyring.create(SCOPED)
            await keyring.delete(key["uid"])
            world.engine(2).start()
            assert await keyring.mend() >= 2 and await keyring.mend() == 0
            on_node = {found["uid"] for found in (await cluster.fleet[NodeName("n2")].get("keys"))["results"]}
            assert late["uid"] in on_node and key["uid"] not in on_node


async def test_a_new_state_store_finds_the_keys_on_the_nodes(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster:
            client = cluster.fleet[NodeName("n2")]
            mine = await client.manage("POST", "keys", {**SCOPED, "name": "older than the cluster"})
            keyring = Keyring(cluster)
            assert await answer(keyring, mine["key"]) == {}
            names = [key["name"] for key in await keyring.listed()]
            assert names.count(SEARCH) == 1 and "older than the cluster" in names


async def test_without_a_master_key_all_is_open_but_the_keys(tmp_path: Path) -> None:
    with guarded_world(tmp_path, [None, None]) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster)
            assert await answer(keyring, None, "documents.add") == await answer(keyring, "anything") == {}
            refused = await answer(keyring, None, "keys.get", None)
            assert (refused["status"], refused["code"]) == (401, "missing_master_key")


async def test_nodes_with_different_keys_need_one_for_the_clients(tmp_path: Path) -> None:
    with guarded_world(tmp_path, ["one master key of its own", "another one of its own"]) as world:
        async with world.cluster() as cluster:
            with pytest.raises(AuthenticationFailed, match=r"clients have no master key"):
                await Keyring(cluster).caller({}, "search", None)
            keyring = Keyring(cluster, own=MASTER)
            key = await keyring.create(SCOPED)
            assert key["key"] == value_of(key["uid"], MASTER)
            assert await answer(keyring, key["key"]) == {}
            assert await answer(keyring, "one master key of its own") == invalid()
            for client in cluster.fleet.clients.values():
                assert key["uid"] not in {each["uid"] for each in (await client.get("keys"))["results"]}


async def test_the_cluster_answers_its_callers_while_no_node_does(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster)
            world.engine(1).stop()
            world.engine(2).stop()
            with pytest.raises(NodeUnavailable):
                await keyring.caller({"authorization": f"Bearer {MASTER}"}, "search", "books")
            world.engine(1).start()
            assert await answer(keyring, MASTER) == {}
            world.engine(1).stop()
            assert await answer(keyring, MASTER) == {}


# -- tenant tokens


async def tenants(keyring: Keyring) -> tuple[str, str]:
    key = await key_called(keyring, SEARCH)
    return key["uid"], key["key"]


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_tenant_token_is_its_keys_and_narrower(tmp_path: Path, algorithm: str) -> None:
    rules = {"b*": {"filter": "tenant = 1"}, "books": {"filter": ["a = 1 OR b = 2", ["c = 1", "d = 1"]]}, "boats": None}
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster)
            uid, value = await tenants(keyring)
            given = token({"apiKeyUid": uid, "searchRules": rules}, value, algorithm=algorithm)
            caller = await keyring.caller({"authorization": f"Bearer {given}"}, "search", "books")
            assert caller.filter_for("books") == ["a = 1 OR b = 2", ["c = 1", "d = 1"]]
            assert caller.filter_for("bikes") == ["tenant = 1"] and caller.filter_for("boats") is None
            assert caller.narrowed("bikes", "x = 1 OR y = 2") == ["x = 1 OR y = 2", "tenant = 1"]
            assert caller.narrowed("bikes", ["x = 1", ["y = 2"]]) == ["x = 1", ["y = 2"], "tenant = 1"]
            assert caller.narrowed("bikes", None) == ["tenant = 1"] and caller.narrowed("boats", None) is None
            assert caller.sees("bikes") and not caller.sees("cars") and not caller.sees_all
            assert await answer(keyring, given, "search", "cars") == invalid(
                'The provided tenant token cannot acces the index `cars`, allowed indexes are ["b*", "boats", "books"].'
            )
            assert await answer(keyring, given, "indexes.get") == invalid()


@pytest.mark.parametrize(
    "rule", ["_miroir_shard = '§'", ["x = 1", ["_miroir_shard EXISTS"]], "NOT '_miroir\\u{5f}shard' = 1"]
)
async def test_a_token_cannot_name_what_is_miroirs_own(tmp_path: Path, rule: Any) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster)
            uid, value = await tenants(keyring)
            given = token({"apiKeyUid": uid, "searchRules": {"*": {"filter": rule}}}, value)
            refused = await answer(keyring, given)
            assert refused["code"] == "invalid_api_key" and "_miroir_" in refused["message"]


async def test_a_token_is_refused_once_it_has_ended_also_when_it_was_good_before(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster)
            uid, value = await tenants(keyring)
            end = int(time.time()) + 1
            given = token({"apiKeyUid": uid, "searchRules": ["*"], "exp": end}, value)
            assert await answer(keyring, given) == {}
            await asyncio.sleep(2.0)
            message = (await answer(keyring, given))["message"]
            assert message.startswith(f"Tenant token expired. Was valid up to `{end}` and we're now `")


async def test_two_callers_are_never_called_the_same(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster)
            uid, value = await tenants(keyring)
            both: list[Any] = [["*"], {"*": {}}]
            one, two = (token({"apiKeyUid": uid, "searchRules": rules}, value) for rules in both)
            names = [
                (await keyring.caller({"authorization": f"Bearer {given}"}, "search", None)).name
                for given in (MASTER, value, one, two, one)
            ]
            assert len(set(names)) == 4 and names[2] == names[4]


# -- secrets


async def test_no_secret_is_shown_by_a_value_or_an_error(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster:
            keyring = Keyring(cluster)
            _, value = await tenants(keyring)
            caller = await keyring.caller({"authorization": f"Bearer {value}"}, "search", None)
            told = repr(caller) + repr(keyring) + repr(keyring.__dict__["_master"])
            told += repr(Introduction(master=MASTER, proof=("uid", value)))
            try:
                await keyring.caller({"authorization": f"Bearer {value}"}, "keys.get", None)
            except Exception:
                told += traceback.format_exc()
            assert value not in told and MASTER not in told


# -- what the nodes tell of their master keys


def introduced(master: str | None, known_as: str) -> Introduction:
    return Introduction(master=master, proof=("u", value_of("u", known_as)))


def test_the_nodes_master_key_is_the_clients_when_they_share_it() -> None:
    n1, n2 = NodeName("n1"), NodeName("n2")
    both = {n1: introduced("m", "m"), n2: introduced("m", "m")}
    assert judge_master(both, None).key == "m" and judge_master(both, None).shared_by == (n1, n2)
    silent: dict[NodeName, Introduction | MiroirError] = {
        n1: introduced("m", "m"),
        n2: NodeUnavailable("n2", node="n2", sent=False),
    }
    assert judge_master(silent, None).shared_by == (n1,)
    managed = {n1: introduced(None, "m"), n2: introduced(None, "x")}
    assert judge_master(managed, "m").shared_by == (n1,)
    for found in ({n1: introduced("m", "m"), n2: introduced("x", "x")}, managed, {n1: Introduction()}):
        with pytest.raises(AuthenticationFailed):
            judge_master(found, None)
    half = {n1: introduced("m", "m"), n2: Introduction(unguarded=True)}
    with pytest.raises(AuthenticationFailed):
        judge_master(half, None)


def test_the_value_of_a_key_is_meilisearchs() -> None:
    uid = "9e6c551b-3f51-4893-9aed-9ad34a53bfd7"
    value = "fbf981d5c90180305513161203117d3ceff5ee746d507fb7fa32031c1863e0c8"
    assert value_of(uid, "masterKeyForComparison01") == value


async def test_a_key_that_another_process_made_is_good_at_once(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster() as cluster, world.cluster() as other:
            mine, theirs = Keyring(cluster), Keyring(other)
            assert await answer(theirs, MASTER) == {}  # has read the keys a moment ago
            key = await mine.create(SCOPED)
            assert await answer(theirs, key["key"]) == {}
            another = await mine.create(SCOPED)
            claims = {"apiKeyUid": another["uid"], "searchRules": ["*"]}
            assert await answer(theirs, token(claims, another["key"])) == {}
            assert await answer(theirs, "a stranger's") == invalid()
