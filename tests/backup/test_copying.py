"""`miroir import --from` and `miroir export --to`: one Meilisearch and the cluster, while both work."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from miroir_cli.backup.copying import Copy, Written
from miroir_cli.backup.journal import Remembered
from miroir_cli.dev.engine.testing import Engine
from miroir_cli.errors import TemporaryError
from tests.backends import both_backends
from tests.conftest import Miroir, clean_environment

SETTINGS = {
    "filterableAttributes": ["year"],
    "synonyms": {"sf": ["science fiction"]},
    "pagination": {"maxTotalHits": 50},
}


def finish(url: str, answer: httpx.Response, headers: Mapping[str, str] | None = None) -> None:
    """Wait for the task of an answer."""
    task = answer.raise_for_status().json()["taskUid"]
    while (found := httpx.get(f"{url}/tasks/{task}", headers=headers).json())["status"] in ("enqueued", "processing"):
        continue
    assert found["status"] == "succeeded", found


def stock(
    url: str, documents: list[dict[str, Any]], *, uid: str = "old", settings: Mapping[str, Any] = SETTINGS
) -> None:
    """An index of a plain server."""
    finish(url, httpx.post(f"{url}/indexes", json={"uid": uid, "primaryKey": "isbn"}))
    finish(url, httpx.patch(f"{url}/indexes/{uid}/settings", json=dict(settings)))
    finish(url, httpx.post(f"{url}/indexes/{uid}/documents", json=documents))


def numbered(*numbers: int, **more: object) -> list[dict[str, Any]]:
    return [{"isbn": number, "title": f"Book {number}", "year": 1900 + number, **more} for number in numbers]


def exported(miroir: Miroir, uid: str) -> list[dict[str, Any]]:
    done = miroir("export", uid)
    assert done.status == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


@both_backends
def test_an_index_arrives_with_its_key_and_settings_and_a_second_pass_copies_what_changed(
    ready: Miroir, spare: Engine
) -> None:
    stock(spare.url, numbered(*range(500)))
    done = ready("import", "books", "--from", spare.url, "--from-index", "old", "--shards", "3", "--json")
    assert done.status == 0, done.err
    found = done.json
    assert (found["copied"], found["unchanged"], found["documents"]) == (500, 0, {"from": 500, "to": 500})
    shown = ready("index", "show", "books", "--json").json
    assert (shown["primary_key"], shown["shards"], shown["settings"]) == ("isbn", 3, SETTINGS)
    finish(spare.url, httpx.post(f"{spare.url}/indexes/old/documents", json=numbered(7, 600, new=True)))
    finish(spare.url, httpx.post(f"{spare.url}/indexes/old/documents/delete-batch", json=[8, 9]))
    again = ready("import", "books", "--from", spare.url, "--from-index", "old", "--json")
    assert again.status == 3
    assert (again.json["copied"], again.json["unchanged"], again.json["extra"]) == (2, 497, 2)
    last = ready("import", "books", "--from", spare.url, "--from-index", "old", "--delete", "--yes", "--json")
    assert last.status == 0, last.err
    assert (last.json["copied"], last.json["deleted"]) == (0, 2)
    documents = httpx.post(f"{spare.url}/indexes/old/documents/fetch", json={"limit": 1000}).json()["results"]
    assert exported(ready, "books") == sorted(documents, key=lambda document: document["isbn"])


def test_all_indexes_of_a_server(ready: Miroir, spare: Engine) -> None:
    stock(spare.url, numbered(1, 2), uid="one")
    stock(spare.url, numbered(3), uid="two", settings={})
    planned = ready("import", "--from", spare.url, "--all", "--dry-run", "--json").json
    assert [(each["index"], each["documents"], each["exists"]) for each in planned["indexes"]] == [
        ("one", 2, False),
        ("two", 1, False),
    ]
    assert ready("index", "list", "--json").json["indexes"] == []
    done = ready("import", "--from", spare.url, "--all", "--json")
    assert done.status == 0, done.err
    assert [each["copied"] for each in done.json["indexes"]] == [2, 1]
    assert [each["isbn"] for each in exported(ready, "one")] == [1, 2]


def test_an_index_goes_back_into_one_server(ready: Miroir, stocked: Miroir, spare: Engine, tmp_path: Path) -> None:
    settings = {"filterableAttributes": ["title"], "stopWords": ["the"]}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    assert stocked("index", "settings", "set", "books", "--file", "settings.json").status == 0
    done = stocked("export", "books", "--to", spare.url, "--json")
    assert done.status == 0, done.err
    assert (done.json["copied"], done.json["to"]) == (60, spare.url)
    assert httpx.get(f"{spare.url}/indexes/books/settings").json().items() >= settings.items()
    documents = httpx.post(f"{spare.url}/indexes/books/documents/fetch", json={"limit": 1000}).json()["results"]
    assert sorted(documents, key=lambda document: document["id"]) == exported(stocked, "books")
    assert stocked("delete", "books", "5").status == 0
    again = stocked("export", "books", "--to", spare.url, "--delete", "--yes", "--json")
    assert (again.status, again.json["copied"], again.json["deleted"]) == (0, 0, 1)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["import", "books", "--from", "URL"], 4, "index `books` not found on `URL`"),
        (["import", "--from", "URL"], 2, "say which index to copy, or `--all`"),
        (["import", "books", "x.ndjson", "--from", "URL"], 2, "no files"),
        (["import", "books", "--from", "http://127.0.0.1:9", "--retry-for", "0"], 5, "server `http://127.0.0.1:9`"),
        (["import", "books", "--from", "NODE"], 14, "is a node of a cluster"),
        (["export", "books", "--to", "NODE"], 14, "is a node of a cluster"),
        (["import", "books", "--from", "URL", "--key-env", "NOT_SET"], 2, "variable `NOT_SET` is not set"),
        (["import", "books", "x.ndjson", "--rate", "5"], 2, "`--from URL`"),
        (["import"], 2, "missing argument `INDEX`"),
        (["import", "books"], 2, "missing argument `FILE...`"),
        (["export", "nothing", "--to", "URL"], 4, "index `nothing` not found"),
        (["export", "books", "--to-index", "x"], 2, "`--to URL`"),
        (["export", "books", "--to", "http://me:hunter@x:1"], 2, "the server's address has a user or a password"),
        (["import", "books", "--from", "127.0.0.1:7700"], 2, "did you mean `http://127.0.0.1:7700`?"),
        (["import", "books", "--from", "URL", "--key-env", "hunter2hunter2"], 2, "not the key: `--key-env SERVER_KEY`"),
        (["import", "books", "--from", "URL/below"], 6, "error: server `URL/below` is not Meilisearch"),
        (["import", "books", "--from", "ftp://x"], 2, "the server's address is `ftp://x`, expected http://"),
        (["import", "books", "--from", "ftp://x"], 2, "hint: such as `http://127.0.0.1:7700`"),
    ],
)
def test_mistakes_get_one_line_and_the_next_step(
    ready: Miroir, spare: Engine, engines: list[Engine], words: list[str], status: int, said: str
) -> None:
    stock(spare.url, numbered(1))
    assert ready("index", "create", "other", "-k", "id").status == 0
    done = ready(*[word.replace("URL", spare.url).replace("NODE", engines[0].url) for word in words])
    assert done.status == status, done.err
    assert "hunter" not in done.err
    assert said.replace("URL", spare.url if "--to URL" not in said and "--from URL" not in said else "URL") in done.err


class Shelf:
    """An index in memory. It breaks when so many documents have been written."""

    def __init__(self, documents: Mapping[str, bytes], *, breaks_after: int | None = None) -> None:
        self.stored = dict(documents)
        self.breaks_after = breaks_after
        self.asked: list[str] = []

    async def keys(self) -> Sequence[str]:
        return list(self.stored)

    async def documents(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        self.asked += keys
        return {key: self.stored[key] for key in keys if key in self.stored}

    async def count(self) -> int:
        return len(self.stored)

    async def write(self, documents: AsyncIterator[Sequence[bytes]], stored: Callable[[int], None]) -> Written:
        written = 0
        async for page in documents:
            for document in page:
                self.stored[json.loads(document)["id"]] = document
            written += len(page)
            stored(written)
            if self.breaks_after is not None and written >= self.breaks_after:
                raise TemporaryError("it broke")
        return Written(documents=written)

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            del self.stored[key]


async def test_an_interrupted_copy_goes_on_behind_what_is_certainly_stored(tmp_path: Path) -> None:
    books = {f"{number:06}": b'{"id":"%06d"}' % number for number in range(120_000)}
    origin, there = Shelf(books), Shelf({}, breaks_after=90_000)
    memory = Remembered(tmp_path, {"copy": 1})
    with pytest.raises(TemporaryError):
        await Copy(origin=origin, destination=there, memory=memory, uid="x").run()
    after = memory.read()["after"]
    assert 30_000 <= int(after) <= len(there.stored) - 50_000
    origin.asked.clear()
    there.breaks_after = None
    books["000001"] = origin.stored["000001"] = b'{"id":"000001","changed":true}'
    done = await Copy(origin=origin, destination=there, memory=memory, uid="x").run()
    assert (done.resumed, done.equal, min(origin.asked) > after) == (True, True, True)
    assert memory.read() == {}
    assert there.stored != books, "what changed behind it is left for the next pass"
    again = await Copy(origin=origin, destination=there, memory=memory, uid="x").run()
    assert (again.copied, again.unchanged) == (1, len(books) - 1)
    assert there.stored == books


async def test_a_copy_that_began_anew_is_not_gone_on_with_where_an_older_one_stopped(tmp_path: Path) -> None:
    """It is interrupted before it has noted how far it came."""
    memory = Remembered(tmp_path, {"copy": 3})
    memory.save({"after": "2"})
    origin = Shelf({key: b'{"id":"%s"}' % key.encode() for key in "123"})
    there = Shelf({key: b'{"id":"%s","old":true}' % key.encode() for key in "12"}, breaks_after=1)
    with pytest.raises(TemporaryError):
        await Copy(origin=origin, destination=there, memory=memory, uid="x", restart=True).run()
    there.stored["1"], there.breaks_after = b'{"id":"1","old":true}', None
    done = await Copy(origin=origin, destination=there, memory=memory, uid="x").run()
    assert not done.resumed and there.stored == origin.stored


async def test_only_what_the_origin_has_not_got_since_is_deleted(tmp_path: Path) -> None:
    origin = Shelf({"1": b'{"id":"1"}', "2": b'{"id":"2"}'})
    there = Shelf({"1": b'{"id":"1"}', "8": b'{"id":"8"}', "9": b'{"id":"9"}'})
    listed = await origin.keys()

    class Late(Shelf):
        async def keys(self) -> Sequence[str]:
            self.stored["9"] = b'{"id":"9"}'  # comes right after the keys were listed
            return listed

    late = Late(origin.stored)
    memory = Remembered(tmp_path, {"copy": 2})
    done = await Copy(origin=late, destination=there, memory=memory, uid="x", delete=True).run()
    assert (done.copied, done.deleted) == (1, 1)
    assert sorted(there.stored) == ["1", "2", "9"]


@pytest.mark.timeout(120)
def test_a_copy_that_is_killed_is_finished_by_the_same_command(ready: Miroir, spare: Engine, tmp_path: Path) -> None:
    stock(spare.url, numbered(*range(1500)))

    async def killed(seconds: float) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "miroir_cli", "import", "books", "--from", spare.url, "--from-index", "old", "--rate", "60"),
            cwd=tmp_path,
            env=clean_environment(HOME=str(tmp_path)),
            stderr=asyncio.subprocess.DEVNULL,
        )
        await asyncio.sleep(seconds)
        if process.returncode is None:
            process.kill()
        return await process.wait()

    assert [asyncio.run(killed(seconds)) for seconds in (1.0, 2.0, 3.0)] == [-9] * 3
    done = ready("import", "books", "--from", spare.url, "--from-index", "old", "--json")
    assert done.status == 0, done.err
    assert done.json["documents"] == {"from": 1500, "to": 1500}
    assert done.json["copied"] + done.json["unchanged"] == 1500
    assert [each["isbn"] for each in exported(ready, "books")] == list(range(1500))


def test_what_would_be_copied_back(stocked: Miroir, spare: Engine) -> None:
    found = stocked("export", "books", "--to", spare.url, "--dry-run", "--json").json
    assert (found["index"], found["documents"]) == ("books", {"from": 60, "to": None})
    assert "which is not there yet" in stocked("export", "books", "--to", spare.url, "--dry-run").out
    assert stocked("export", "books", "--dry-run", "--json").json["documents"] == 60
    asked = stocked("export", "books", "--to", spare.url, "--delete")
    assert asked.status == 2 and "--yes" in asked.err
    assert httpx.get(f"{spare.url}/indexes").json()["total"] == 0
