"""A backup in a process of its own that is killed at a point.

    python -m tests.backup.process TOPOLOGY PLACE CALL

The process kills itself before the CALL-th time that it changes something in the place.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from miroir_cli.backup.create import CreateOptions, create_backup
from miroir_cli.backup.target import LocalTarget, LocalUpload, Upload
from miroir_cli.cluster import open_cluster
from miroir_cli.topology.file import load_topology
from tests.faults.world import HURRIED

FILE_BYTES = 1500


class Fate:
    def __init__(self, calls: int) -> None:
        self.calls = calls

    def step(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalTarget(LocalTarget):
    """A folder in which the last thing may happen."""

    def __init__(self, folder: Path, fate: Fate) -> None:
        super().__init__(folder)
        self._fate = fate

    def create(self, name: str) -> Upload:
        self._fate.step()
        return MortalUpload(super().create(name), self._fate)

    def delete(self, name: str) -> None:
        self._fate.step()
        super().delete(name)


class MortalUpload:
    """A file that may stay unfinished."""

    def __init__(self, upload: Upload, fate: Fate) -> None:
        assert isinstance(upload, LocalUpload)
        self._upload, self._fate = upload, fate

    def write(self, content: bytes) -> None:
        self._upload.write(content)

    def commit(self) -> None:
        self._fate.step()
        self._upload.commit()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._upload, name)

    def abort(self) -> None:
        self._upload.abort()


async def main(topology: str, place: str, calls: str) -> None:
    target = MortalTarget(Path(place), Fate(int(calls)))
    async with open_cluster(load_topology(Path(topology)), patience=HURRIED) as cluster:
        await create_backup(cluster, target, options=CreateOptions(file_bytes=FILE_BYTES, retry_for=5.0))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
