"""Mistakes with the place of the state: one line that says what is wrong, a hint that leads on, an exit status."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from miroir_cli.dev.engine.testing import Engine
from tests.backends import both_backends, lose_state
from tests.certificates import served_with
from tests.cli.conftest import edit
from tests.conftest import Miroir
from tests.store.redis_relay import relayed
from tests.store.redis_server import RedisServer, running_redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One of this test's own."""
    with running_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def shared(miroir: Miroir, nodes: list[str], redis: RedisServer) -> Miroir:
    """`miroir` with an empty cluster whose state is there."""
    assert miroir("init", *nodes, "--name", "test", "--state", redis.url).status == 0
    return miroir


def said(miroir: Miroir, *words: str, **environment: str) -> tuple[int, str, str]:
    """The exit status, the line of the error and its hint."""
    done = miroir(*(words or ("index", "list")), env=environment)
    error, _, hint = done.err.strip().partition("\n\nhint: ")
    assert "\n" not in error and done.out == "", done.err
    return done.status, error.removeprefix("error: "), hint


def test_nobody_listens_at_its_port(shared: Miroir, redis: RedisServer) -> None:
    redis.kill()
    status, error, hint = said(shared)
    assert (status, error) == (5, f"Redis at {redis.url} cannot be reached: connection refused")
    assert hint == "start it, or check `[state] url`; then run the same command again"


def test_no_host_has_its_name(shared: Miroir, redis: RedisServer, tmp_path: Path) -> None:
    edit(tmp_path, redis.url, "redis://no-such-host.invalid/0")
    assert said(shared)[:2] == (5, "Redis at redis://no-such-host.invalid/0 cannot be reached: no host of this name")


def test_it_has_no_database_of_the_number(shared: Miroir, redis: RedisServer, tmp_path: Path) -> None:
    edit(tmp_path, redis.url, redis.url.removesuffix("0") + "99")
    status, error, hint = said(shared)
    assert (status, error.partition("/99 ")[2]) == (6, "has no database of this number")
    assert "name another one in `[state] url`" in hint


def test_something_else_answers_there(
    shared: Miroir, redis: RedisServer, engines: list[Engine], tmp_path: Path
) -> None:
    url = engines[0].url.replace("http://", "redis://")
    edit(tmp_path, redis.url, url)
    status, error, hint = said(shared)
    assert (status, error) == (5, f"what answers at {url} is not Redis")
    assert hint == "check the host and the port in `[state] url`"


def test_it_wants_another_password(shared: Miroir, redis: RedisServer, tmp_path: Path) -> None:
    redis.tell("CONFIG", "SET", "requirepass", "s3cret")
    status, error, hint = said(shared)
    assert (status, error) == (12, f"Redis at {redis.url} refuses miroir: it wants a password")
    assert "`[state] password_env`" in hint
    edit(tmp_path, f'url = "{redis.url}"', f'url = "{redis.url}"\npassword_env = "SECRET"')
    status, error, hint = said(shared, SECRET="wr0ng")
    assert status == 12 and "username-password pair" in error and "wr0ng" not in error
    assert said(shared)[:2] == (12, "environment variable `SECRET` is not set")
    assert shared("index", "list", env={"SECRET": "s3cret"}).status == 0


async def test_its_certificate_is_not_trusted(tmp_path: Path, redis: RedisServer, certificate: Path) -> None:
    from miroir_cli.errors import StateUnavailable
    from miroir_cli.store.redis.connection import connect

    async with relayed(redis, tls=served_with(certificate)) as relay:
        access = connect(relay.url.replace("redis://", "rediss://"))
        with pytest.raises(StateUnavailable, match=r"cannot be reached: its certificate is not trusted: self.signed"):
            await access.ask("PING")
        await access.client.aclose()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis:/h:6379/0", "`state.url` is `redis:/h:6379/0`"),
        ("redsi://h:6379/0", "`state.url` does not begin with `sqlite:`, `redis://` or `rediss://`"),
        ("h:6379", "`state.url` does not begin with `sqlite:`, `redis://` or `rediss://`"),
        ("redis://h/state", "`state.url` is `redis://h/state`"),
        ("redis://:s3cret@h/0", "`state.url` has a password in it"),
    ],
)
def test_the_url_is_misspelt(ready: Miroir, tmp_path: Path, url: str, message: str) -> None:
    text = (tmp_path / "miroir.toml").read_text()
    before = next(line for line in text.splitlines() if line.startswith('url = "') and "http" not in line)
    edit(tmp_path, before, f'url = "{url}"')
    status, error, hint = said(ready)
    assert (status, error) == (6, f"miroir.toml: {message}")
    assert "redis://HOST:PORT/DATABASE" in hint or "password_env" in hint
    assert "s3cret" not in hint


@both_backends
def test_a_state_without_anything_is_not_taken_for_a_new_cluster(stocked: Miroir, tmp_path: Path) -> None:
    lose_state(tmp_path)
    found = stocked("status", "--json").json
    warning, *_ = found["warnings"]
    assert "is empty, but node `n1` belongs to a cluster `test` already: see whether `[state] url` is right" in warning
    assert found["next"] == ["miroir doctor"]
    status, error, hint = said(stocked, "search", "books", "x")
    assert (status, error) == (4, "index `books` not found")
    assert hint.endswith("; if there should be one, see whether `[state] url` is right, and run `miroir doctor`")
    for words in (("index", "create", "films", "-k", "id"), ("serve", "--port", "0")):
        status, error, hint = said(stocked, *words)
        assert (status, error.partition(" is empty, ")[2]) == (14, "but node `n1` belongs to a cluster `test` already")
        assert "`[state] url`" in hint and "`miroir state recover`" in hint
    assert [each["check"] for each in stocked("doctor", "--json").json["findings"]][0] == "state.missing"
    assert stocked("state", "recover", "--yes").status == 0
    assert stocked("search", "books", "Book", "--json").json["estimatedTotalHits"] == 60
