"""How a test asks for the findings of a staged state."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from miroir_cli.checkup.examine import check_up
from miroir_cli.checkup.finding import Finding
from miroir_cli.cluster import Patience
from miroir_cli.topology.file import load_topology
from tests.faults.world import HURRIED, World


async def findings(world: World | Path, *, patience: Patience = HURRIED) -> dict[str, Finding]:
    """What the doctor finds, the first of each check by its name."""
    path = world if isinstance(world, Path) else world.path
    found: dict[str, Finding] = {}
    for finding in (await check_up(load_topology(path), patience=patience)).findings:
        found.setdefault(finding.check, finding)
    return found


def change_state(world: World, statement: str) -> None:
    """Change the state file as no command does, to stage what a later version or a crash leaves."""
    with closing(sqlite3.connect(world.topology.state_path)) as connection, connection:
        connection.execute(statement)
