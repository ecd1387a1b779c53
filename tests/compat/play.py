"""Send requests to two servers, one after the other, and tell where their answers are not the same."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from tests.compat.compare import comparable
from tests.compat.request import MASTER, Ask
from tests.contract.server import ANEW

FINAL = ("succeeded", "failed", "canceled")
TASK = re.compile(r'"(taskUid|uid|canceledBy|from|next)":(\d+)')
"""Where a task's uid is shown. It is compared as the request that made the task, so that a write that only one side
accepted (a known difference) does not make all that follows it differ."""

PATIENCE = 30.0
"""Seconds within which a task has to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one side answered, after the removals; `task` is the ended task of an accepted write."""

    status: int
    content_type: str
    body: str
    task: str | None = None

    def lines(self) -> list[str]:
        """The answer in lines, as it is compared and shown."""
        told = [f"{self.status} {self.content_type}", self.body]
        return told if self.task is None else [*told, self.task]


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """A request that the two sides answered differently."""

    ask: Ask
    plain: Answer
    proxy: Answer

    def __str__(self) -> str:
        lines = [str(self.ask)]
        for one, other in zip(self.plain.lines(), [*self.proxy.lines(), ""], strict=False):
            if one != other:
                lines += [f"  plain {one[:1500]}", f"  proxy {other[:1500]}"]
        return "\n".join(lines)


@dataclass(slots=True)
class Side:
    """One server, and the uids of the tasks that it gave by the number of the request that made them."""

    url: str
    client: httpx.Client = field(init=False)
    sent: int = 0
    tasks: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE, limits=ANEW)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def send(self, ask: Ask) -> Answer:
        """Send one request, and wait for the task that it made."""
        self.sent += 1
        headers, content = ask.sent()
        request = self.client.build_request(ask.method, self._filled(ask.path), headers=headers, content=content)
        if content is None:
            request.headers.pop("content-length", None)
        response = self.client.send(request)
        task = self._task(response)
        return Answer(
            status=response.status_code,
            content_type=response.headers.get("content-type", ""),
            body=self._comparable(response.text),
            task=None if task is None else self._comparable(self._ended(task)),
        )

    def _task(self, response: httpx.Response) -> int | None:
        if response.status_code not in (200, 202):
            return None
        try:
            answer: Any = response.json()
        except ValueError:
            return None
        uid = answer.get("taskUid") if isinstance(answer, dict) else None
        if uid is not None:
            self.tasks[uid] = self.sent
        return uid

    def _ended(self, uid: int) -> str:
        """The text of a task, once it ended."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            text = self.client.get(f"/tasks/{uid}", headers={"Authorization": f"Bearer {MASTER}"}).text
            if json.loads(text).get("status", "succeeded") in FINAL:
                return text
            time.sleep(0.01)
        raise TimeoutError(f"task {uid} of {self.url} did not end: {text}")

    def _filled(self, text: str) -> str:
        uids = list(self.tasks)
        return re.sub(r"\{task(?:-(\d+))?\}", lambda match: str(uids[-1 - int(match[1] or 0)]), text)

    def _comparable(self, text: str) -> str:
        return comparable(TASK.sub(self._named, text))

    def _named(self, match: re.Match[str]) -> str:
        maker = self.tasks.get(int(match[2]))
        return match[0] if maker is None else f'"{match[1]}":<task of request {maker}>'


def play(asks: Iterable[Ask], plain: Side, proxy: Side) -> Iterator[Apart]:
    """Send every request to both sides; yields those whose answers differ."""
    for ask in asks:
        one, other = plain.send(ask), proxy.send(ask)
        if one != other:
            yield Apart(ask=ask, plain=one, proxy=other)
