"""The tab key where the state is in Redis: asked for a moment, with its password and TLS, and never waited for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from miroir_cli.cli.complete import LIMIT
from tests.certificates import served_with
from tests.cli.test_completion import PATIENT, asked, environment
from tests.conftest import Miroir
from tests.store.redis_relay import relayed
from tests.store.redis_server import RedisServer, running_redis

BOOKS = "books\t6 shards, 2 replicas\n"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One of this test's own, without a password."""
    with running_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, redis: RedisServer, miroir: Miroir, nodes: list[str]) -> Path:
    """A folder with a topology whose state, the index `books`, is there."""
    words = ("--name", "test", "--shards", "6", "--replicas", "2", "--state", redis.url)
    assert miroir("init", *nodes, *words).status == 0
    assert miroir("index", "create", "books", "-k", "id").status == 0
    return tmp_path


def write_state(folder: Path, *lines: str) -> Path:
    """A topology file that has nothing but where the state is."""
    path = folder / "state.toml"
    path.write_text("\n".join(["[state]", *lines]) + "\n")
    return path


def offered(folder: Path, *lines: str, **environment: str) -> str:
    write_state(folder, *lines)
    return asked(folder, "indexes", "-t", "state.toml", **PATIENT, **environment)


def test_a_redis_that_is_down_is_not_waited_for(folder: Path, redis: RedisServer) -> None:
    assert asked(folder, "indexes", **PATIENT) == BOOKS
    redis.kill()
    assert asked(folder, "indexes") == ""


def test_a_redis_that_hangs_is_waited_for_a_moment(folder: Path, redis: RedisServer) -> None:
    redis.stop()
    try:
        began = time.monotonic()
        assert asked(folder, "indexes") == ""
        assert time.monotonic() - began < 50 * LIMIT  # the start of the process, on a busy machine, and little more
    finally:
        redis.go_on()
    assert asked(folder, "indexes", **PATIENT) == BOOKS


def test_it_is_given_the_password(folder: Path, redis: RedisServer) -> None:
    url = f'url = "{redis.url}"'
    redis.tell("ACL", "SETUSER", "reader", "on", ">for a reader", "~*", "+@all")
    redis.tell("CONFIG", "SET", "requirepass", "hunter2")
    file = folder / "password"
    file.write_text("hunter2\n")
    assert offered(folder, url) == ""
    assert offered(folder, url, 'password_env = "SECRET"') == ""
    assert offered(folder, url, 'password_env = "SECRET"', SECRET="wrong") == ""
    assert offered(folder, url, 'password_env = "SECRET"', SECRET=" hunter2\n") == BOOKS
    assert offered(folder, url, 'password_file = "password"') == BOOKS
    assert offered(folder, url, 'password_file = "gone"') == ""
    other = url.replace("redis://", "redis://reader@")
    assert offered(folder, other, 'password_env = "SECRET"', SECRET="for a reader") == BOOKS
    assert offered(folder, other, 'password_file = "password"') == ""


def test_no_command_is_run_for_the_password(folder: Path, redis: RedisServer) -> None:
    redis.tell("CONFIG", "SET", "requirepass", "hunter2")
    assert offered(folder, f'url = "{redis.url}"', 'password_command = "touch ran"') == ""
    assert not (folder / "ran").exists()


def test_it_is_asked_for_the_database_that_is_named(folder: Path, redis: RedisServer) -> None:
    assert offered(folder, f'url = "{redis.url}"') == BOOKS
    assert offered(folder, f'url = "{redis.url.removesuffix("/0")}"') == BOOKS
    assert offered(folder, f'url = "{redis.url.removesuffix("0")}1"') == ""
    assert offered(folder, f'url = "{redis.url.removesuffix("0")}99"') == ""


async def test_with_tls_it_is_asked_when_its_certificate_is_trusted(
    folder: Path, redis: RedisServer, certificate: Path
) -> None:
    async with relayed(redis, tls=served_with(certificate)) as relay:
        url = f'url = "{relay.url.replace("redis://", "rediss://")}"'
        assert await asyncio.to_thread(offered, folder, url, SSL_CERT_FILE=str(certificate)) == BOOKS
        assert await asyncio.to_thread(offered, folder, url) == ""


async def test_what_answers_nonsense_is_silence(tmp_path: Path) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        assert await asyncio.to_thread(offered, tmp_path, f'url = "redis://127.0.0.1:{port}"') == ""


def test_asking_redis_loads_no_client(folder: Path) -> None:
    code = (
        "import sys; sys.argv[1:] = ['__complete', 'indexes']; from miroir_cli.__main__ import main; main(); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(folder, **PATIENT), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == BOOKS
    heavy = {"typer", "rich", "msgspec", "tomlkit", "httpx", "asyncio", "redis", "ssl", "inspect", "sqlite3"}
    assert not set(done.stderr.split()) & heavy
