"""Questions that are asked at once."""

from __future__ import annotations

import asyncio

import pytest

from miroir_cli.errors import NodeUnavailable
from miroir_cli.migration.side import together


async def test_when_one_question_fails_no_other_is_left_running() -> None:
    ended: list[str] = []

    async def fails() -> int:
        await asyncio.sleep(0)
        raise NodeUnavailable("away", node="n1", sent=False)

    async def waits() -> int:
        try:
            await asyncio.sleep(3600)
            return 1
        finally:
            ended.append("waits")

    with pytest.raises(NodeUnavailable, match="away"):
        await together([fails(), waits()])
    assert ended == ["waits"]
