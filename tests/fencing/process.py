"""A process of its own that writes and tells how that ended.

    python -m tests.fencing.process TOPOLOGY VALUE      write VALUE to some keys of every shard
    python -m tests.fencing.process TOPOLOGY repair     mend what is out of sync

It prints `ready` before, then the name of the error that it ended with, or `stored`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from miroir_cli.cluster import open_cluster
from miroir_cli.errors import MiroirError
from miroir_cli.migration.repair import repair
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import write
from miroir_cli.topology.file import load_topology
from tests.faults.moving import HASTY
from tests.faults.world import HURRIED, UID, addition, keys_of_every_shard

ROOT = Path(__file__).resolve().parents[2]

PATIENT = replace(HURRIED, write=60.0)
"""So patient that a request is still waited for when its sender is stopped."""


def start(topology: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start this program."""
    command = [sys.executable, "-m", "tests.fencing.process", str(topology), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def _main(path: Path, what: str) -> str:
    async with open_cluster(load_topology(path), command="first", patience=PATIENT, lock_timeout=60) as cluster:
        index = (await cluster.map(UID)).index
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        try:
            if what == "repair":
                outcome = await repair(cluster, options=HASTY)
                return "stored" if outcome.result is not None else "nothing"
            written = await write(cluster, index, addition(index, dict.fromkeys(keys_of_every_shard(index), int(what))))
            await settle_until(cluster, index, written.n)
        except MiroirError as error:
            return type(error).__name__
        return "stored"


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(_main(Path(sys.argv[1]), sys.argv[2]))}\n")
