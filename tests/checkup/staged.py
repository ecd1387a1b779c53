"""How a test asks for the findings of a staged state, and types what they say."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from miroir_cli.checkup.examine import check_up
from miroir_cli.checkup.finding import Finding
from miroir_cli.cluster import Patience
from miroir_cli.topology.file import load_topology
from tests.conftest import clean_environment
from tests.faults.world import HURRIED, World

CHANGING = ("REBALANCE_RUN", "REBALANCE_CANCEL", "STATE_RECOVER", "INDEX_DELETE")
YES = {f"MIROIR_{command}_YES": "1" for command in CHANGING}
"""The answers of the person at the terminal."""


CALM = replace(HURRIED, answer=10.0)
"""For tests that plant no slowness: a busy machine does not plant it either."""


OF_ANY_REDIS = ("state.slow", "state.unfenced")
"""What a busy machine does to a Redis on it, and what is said of every Redis."""


async def findings(world: World | Path, *, patience: Patience = CALM) -> dict[str, Finding]:
    """What the doctor finds but for that, the first of each check by its name. A calm one looks again when nodes were
    slow."""
    path = world if isinstance(world, Path) else world.path
    for _ in range(5):
        found: dict[str, Finding] = {}
        for finding in (await check_up(load_topology(path), patience=patience)).findings:
            found.setdefault(finding.check, finding)
        if patience is not CALM or "node.slow" not in found:
            break
    return {check: finding for check, finding in found.items() if check not in OF_ANY_REDIS}


def change_state(world: World, statement: str) -> None:
    """Change the state file as no command does, to stage what a later version or a crash leaves."""
    with closing(sqlite3.connect(world.topology.state_path)) as connection, connection:
        connection.execute(statement)


async def type_in(world: World | Path, finding: Finding, *, choice: int = 0) -> str:
    """Type a command that a finding says, where the topology file is; `choice`: which one of several. Returns what it
    printed, once it has ended well."""
    return await type_words(world, finding.next[choice])


async def type_words(world: World | Path, line: str) -> str:
    """Type a line in a shell, where the topology file is, and answer its questions with yes."""
    folder = (world if isinstance(world, Path) else world.path).parent
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "miroir").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.held "$@"\n')
    (programs / "miroir").chmod(0o755)
    process = await asyncio.create_subprocess_shell(
        line,
        cwd=folder,
        env=clean_environment(HOME=str(folder), PATH=f"{programs}{os.pathsep}{os.environ['PATH']}", **YES),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, f"{line}: {printed.decode()}"
    return printed.decode()
