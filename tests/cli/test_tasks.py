"""`miroir tasks`: the queues of all nodes, waiting for them, and what cancelling a task means."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.cells import cell_len

from miroir_cli.dev.engine.testing import Engine
from tests.backends import both_backends, state_options
from tests.conftest import Miroir, clean_environment
from tests.oracle.world import real_nodes, real_server


@contextmanager
def beside(folder: Path, home: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another command, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "miroir_cli", *words],
        cwd=folder,
        env=clean_environment(HOME=str(home)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(seen: Any, *, seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := seen()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


def queued(miroir: Miroir, node: str, index: str = "books") -> list[str]:
    found = miroir("tasks", "list", "--node", node, "--index", index, "--status", "enqueued", "--json").json
    return [task["id"] for task in found["tasks"]]


# list


@both_backends
def test_the_queues_are_told_with_their_newest_tasks(stocked: Miroir) -> None:
    found = stocked("tasks", "list", "--index", "books", "--json").json
    assert [(node["name"], node["state"], node["enqueued"], node["processing"]) for node in found["nodes"]] == [
        ("n1", "up", 0, 0),
        ("n2", "up", 0, 0),
        ("n3", "up", 0, 0),
    ]
    assert {node["oldest_at"] for node in found["nodes"]} == {None} and found["failures"] == []
    assert all(node["documents_per_second"] for node in found["nodes"])
    documents = [task for task in found["tasks"] if task["type"] == "documentAdditionOrUpdate"]
    assert sum(task["documents"] for task in documents) == sum(task["done"] for task in documents) == 120
    assert {task["carries"] for task in documents} == {"write"}
    assert [task["enqueued_at"] for task in found["tasks"]] == sorted(
        (task["enqueued_at"] for task in found["tasks"]), reverse=True
    )
    assert len(stocked("tasks", "list", "--limit", "2", "--json").json["tasks"]) == 2
    assert stocked("tasks", "list", "--since", "2999-01-01", "--json").json["tasks"] == []


def test_what_waits_is_told_with_its_age_and_how_long_it_takes(
    stocked: Miroir, engines: list[Engine], tmp_path: Path, home: Path
) -> None:
    engines[0].faults.pause()
    with beside(tmp_path, home, "import", "books", "books.ndjson"):
        until(lambda: queued(stocked, "n1"))
        first = stocked("tasks", "list", "--json").json["nodes"][0]
        assert first["enqueued"] >= 1 and first["oldest_seconds"] >= 0 and first["seconds_left"] is not None
        for width in ("60", "80", "120"):
            shown = stocked("tasks", "list", env={"COLUMNS": width}).out.splitlines()
            assert max(map(cell_len, shown)) <= int(width)
            assert shown[0].split()[:6] == ["node", "enqueued", "processing", "oldest", "left", "failed"]
        assert "about" in shown[2] and shown[2].split()[0] == "n1"
        engines[0].faults.resume()


def test_failures_are_told_by_reason(stocked: Miroir, engines: list[Engine]) -> None:
    for engine in engines:
        engine.faults.add("fail_task", task_type="documentDeletion")
    assert stocked("delete", "books", "1").status != 0
    found = stocked("tasks", "list", "--json").json
    assert [(each["count"], each["indexes"]) for each in found["failures"]] == [(2, ["books"])]
    assert len(found["failures"][0]["nodes"]) == 2
    assert found["failures"][0]["example"] in [task["id"] for task in found["tasks"]]
    assert sum(node["failed"] for node in found["nodes"]) == 2
    failed = stocked("tasks", "list", "--status", "failed", "--json").json["tasks"]
    assert [task["status"] for task in failed] == ["failed", "failed"] and failed[0]["error"]
    told = stocked("tasks", "list").out
    assert "failed  on" in told and "     2  n" in told


def test_lists_of_attributes_in_a_reason_are_those_of_the_user(stocked: Miroir) -> None:
    failed = stocked("delete", "books", "--filter", "year > 3", "--yes")
    assert "Attribute `year` is not filterable" in failed.err and "patterns are" not in failed.err
    assert "name it in `filterableAttributes` first" in failed.err
    listed = stocked("tasks", "list", "--index", "books", "--json")
    (failure,) = listed.json["failures"]
    assert "Attribute `year` is not filterable" in failure["reason"] and "patterns are" not in failure["reason"]


def test_a_node_that_does_not_answer_is_named(stocked: Miroir, engines: list[Engine]) -> None:
    engines[2].stop()
    done = stocked("tasks", "list", "--json")
    assert done.status == 3 and "node `n3` did not answer" in done.err
    assert [node["state"] for node in done.json["nodes"]] == ["up", "up", "down"]
    assert stocked("tasks", "list", "--node", "n1").status == 0
    done = stocked("tasks", "wait", "--json")
    assert done.status == 3 and done.json["silent"] == ["n3"]
    assert "n3  down" in re.sub(" +", "  ", stocked("tasks", "list").out)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["list", "--status", "lost"], 2, "`--status` is `lost`, expected one of enqueued"),
        (["list", "--node", "n9"], 4, "n9"),
        (["list", "--index", "films"], 4, "index `films` not found"),
        (["list", "--client", "--node", "n1"], 2, "`--node` does not go with `--client`"),
        (["show", "n1/x"], 2, "`n1/x` is no task"),
        (["show", "/4"], 2, "`/4` is no task"),
        (["show", "n1/4000"], 4, "node `n1` has no task 4000"),
        (["show", "n9/4"], 4, "n9"),
        (["show", "4000"], 4, "no client has a task 4000"),
        (["cancel", "4"], 2, "`4` is a client's task"),
        (["cancel", "n1/0", "--yes"], 2, "task n1/0 has ended already: succeeded"),
        (["wait", "n1/0", "--index", "books"], 2, "tasks are waited for by name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told(stocked: Miroir, words: list[str], status: int, message: str) -> None:
    done = stocked("tasks", *words)
    assert done.status == status and message in done.err.splitlines()[0]


# show


def test_a_task_of_a_node_is_shown_with_the_write_that_it_carries(stocked: Miroir) -> None:
    tasks = stocked("tasks", "list", "--index", "books", "--json").json["tasks"]
    task = next(task for task in tasks if task["type"] == "documentAdditionOrUpdate")
    found = stocked("tasks", "show", task["id"], "--json").json
    assert (found["kind"], found["write"], found["client_task"]) == ("node", 1, None)
    assert found["raw"]["uid"] == task["uid"] and found["raw"]["details"]["receivedDocuments"] == task["documents"]
    told = stocked("tasks", "show", task["id"]).out
    assert told.startswith(f"{task['id']}, a node's task: documentAdditionOrUpdate of index `books`, succeeded\n")
    assert "carries write 1 of index `books`" in told


def test_tasks_of_clients_are_told_apart(stocked: Miroir, tmp_path: Path, home: Path) -> None:
    with beside(tmp_path, home, "serve", "--port", "0") as proxy:
        assert proxy.stderr is not None
        line = proxy.stderr.readline().decode()
        address = re.search(r"http://[\d.:]+", line)
        assert address is not None, line
        taken = httpx.post(f"{address[0]}/indexes/books/documents", json=[{"id": 1}, {"id": 2}], timeout=30)
        uid = str(taken.json()["taskUid"])
        waited = stocked("tasks", "wait", uid, "--timeout", "30", "--json")
        assert waited.status == 0 and waited.json["tasks"] == [{"id": uid, "status": "succeeded"}]
    listed = stocked("tasks", "list", "--client", "--json").json
    assert [task["id"] for task in listed["client_tasks"]] == [uid] and listed["total"] == 1
    found = stocked("tasks", "show", uid, "--json").json
    assert (found["kind"], found["status"], found["done"]) == ("client", "succeeded", 2)
    assert len(found["node_tasks"]) >= 2
    carrier = stocked("tasks", "show", found["node_tasks"][0], "--json").json
    assert (carrier["kind"], carrier["client_task"], carrier["write"]) == ("node", int(uid), found["write"])
    told = stocked("tasks", "show", uid).out
    assert f"{uid}, a client's task: " in told and f"carried by {', '.join(found['node_tasks'])}" in told
    assert "tasks of clients of `miroir serve`: 1 match" in stocked("tasks", "list", "--client").out


# wait


def test_waiting_ends_when_the_queues_are_empty_or_the_time_is_over(
    stocked: Miroir, engines: list[Engine], tmp_path: Path, home: Path
) -> None:
    done = stocked("tasks", "wait")
    assert done.status == 0 and done.out == "nothing waits on n1, n2, n3\n"
    engines[1].faults.pause()
    with beside(tmp_path, home, "import", "books", "books.ndjson"):
        [task, *_] = until(lambda: queued(stocked, "n2"))
        late = stocked("tasks", "wait", "--timeout", "0.6")
        assert late.status == 5 and "on n2)" in late.err
        assert stocked("tasks", "wait", "--node", "n1").status == 0
        assert stocked("tasks", "wait", "--index", "books", "--node", "n2", "--timeout", "0").status == 5
        assert stocked("tasks", "wait", task, "--timeout", "0").status == 5
        with beside(tmp_path, home, "tasks", "wait", task, "--json") as waiting:
            time.sleep(1)
            assert waiting.poll() is None
            engines[1].faults.resume()
            assert waiting.wait(timeout=30) == 0


def test_a_task_that_failed_is_told_by_who_waits_for_it(stocked: Miroir, engines: list[Engine]) -> None:
    engines[0].faults.add("fail_task")
    engines[0].node.queue.enqueue("documentDeletion", "books", details={}, order={"ids": ["1"]})
    uid = max(engines[0].node.queue.tasks)
    done = stocked("tasks", "wait", f"n1/{uid}")
    assert done.status == 3 and f"n1/{uid} did not succeed" in done.err


# cancel


@contextmanager
def held_up(miroir: Miroir, engine: Engine, node: str, folder: Path, home: Path) -> Iterator[tuple[str, Any]]:
    """A deletion that waits in the queue of one node: its task there, and the command that waits for it."""
    engine.faults.pause()
    with beside(folder, home, "delete", "books", *map(str, range(30))) as deleting:
        [task] = until(lambda: queued(miroir, node))
        yield task, deleting


def let_go_once_cancelled(engine: Engine) -> None:
    """The node works on once it was told to cancel something: that goes first."""
    until(lambda: any(task.type == "taskCancelation" for task in list(engine.node.queue.tasks.values())))
    engine.faults.resume()


def test_a_cancelled_write_leaves_a_stale_replica_and_that_is_said_before(
    stocked: Miroir, engines: list[Engine], tmp_path: Path, home: Path
) -> None:
    with held_up(stocked, engines[0], "n1", tmp_path, home) as (task, deleting):
        tried = stocked("tasks", "cancel", task, "--dry-run", "--json").json
        assert (tried["carries"], tried["write"], tried["cancelled"], tried["lost"]) == ("write", 2, False, [])
        assert tried["stale"] and "miss it and are stale, until `miroir repair`" in tried["told"]
        refused = stocked("tasks", "cancel", task)
        assert refused.status == 2 and f"Cancel task {task}?" in refused.err and "--yes" in refused.err
        with beside(tmp_path, home, "tasks", "cancel", task, "--yes", "--json") as cancelling:
            let_go_once_cancelled(engines[0])
            out, err = cancelling.communicate(timeout=30)
        assert cancelling.returncode == 0, err
        assert b'"cancelled":true' in out and b'"next":["miroir repair books"]' in out
        deleting.communicate(timeout=30)
        assert deleting.returncode == 0
    node = stocked("status", "--json").json["nodes"][0]
    assert node["stale"] == len(tried["stale"])
    assert stocked("repair", "books").status == 0
    assert stocked("status", "--json").json["nodes"][0]["stale"] == 0
    assert stocked("verify").status == 0
    words = [each["words"] for each in stocked("journal", "list", "--json").json["commands"]]
    assert words[:3] == ["repair", "tasks cancel", "tasks cancel"]


def test_what_nobody_else_has_is_cancelled_only_by_name(
    ready: Miroir, engines: list[Engine], tmp_path: Path, home: Path
) -> None:
    assert ready("index", "create", "books", "-k", "id", "--replicas", "1", "--shards", "3").status == 0
    (tmp_path / "books.ndjson").write_text("".join(f'{{"id": {number}}}\n' for number in range(60)))
    assert ready("import", "books", "books.ndjson").status == 0
    with held_up(ready, engines[0], "n1", tmp_path, home) as (task, deleting):
        refused = ready("tasks", "cancel", task, "--yes")
        assert refused.status == 14 and "nobody else has write 2 of index `books`" in refused.err
        assert "say `--accept-data-loss`" in refused.err
        assert ready("tasks", "cancel", task, "--accept-data-loss").status == 2
        assert queued(ready, "n1") == [task]
        with beside(tmp_path, home, "tasks", "cancel", task, "--accept-data-loss", "--yes") as cancelling:
            let_go_once_cancelled(engines[0])
            assert cancelling.wait(timeout=30) == 0
        deleting.communicate(timeout=30)
        assert deleting.returncode not in (0, 1)
    assert ready("status", "--json").json["nodes"][0]["stale"] == 0
    assert ready("verify").status == 0


def test_a_replica_whose_task_was_cancelled_already_does_not_count_as_another(
    stocked: Miroir, engines: list[Engine], tmp_path: Path, home: Path
) -> None:
    """Both nodes of a shard hold the write up; one takes it back before anybody has settled anything."""
    for engine in engines:
        engine.faults.pause()
    with beside(tmp_path, home, "delete", "books", *map(str, range(30))) as deleting:
        tasks = [until(lambda name=name: queued(stocked, name))[0] for name in ("n1", "n2", "n3")]
        deleting.kill()
        for engine, task in zip(engines[:2], tasks, strict=False):
            engine.node.queue.cancel([int(task.partition("/")[2])], by=-1)
        refused = stocked("tasks", "cancel", tasks[2], "--yes")
        assert refused.status == 14 and "nobody else has write 2" in refused.err
    for engine in engines:
        engine.faults.resume()


# on real servers


@pytest.mark.live
def test_queues_of_real_servers(miroir: Miroir, tmp_path: Path) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    with real_nodes(binary, 2) as urls:
        nodes = [word for number, url in enumerate(urls, 1) for word in ("--node", f"n{number}={url}")]
        words = ("--name", "live", "--shards", "4", "--replicas", "2", *state_options())
        assert miroir("init", *nodes, *words).status == 0
        assert miroir("index", "create", "books", "-k", "id").status == 0
        (tmp_path / "books.ndjson").write_text("".join(f'{{"id": {n}, "title": "Book {n}"}}\n' for n in range(200)))
        assert miroir("import", "books", "books.ndjson").status == 0
        found = miroir("tasks", "list", "--json")
        assert found.status == 0, found.err
        assert [node["state"] for node in found.json["nodes"]] == ["up", "up"]
        assert all(node["documents_per_second"] > 0 for node in found.json["nodes"])
        write = next(
            task
            for task in found.json["tasks"]
            if task["type"] == "documentAdditionOrUpdate" and task["index"] == "books"
        )
        assert miroir("tasks", "show", write["id"], "--json").json["write"] == 1
        for _ in range(5):  # somebody else's, on one node: enough of it that the last one waits for a while
            for _ in range(40):
                documents = [{"id": each, "text": f"{each} some words " * 40} for each in range(300)]
                late = httpx.post(
                    f"{urls[0]}/indexes/other/documents", params={"primaryKey": "id"}, json=documents, timeout=30
                ).json()["taskUid"]
            done = miroir("tasks", "cancel", f"n1/{late}", "--yes", "--json")
            if done.status == 0:
                break
        assert done.status == 0, done.err
        assert (done.json["cancelled"], done.json["carries"], done.json["stale"]) == (True, "other", [])
        assert miroir("tasks", "show", f"n1/{late}", "--json").json["status"] == "canceled"
        failing = httpx.post(
            f"{urls[1]}/indexes/other/documents", params={"primaryKey": "id"}, json=[{"id": "a b"}], timeout=30
        )
        assert failing.status_code == 202
        assert miroir("tasks", "wait", "--timeout", "50").status == 0
        failures = miroir("tasks", "list", "--json").json["failures"]
        assert [(each["documents"], each["nodes"]) for each in failures] == [(["a b"], ["n2"])]
        assert miroir("tasks", "wait", failures[0]["example"]).status == 3
