"""`miroir dev up` with proxies, and with a Redis for the state: started once, told of, ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from miroir_cli.dev.engines import StateChoice
from miroir_cli.dev.process import send
from miroir_cli.dev.register import LocalDirectory
from miroir_cli.dev.services import LocalService, ServiceKind, _load, find_redis, plan_services
from miroir_cli.errors import NotFound, Refused, UsageError
from tests.conftest import Finished, Miroir
from tests.store.redis_server import redis_binary


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """The environment with a `redis-server` on its PATH, whoever ships it."""
    binary = redis_binary()
    assert binary is not None
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "redis-server").symlink_to(binary)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def ask(url: str) -> Any:
    with urlopen(url, timeout=30) as answer:
        return json.load(answer)


def states(done: Finished) -> dict[str, str]:
    return {each["name"]: each["state"] for each in (*done.json["nodes"], *done.json["services"])}


def test_several_proxies_share_a_state_in_redis_and_all_of_it_ends(
    miroir: Miroir, tmp_path: Path, first_port: int, programs: dict[str, str]
) -> None:
    words = ("--nodes", "1", "--engine", "embedded", "--port", str(first_port))
    beside = ("--proxies", "2", "--state", "redis", "--proxy-port", str(first_port + 3))
    up = miroir("dev", "up", *words, *beside, "--json", env=programs)
    try:
        assert up.status == 0, up.err
        assert states(up) == {"n1": "started", "redis": "started", "proxy1": "started", "proxy2": "started"}
        assert f'url = "redis://127.0.0.1:{first_port + 2}/0"' in (tmp_path / "miroir.toml").read_text()
        assert miroir("index", "create", "books", "-k", "id").status == 0
        proxies = [each["url"] for each in up.json["services"] if each["kind"] == "proxy"]
        for url in proxies:
            assert [index["uid"] for index in ask(f"{url}/indexes")["results"]] == ["books"]
        again = miroir("dev", "up", *words, "--json", env=programs)
        assert set(states(again).values()) == {"running"}
        assert "proxy2" in miroir("dev", "status").out
    finally:
        down = miroir("dev", "down", "--json")
    assert states(down) == {"n1": "stopped", "proxy1": "stopped", "proxy2": "stopped", "redis": "stopped"}
    assert miroir("dev", "down", "--json").json == {"nodes": [], "services": []}
    planned = miroir("dev", "up", *words, "--dry-run", "--json", env=programs)
    assert planned.json["start"] == ["n1", "redis", "proxy1", "proxy2"]


def test_the_state_is_there_again_the_next_time(
    miroir: Miroir, tmp_path: Path, first_port: int, programs: dict[str, str]
) -> None:
    words = ("dev", "up", "--nodes", "1", "--engine", "embedded", "--port", str(first_port), "--json")
    try:
        first = miroir(*words, "--state", "redis", "--proxy-port", str(first_port + 2), env=programs)
        assert first.status == 0, first.err
        assert miroir("index", "create", "books", "-k", "id").status == 0
        (redis,) = register(tmp_path)
        assert redis.process is not None and send(redis.process, signal.SIGKILL)
        while redis.runs:
            pass
        assert miroir("status").status == 5
        assert states(miroir("dev", "status", "--json"))["redis"] == "ended"
        assert states(miroir(*words, env=programs))["redis"] == "started"
        assert [index["uid"] for index in miroir("index", "list", "--json").json["indexes"]] == ["books"]
    finally:
        assert miroir("dev", "down").status == 0


def register(folder: Path) -> tuple[LocalService, ...]:
    return _load(LocalDirectory.beside(folder / "miroir.toml"))


def test_a_proxy_that_cannot_start_takes_those_of_the_same_call_with_it(
    miroir: Miroir, tmp_path: Path, first_port: int
) -> None:
    (tmp_path / "miroir.toml").write_text("[cluster]\nname = 5\n")
    words = ("dev", "up", "--nodes", "1", "--engine", "embedded", "--port", str(first_port))
    try:
        done = miroir(*words, "--proxies", "1", "--proxy-port", str(first_port + 2))
        assert done.status == 5
        assert "`proxy1` ended while starting: " in done.err and "proxy1.log" in done.err
        assert register(tmp_path) == ()
    finally:
        assert miroir("dev", "down").status == 0


def test_a_topology_file_that_keeps_its_state_elsewhere_is_not_contradicted(miroir: Miroir, tmp_path: Path) -> None:
    path = tmp_path / "miroir.toml"
    assert miroir("init", "--node", "n1=http://127.0.0.1:1", "--no-check").status == 0
    with pytest.raises(Refused, match="keeps its state in a file"):
        plan_services(path, state=StateChoice.REDIS, proxies=0, first_port=None)
    assert plan_services(path, state=None, proxies=0, first_port=None) == ()
    path.write_text(path.read_text().replace("sqlite:.miroir/state.db", "redis://10.0.0.9:6379/0"))
    with pytest.raises(Refused, match="keeps its state in redis://10.0.0.9:6379/0"):
        plan_services(path, state=StateChoice.SQLITE, proxies=0, first_port=None)


def test_ports_follow_the_first_proxys_and_redis_has_the_one_before(tmp_path: Path, first_port: int) -> None:
    path = tmp_path / "miroir.toml"
    planned = plan_services(path, state=StateChoice.REDIS, proxies=2, first_port=first_port + 1)
    assert [(each.kind, each.port - first_port) for each in planned] == [
        (ServiceKind.REDIS, 0),
        (ServiceKind.PROXY, 1),
        (ServiceKind.PROXY, 2),
    ]


def test_a_port_in_use_is_named(tmp_path: Path, first_port: int) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", first_port))
        other.listen()
        with pytest.raises(UsageError, match=f"port in use: {first_port}"):
            plan_services(tmp_path / "miroir.toml", state=None, proxies=1, first_port=first_port)


def test_without_a_redis_here_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no `redis-server` or `valkey-server`"):
        find_redis({"PATH": str(tmp_path)})
    (tmp_path / "valkey-server").symlink_to(shutil.which("true") or "/bin/true")
    assert find_redis({"PATH": str(tmp_path)}).name == "valkey-server"
