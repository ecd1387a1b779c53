"""What a node keeps when it is stopped, killed, or loses its disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from miroir_cli.dev.engine.ports import free_port
from miroir_cli.dev.engine.testing import running_engine


def wait(client: httpx.Client, uid: int) -> dict[str, Any]:
    for _ in range(3000):
        task: dict[str, Any] = client.get(f"/tasks/{uid}").json()
        if task["status"] in ("succeeded", "failed", "canceled"):
            return task
        time.sleep(0.002)
    raise AssertionError(uid)


def test_a_stopped_node_comes_back_with_everything(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine, httpx.Client(base_url=engine.url) as client:
        settings = {"filterableAttributes": ["n"], "rankingRules": ["words", "n:desc"]}
        client.patch("/indexes/i/settings", json=settings)
        documents = [{"id": number, "n": number, "t": "hello"} for number in range(5)]
        wait(client, client.post("/indexes/i/documents", json=documents).json()["taskUid"])
        before = client.post("/indexes/i/search", json={"q": "hello", "filter": "n > 1"}).json()["hits"]
        engine.stop()
        engine.start()
        assert client.post("/indexes/i/search", json={"q": "hello", "filter": "n > 1"}).json()["hits"] == before
        assert [task["uid"] for task in client.get("/tasks").json()["results"]] == [1, 0]


def test_enqueued_tasks_run_after_a_restart(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine, httpx.Client(base_url=engine.url) as client:
        engine.faults.pause()
        uid = client.post("/indexes/i/documents", json=[{"id": 1}]).json()["taskUid"]
        engine.stop()
        engine.faults.resume()
        engine.start()
        assert wait(client, uid)["status"] == "succeeded"


def test_a_wiped_node_is_empty(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine, httpx.Client(base_url=engine.url) as client:
        wait(client, client.post("/indexes/i/documents", json=[{"id": 1}]).json()["taskUid"])
        engine.wipe()
        assert client.get("/tasks").json()["total"] == 0
        assert client.get("/indexes/i").status_code == 404


def start(directory: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "miroir_cli.dev.engine", "--port", str(port), "--data", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for _ in range(300):
        try:
            httpx.get(f"http://127.0.0.1:{port}/health")
        except httpx.TransportError:
            time.sleep(0.03)
        else:
            return process
    raise AssertionError("no answer")


def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    port = free_port()
    first = start(tmp_path, port)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        uids = [client.post("/indexes/i/documents", json=[{"id": n}]).json()["taskUid"] for n in range(30)]
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    second = start(tmp_path, port)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert {wait(client, uid)["status"] for uid in uids} == {"succeeded"}
        assert client.get("/indexes/i/documents").json()["total"] == 30
    second.terminate()
    out, _ = second.communicate(timeout=10)
    assert (second.returncode in (0, -signal.SIGTERM), out) == (True, b"")
