"""One server under contract, embedded or real, and what every test does with it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

ANEW = httpx.Limits(max_keepalive_connections=0)
"""One connection for each request. Meilisearch closes a connection, without a word in the answer, whose request it
refused before it read all of the body, and any that is idle for 5 seconds: a client may find out too late."""

FINAL = ("succeeded", "failed", "canceled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Meilisearch-compatible server; `embedded` says which kind."""

    client: httpx.Client
    embedded: bool

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Send one request, with a JSON body unless `content` is given."""
        if body is not None:
            options["json"] = body
        return self.client.request(method, path, **options)

    def wait(self, response: httpx.Response) -> dict[str, Any]:
        """Wait for the task that a write became and return it."""
        assert response.status_code in (200, 202), response.text
        uid = response.json()["taskUid"]
        end = time.monotonic() + 30
        while time.monotonic() < end:
            task: dict[str, Any] = self.client.get(f"/tasks/{uid}").json()
            if task["status"] in FINAL:
                return task
            time.sleep(0.002)
        raise AssertionError(f"task {uid} did not end")

    def index(self, documents: Sequence[Mapping[str, Any]] = (), settings: Mapping[str, Any] | None = None) -> Index:
        """Make an index of its own with primary key `id`."""
        index = Index(server=self, uid=f"contract-{uuid.uuid4().hex[:12]}")
        index.succeed("POST", "/indexes", {"uid": index.uid, "primaryKey": "id"}, absolute=True)
        if settings:
            index.succeed("PATCH", "/settings", settings)
        if documents:
            index.succeed("POST", "/documents", list(documents))
        return index


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """One index of a server; paths are relative to it."""

    server: Server
    uid: str

    def call(self, method: str, path: str = "", body: Any = None, **options: Any) -> httpx.Response:
        """Send a request below the index."""
        return self.server.call(method, f"/indexes/{self.uid}{path}", body, **options)

    def task(self, method: str, path: str = "", body: Any = None, **options: Any) -> dict[str, Any]:
        """Send a write and wait for its task."""
        return self.server.wait(self.call(method, path, body, **options))

    def succeed(self, method: str, path: str, body: Any = None, *, absolute: bool = False) -> dict[str, Any]:
        """Send a write whose task has to succeed."""
        response = self.server.call(method, path, body) if absolute else self.call(method, path, body)
        task = self.server.wait(response)
        assert task["status"] == "succeeded", task
        return task

    def search(self, **body: Any) -> dict[str, Any]:
        """Search; the answer has to be 200."""
        response = self.call("POST", "/search", body)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def ids(self, **body: Any) -> list[Any]:
        """Search and return the ids of the hits, in order."""
        return [hit["id"] for hit in self.search(**body)["hits"]]

    def documents(self, **body: Any) -> list[dict[str, Any]]:
        """Fetch documents."""
        answer = self.call("POST", "/documents/fetch", {"limit": 1000, **body}).json()
        results: list[dict[str, Any]] = answer["results"]
        return results


def refusal(response: httpx.Response) -> tuple[int, str]:
    """The status and the code of an error, whose shape is checked."""
    body = response.json()
    assert set(body) == {"message", "code", "type", "link"}
    return response.status_code, body["code"]
