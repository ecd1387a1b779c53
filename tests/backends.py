"""Tests that run on a state file and on Redis: `both_backends` marks them, what they write names the state's place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

both_backends = pytest.mark.both_backends
"""The test runs twice: with its state in a file, and in Redis."""


def about_the_file(reason: str) -> pytest.MarkDecorator:
    """The test has its state in a file, also where all others have theirs in Redis: it is about the file."""
    return pytest.mark.about_the_file(reason)


_urls: list[str] = []
"""The Redis of the test that runs, when its state is there."""


@contextmanager
def state_at(url: str) -> Iterator[None]:
    """Have topology files that tests write name this Redis."""
    _urls.append(url)
    try:
        yield
    finally:
        _urls.pop()


def state_url() -> str | None:
    """The Redis of the test that runs; None: its state is in a file."""
    return _urls[-1] if _urls else None


def state_lines() -> list[str]:
    """The `[state]` table of a topology file of this test."""
    url = state_url()
    return [] if url is None else ["", "[state]", f'url = "{url}"']


def state_options() -> list[str]:
    """The same as options of `miroir init`."""
    url = state_url()
    return [] if url is None else ["--state", url]


def lose_state(folder: Path) -> None:
    """Everything that the host of this topology's folder knows, or Redis."""
    url = state_url()
    if url is None:
        shutil.rmtree(folder / ".miroir")
        return
    with Redis.from_url(url, socket_timeout=30) as client:
        client.flushall()
