"""Redis as the Helm chart, the compose file and the unit of systemd start it: closed, and nothing is lost."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError
from redis.retry import Retry

from miroir_cli.dev.engine.ports import free_port
from tests.charts.chart import Manifest, render
from tests.conftest import ROOT
from tests.store.redis_server import redis_binary

FOLDER = ROOT / "docs" / "operations" / "several-hosts"
PASSWORDS = ["correct-horse", "quo\"te back\\slash $dollar `tick` 'single' %s"]

DURABLE = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "save": "",
    "maxmemory": str(256 * 1024**2),
    "maxmemory-policy": "noeviction",
}
"""What the guides ask of any Redis that has the state of a cluster."""

Start = Callable[[Path, str], list[str]]
"""The command for a folder that has `redis.conf` and `data`, and for a password."""


def in_chart() -> Manifest:
    (found,) = [each for each in render().containers() if each["name"] == "redis"]
    return found


def in_compose() -> dict[str, Any]:
    services: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "compose.yml").read_text())["services"]
    return services["redis"]


def from_chart(folder: Path, password: str) -> list[str]:
    conf = str(render().one("ConfigMap", "r-redis")["data"]["redis.conf"])
    (folder / "redis.conf").write_text(conf.replace("/data", str(folder / "data")))
    return [word.replace("/etc/redis/", f"{folder}/") for word in in_chart()["command"]]


def from_compose(folder: Path, password: str) -> list[str]:
    (folder / "redis.conf").write_text((FOLDER / "redis.conf").read_text())
    places = {"/etc/redis.conf": f"{folder}/redis.conf", "/data": f"{folder}/data", "$$": "$"}
    words = list(in_compose()["command"])
    for place, here in places.items():
        words = [word.replace(place, here) for word in words]
    return words


def from_unit(folder: Path, password: str) -> list[str]:
    (folder / "redis.conf").write_text((FOLDER / "redis.conf").read_text())
    quoted = re.sub(r'(["\\])', r"\\\1", password)
    (folder / "password.conf").write_text(f'requirepass "{quoted}"\n')
    unit = (FOLDER / "miroir-redis.service").read_text()
    (line,) = re.findall("^ExecStart=(.*)$", unit, re.M)
    assert re.findall("^LoadCredential=(.*)$", unit, re.M) == ["password.conf:/etc/miroir/redis-password.conf"]
    places = {"%d": str(folder), "/etc/miroir": str(folder), "/var/lib/miroir-redis": f"{folder}/data"}
    for place, here in places.items():
        line = line.replace(place, here)
    return shlex.split(line.replace("/usr/bin/redis-server", "redis-server"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    port: int
    password: str
    process: subprocess.Popen[bytes]


@pytest.fixture(params=PASSWORDS, ids=["plain", "odd"])
def password(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[from_chart, from_compose, from_unit], ids=["chart", "compose", "unit"])
def started(request: pytest.FixtureRequest, password: str, tmp_path: Path) -> Iterator[Started]:
    program = redis_binary()
    if program is None:
        pytest.skip("no redis-server")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "redis-server").symlink_to(program)
    (tmp_path / "data").mkdir()
    start: Start = request.param
    command, port = start(tmp_path, password), free_port()
    conf = tmp_path / "redis.conf"
    conf.write_text(conf.read_text().replace("port 6379", f"port {port}").replace("bind * -::*", "bind 127.0.0.1"))
    process = subprocess.Popen(
        command if "/" in command[0] else ["/usr/bin/env", *command],
        env={"REDISCLI_AUTH": password, "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Started(port=port, password=password, process=process)
    finally:
        process.terminate()
        assert process.wait(30) == 0, "the signal reaches Redis itself, which then ends well"


def client(port: int, password: str | None) -> Redis:
    return Redis(port=port, password=password, retry=Retry(NoBackoff(), 0), decode_responses=True)


def answers(port: int) -> bool:
    with client(port, None) as stranger:
        try:
            stranger.ping()
        except AuthenticationError:
            return True
        except ConnectionError:
            return False
    raise AssertionError("it is open to everybody")


def test_it_starts_with_the_password_and_keeps_every_write(started: Started, tmp_path: Path) -> None:
    until = time.monotonic() + 30
    while not answers(started.port):
        assert time.monotonic() < until and started.process.poll() is None
        time.sleep(0.05)
    with client(started.port, started.password) as redis:
        assert {name: redis.config_get(name)[name] for name in DURABLE} == DURABLE
        redis.set("told", "yes")
    assert list((tmp_path / "data").rglob("*.aof")), "in the folder that outlives it"
    line = Path(f"/proc/{started.process.pid}/cmdline")
    if line.exists():
        assert started.password.encode() not in line.read_bytes()


def test_its_password_is_in_no_command_line_and_no_file() -> None:
    assert in_chart()["env"] == [
        {"name": "REDISCLI_AUTH", "valueFrom": {"secretKeyRef": {"name": "miroir", "key": "redis-password"}}}
    ]
    assert in_compose()["environment"] == {"REDISCLI_AUTH": "${REDIS_PASSWORD:?put it into .env}"}
    conf = str(render().one("ConfigMap", "r-redis")["data"]["redis.conf"])
    for text in (conf, (FOLDER / "redis.conf").read_text()):
        assert not re.search("^requirepass", text, re.M)
    for command in (in_chart()["command"], in_compose()["command"]):
        assert "--requirepass" not in str(command)


def settings(conf: str) -> dict[str, str]:
    lines = [line for line in conf.splitlines() if line and not line.startswith("#")]
    return {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines}


def test_the_chart_and_the_file_have_the_same_settings() -> None:
    chart = settings(str(render().one("ConfigMap", "r-redis")["data"]["redis.conf"]))
    assert {**settings((FOLDER / "redis.conf").read_text()), "dir": "/data"} == chart


def test_it_has_room_to_write_its_file_anew() -> None:
    assert in_chart()["resources"]["limits"] == {"memory": "576Mi"}


@pytest.mark.parametrize("guide", ["kubernetes.md", "several-hosts.md"])
def test_the_guides_say_what_any_redis_has_to_do(guide: str) -> None:
    text = " ".join((ROOT / "docs" / "guides" / guide).read_text().split())
    for name in ("appendonly", "appendfsync", "maxmemory-policy"):
        assert f"`{name} {DURABLE[name]}`" in text
