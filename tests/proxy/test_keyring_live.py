"""A real Meilisearch and the keyring hear the same callers and say the same."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from miroir_cli.cluster import open_cluster
from miroir_cli.errors import ApiError
from miroir_cli.proxy.keyring import Keyring
from miroir_cli.topology.file import Topology, load_topology
from miroir_cli.topology.keys import value_of
from miroir_cli.wire import status_of, wire_error
from tests.contract.conftest import running_meilisearch
from tests.contract.server import ANEW
from tests.proxy.guarded import MASTER, SEARCH, answer, key_called, token

pytestmark = pytest.mark.live

PLACE = re.compile(
    r" at line \d+ column \d+| \(?Invalid (?:last |)(?:symbol|input|padding).*|(?<=JSON error: ).*|(?<=now `)\d+"
)
"""What is not compared: places in JSON and base64 texts, and the clock."""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Topology]]:
    folder = tmp_path_factory.mktemp("real")
    with running_meilisearch(folder, MASTER) as url:
        (folder / "key").write_text(MASTER)
        path = folder / "miroir.toml"
        path.write_text(f'[cluster]\nname = "test"\n[[nodes]]\nname = "n1"\nurl = "{url}"\nkey_file = "key"\n')
        with httpx.Client(base_url=url, limits=ANEW) as client:
            client.headers["authorization"] = f"Bearer {MASTER}"
            for uid in ("books", "cars"):
                client.post("/indexes", json={"uid": uid, "primaryKey": "id"})
            while client.get("/tasks", params={"statuses": "enqueued,processing"}).json()["results"]:
                time.sleep(0.02)
            yield client, load_topology(path)


def said(answer: httpx.Response) -> dict[str, Any]:
    return {} if answer.is_success else {"status": answer.status_code, **answer.json()}


def compared(found: dict[str, Any]) -> dict[str, Any]:
    return {key: PLACE.sub("", value) if key == "message" else value for key, value in found.items()}


STRANGER = "73e0b1b4-2ef0-4f7e-8a1e-63aa7d5b8a12"


def tokens(uid: str, value: str) -> dict[str, str]:
    good: dict[str, Any] = {"apiKeyUid": uid, "searchRules": ["*"]}
    now = int(time.time())
    written: dict[str, dict[str, Any]] = {
        "all": good,
        "one index": {**good, "searchRules": ["books"]},
        "another index": {**good, "searchRules": ["cars", "b"]},
        "a pattern": {**good, "searchRules": ["bo*"]},
        "a pattern that is none": {**good, "searchRules": ["b s"]},
        "a rule of null": {**good, "searchRules": {"books": None}},
        "another index's rule": {**good, "searchRules": {"cars": {}, "a": None}},
        "more in a rule": {**good, "searchRules": {"books": {"x": 1}}},
        "a text for a rule": {**good, "searchRules": {"books": "x"}},
        "a text for rules": {**good, "searchRules": "books"},
        "null for rules": {**good, "searchRules": None},
        "no rules": {"apiKeyUid": uid},
        "no key": {"searchRules": ["*"]},
        "a key that is none": {**good, "apiKeyUid": "x"},
        "an unknown key": {**good, "apiKeyUid": str(uuid.uuid4())},
        "ended": {**good, "exp": 5},
        "ends later": {**good, "exp": now + 600},
        "no end": {**good, "exp": None},
        "an end with a fraction": {**good, "exp": 5.5},
        "an end in letters": {**good, "exp": "5"},
        "not before": {**good, "nbf": now + 600},
        "an audience": {**good, "aud": "x"},
    }
    return {
        **{name: token(claims, value) for name, claims in written.items()},
        "HS384": token(good, value, algorithm="HS384"),
        "HS512": token(good, value, algorithm="HS512"),
        "none": token(good, value, algorithm="none"),
        "RS256": token(good, value, algorithm="RS256"),
        "an unknown algorithm": token(good, value, algorithm="foo"),
        "no algorithm": token(good, value, header={"typ": "JWT"}),
        "no type": token(good, value, header={"alg": "HS256"}),
        "signed by another": token(good, "x"),
        "an unknown key's own": token({**good, "apiKeyUid": STRANGER}, value_of(STRANGER, MASTER)),
        "signed by the master key": token(good, MASTER),
        "claims that are no JSON": token(b"xx", value),
        "claims that are a list": token(b"[]", value),
        "padded": token(good, value) + "=",
        "cut": token(good, value)[:-4],
        "one letter off": token(good, value)[:-6] + "!!!!!!",
        "a.b.c": "a.b.c",
        "a.b": "a.b",
        "a.b.c.d": "a.b.c.d",
        "..": "..",
        "the master key": MASTER,
        "the key itself": value,
        "a stranger": "abc",
    }


async def test_tokens(real: tuple[httpx.Client, Topology]) -> None:
    client, topology = real
    async with open_cluster(topology) as cluster:
        keyring = Keyring(cluster)
        key = await key_called(keyring, SEARCH)
        differing = {}
        for name, given in tokens(key["uid"], key["key"]).items():
            headers = {"authorization": f"Bearer {given}"}
            for action, method, path in (("search", "POST", "/indexes/books/search"), ("stats.get", "GET", "/stats")):
                uid = "books" if "books" in path else None
                asked = client.request(method, path, headers=headers, json={} if method == "POST" else None)
                pair = compared(said(asked)), compared(await answer(keyring, given, action, uid))
                if pair[0] != pair[1]:
                    differing[name, action] = pair
        assert differing == {}


async def test_headers(real: tuple[httpx.Client, Topology]) -> None:
    client, topology = real
    async with open_cluster(topology) as cluster:
        keyring = Keyring(cluster)
        for header in ("Basic abc", "Bearer", f"bearer {MASTER}", f"Bearer  {MASTER}", MASTER, "", f"Token {MASTER}"):
            headers = {"authorization": header}
            try:
                await keyring.caller(headers, "stats.get", None)
                found = {}
            except ApiError as error:
                found = {"status": status_of(error), **wire_error(error)}
            assert found == said(client.get("/stats", headers=headers)), header


SCOPED = ["search", "indexes.get", "indexes.create", "documents.add", "stats.get", "tasks.get", "settings.get"]


@pytest.mark.parametrize(
    ("actions", "indexes"),
    [(SCOPED, ["b*", "x"]), (SCOPED, ["*"]), (["*"], ["books"]), (["*.get"], ["*"]), ([], []), (["tasks.*"], ["*"])],
)
async def test_keys(real: tuple[httpx.Client, Topology], actions: list[str], indexes: list[str]) -> None:
    client, topology = real
    routes: list[tuple[str, str, str, str | None, Any]] = [
        ("search", "POST", "/indexes/books/search", "books", {}),
        ("search", "POST", "/indexes/cars/search", "cars", {}),
        ("search", "POST", "/multi-search", None, {"queries": []}),
        ("indexes.get", "GET", "/indexes", None, None),
        ("indexes.get", "GET", "/indexes/cars", "cars", None),
        ("stats.get", "GET", "/stats", None, None),
        ("tasks.get", "GET", "/tasks", None, None),
        ("settings.get", "GET", "/indexes/books/settings", "books", None),
        ("version", "GET", "/version", None, None),
        ("keys.get", "GET", "/keys", None, None),
        ("experimental.get", "GET", "/experimental-features", None, None),
        ("documents.get", "GET", "/indexes/books/documents", "books", None),
        ("tasks.cancel", "POST", "/tasks/cancel?statuses=enqueued", None, None),
        ("indexes.swap", "POST", "/swap-indexes", None, []),
    ]
    async with open_cluster(topology) as cluster:
        keyring = Keyring(cluster)
        key = await keyring.create({"actions": actions, "indexes": indexes, "expiresAt": None})
        headers = {"authorization": f"Bearer {key['key']}"}
        for action, method, path, uid, body in routes:
            asked = client.request(method, path, headers=headers, json=body)
            assert await answer(keyring, key["key"], action, uid) == said(asked), path


async def test_bodies_of_keys(real: tuple[httpx.Client, Topology]) -> None:
    client, topology = real
    good = {"actions": ["search"], "indexes": ["*"], "expiresAt": None}
    uid = str(uuid.uuid4())
    bodies: list[Any] = [
        good,
        {},
        {"actions": []},
        {**good, "indexes": []},
        {**good, "actions": 1},
        {**good, "actions": ["foo"]},
        {**good, "actions": [1]},
        {**good, "actions": ["search", "keys.get"], "indexes": ["x"]},
        {**good, "actions": ["*"], "indexes": ["x"]},
        {**good, "actions": ["tasks.compact"], "indexes": ["x", "*"]},
        *({**good, "indexes": [pattern]} for pattern in ("a b", "a*b", "a**", "", "a*", 1, "b" * 401)),
        {**good, "indexes": None},
        {**good, "indexes": "x"},
        *(
            {**good, "expiresAt": end}
            for end in ("yesterday", "2020-01-01", 5, "2040-01-01", "2040-01-01T10:00:00.50+02:00", "2040-02-30")
        ),
        *({**good, "expiresAt": f"2040-01-01{rest}"} for rest in (" 10:00:00", "T10:00:00", "T10:00:00Z", "T10:00")),
        {**good, "uid": "x"},
        {**good, "uid": 5},
        {**good, "uid": uid},
        {**good, "name": 5},
        {**good, "description": "d", "name": None},
        {**good, "descriptionz": 5},
        {"foo": 1, **good},
    ]
    async with open_cluster(topology) as cluster:
        keyring = Keyring(cluster)
        differing = []
        for body in bodies:
            plain = client.post("/keys", json=body)
            if plain.is_success:
                client.delete(f"/keys/{plain.json()['uid']}")
            try:
                made: dict[str, Any] = await keyring.create(body)
            except ApiError as error:
                made = {"status": status_of(error), **wire_error(error)}
            one, two = (
                {name: value for name, value in found.items() if name not in ("uid", "key", "createdAt", "updatedAt")}
                for found in (
                    plain.json() if plain.is_success else said(plain),
                    {name: list(value) if isinstance(value, tuple) else value for name, value in made.items()},
                )
            )
            if one != two:
                differing.append((body, one, two))
        assert differing == []
