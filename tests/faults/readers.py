"""Processes that search through a proxy of their own all the time, and write down what they were answered.

    python -m tests.faults.readers FOLDER TOPOLOGY...     one for each of these files

One process loads everything and forks for each of them, so that eight are there in a moment. What they were answered
is in FOLDER/0.ndjson, ... (see `Answer`), once FOLDER/end is there.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec

from miroir_cli.proxy.app import Proxy
from miroir_cli.proxy.service import open_service
from miroir_cli.topology.file import load_topology

ROOT = Path(__file__).resolve().parents[2]

EVERYTHING = 1000
"""More hits than there are documents."""


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One answer: by the clock that all processes of a host share, when it was asked for and when it was there; its
    status, the ids that it has, the highest value of one of its documents, and whether it says that it is from memory.
    """

    name: str
    began: float
    ended: float
    status: int = 200
    found: list[str] = []
    newest: int = 0
    degraded: str = ""


@dataclass(kw_only=True)
class Flip:
    """An alias came to stand for another index between these two moments."""

    target: str
    began: float
    ended: float


def allowed(answer: Answer, flips: list[Flip]) -> set[str]:
    """What an alias stood for when it was asked for, or came to stand for before it was answered."""
    before = [flip for flip in flips if flip.ended < answer.began]
    meanwhile = [flip for flip in flips if flip.ended >= answer.began and flip.began <= answer.ended]
    return {flip.target for flip in (before[-1], *meanwhile)}


async def read(client: httpx.AsyncClient, name: str) -> Answer:
    """Search for everything that the index or alias of this name has."""
    began = time.monotonic()
    got = await client.post(f"/indexes/{name}/search", json={"q": "", "limit": EVERYTHING})
    answer = Answer(name=name, began=began, ended=time.monotonic(), status=got.status_code)
    answer.degraded = got.headers.get("x-miroir-degraded", "")
    if got.status_code == 200:
        hits = got.json()["hits"]
        answer.found = sorted(str(hit["id"]) for hit in hits)
        answer.newest = max((hit["value"] for hit in hits), default=0)
    return answer


async def _read_on(folder: Path, number: int, topology: Path) -> None:
    answers: list[Answer] = []
    names = (folder / "names").read_text().split()
    async with open_service(load_topology(topology)) as service:
        transport = httpx.ASGITransport(app=Proxy(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
            while not (folder / "end").exists():
                answers += [await read(client, name) for name in names]
                if len(answers) == len(names):
                    (folder / f"{number}.ready").touch()
                await asyncio.sleep(0.02)
    (folder / f"{number}.ndjson").write_bytes(msgspec.json.Encoder().encode_lines(answers))


def _mother(folder: Path, topologies: list[Path]) -> None:
    gc.freeze()
    children = []
    for number, topology in enumerate(topologies):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                asyncio.run(_read_on(folder, number, topology))
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))


class Readers:
    """They as whoever started them sees them."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], count: int) -> None:
        self.folder = folder
        self.count = count
        self._process = process

    async def until_ready(self) -> None:
        """Return once each of them was answered everything that it asks for."""
        end = time.monotonic() + 100
        while not all((self.folder / f"{number}.ready").exists() for number in range(self.count)):
            assert self._process.poll() is None and time.monotonic() < end
            await asyncio.sleep(0.02)

    async def end(self) -> list[list[Answer]]:
        """Let them end: what each was answered."""
        (self.folder / "end").touch()
        assert await asyncio.to_thread(self._process.wait, 100) == 0
        return [
            msgspec.json.Decoder(Answer).decode_lines((self.folder / f"{number}.ndjson").read_bytes())
            for number in range(self.count)
        ]

    def kill(self) -> None:
        """End them without asking, if they have not ended."""
        if self._process.poll() is None:
            (self.folder / "end").touch()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
            self._process.kill()
            self._process.wait()


@contextmanager
def reading(folder: Path, topologies: list[Path], *names: str) -> Iterator[Readers]:
    """One process for each of these topology files, which all search in these indexes or aliases."""
    folder.mkdir()
    (folder / "names").write_text(" ".join(names))
    command = [sys.executable, "-m", "tests.faults.readers", str(folder), *map(str, topologies)]
    readers = Readers(folder, subprocess.Popen(command, cwd=ROOT), len(topologies))
    try:
        yield readers
    finally:
        readers.kill()


if __name__ == "__main__":
    _mother(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
