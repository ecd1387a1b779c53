"""Keys: who may do what on a server with a master key."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from typing import Any

import httpx
import pytest

from tests.contract.server import ANEW, Server, refusal

MASTER = "a-master-key-of-tests"


def create(server: Server, **body: Any) -> httpx.Response:
    return server.call("POST", "/keys", {"actions": ["*"], "indexes": ["*"], "expiresAt": None, **body})


def test_a_key_is_derived_from_its_uid_and_the_master_key(locked_server: Server) -> None:
    uid = str(uuid.uuid4())
    response = create(locked_server, uid=uid, name="n")
    expected = hmac.new(MASTER.encode(), uid.encode(), hashlib.sha256).hexdigest()
    assert (response.status_code, response.json()["key"]) == (201, expected)
    assert locked_server.call("GET", f"/keys/{uid}").json() == response.json()
    assert locked_server.call("GET", f"/keys/{expected}").json()["uid"] == uid
    assert uid in {key["uid"] for key in locked_server.call("GET", "/keys?limit=100").json()["results"]}
    assert refusal(create(locked_server, uid=uid)) == (409, "api_key_already_exists")
    assert locked_server.call("DELETE", f"/keys/{uid}").status_code == 204
    assert refusal(locked_server.call("GET", f"/keys/{uid}")) == (404, "api_key_not_found")
    assert create(locked_server, uid=uid).json()["key"] == expected


def test_health_is_open_and_the_rest_is_not(locked_server: Server) -> None:
    none = {"Authorization": ""}
    with httpx.Client(base_url=locked_server.client.base_url, limits=ANEW) as stranger:
        assert stranger.get("/health").status_code == 200
        assert refusal(stranger.get("/indexes")) == (401, "missing_authorization_header")
        assert refusal(stranger.get("/indexes", headers={"Authorization": "Bearer x"})) == (403, "invalid_api_key")
        assert stranger.get("/indexes", headers=none).status_code == 401


def test_a_key_does_what_its_actions_and_indexes_say(locked_server: Server) -> None:
    index = locked_server.index([{"id": 1}])
    key = create(locked_server, actions=["search"], indexes=[index.uid]).json()["key"]
    bearer = {"Authorization": f"Bearer {key}"}
    assert index.call("POST", "/search", {}, headers=bearer).status_code == 200
    assert refusal(index.call("GET", "/documents", headers=bearer)) == (403, "invalid_api_key")
    other = locked_server.index()
    assert refusal(other.call("POST", "/search", {}, headers=bearer)) == (403, "invalid_api_key")


def test_a_key_that_may_everything_may_make_keys_and_a_deleted_one_nothing(locked_server: Server) -> None:
    bearer = {"Authorization": f"Bearer {create(locked_server).json()['key']}"}
    body = {"actions": ["documents.*", "settings.*"], "indexes": ["*"], "expiresAt": None}
    made = locked_server.call("POST", "/keys", body, headers=bearer)
    assert made.status_code == 201
    writer = {"Authorization": f"Bearer {made.json()['key']}"}
    index = locked_server.index([{"id": 1}])
    assert index.call("POST", "/documents", [{"id": 2}], headers=writer).status_code == 202
    assert locked_server.call("DELETE", f"/keys/{made.json()['uid']}", headers=bearer).status_code == 204
    assert refusal(index.call("POST", "/documents", [{"id": 3}], headers=writer)) == (403, "invalid_api_key")


def test_a_key_without_index_creation_does_not_create(locked_server: Server) -> None:
    actions = ["documents.*", "tasks.get"]
    key = create(locked_server, actions=actions).json()["key"]
    response = locked_server.call(
        "POST", f"/indexes/new-{uuid.uuid4().hex}/documents", [{"id": 1}], headers={"Authorization": f"Bearer {key}"}
    )
    assert locked_server.wait(response)["error"]["code"] == "index_not_found"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"actions": ["x"]}, "invalid_api_key_actions"),
        ({"uid": "x"}, "invalid_api_key_uid"),
    ],
)
def test_wrong_keys_are_refused(locked_server: Server, body: Any, code: str) -> None:
    assert refusal(create(locked_server, **body)) == (400, code)


def test_keys_need_a_master_key(server: Server) -> None:
    assert refusal(server.call("GET", "/keys")) == (401, "missing_master_key")
