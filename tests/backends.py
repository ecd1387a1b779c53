"""Tests that run on a state file and on Redis: `both_backends` marks them, what they write names the state's place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

both_backends = pytest.mark.both_backends
"""The test runs twice: with its state in a file, and in Redis."""

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
