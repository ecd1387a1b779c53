"""Gathering the facts of a check-up: state file, nodes and locks are read, all nodes at once, and nothing is changed.

The state is read before the nodes are asked and again after it, with the locks in between: what is open both times
while nobody holds its lock was left behind by a process that is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from miroir_cli.checkup.facts import Facts, NodeFacts
from miroir_cli.checkup.interview import interview
from miroir_cli.checkup.state import Reading, describe_state, opened_state
from miroir_cli.cluster import Patience
from miroir_cli.errors import MiroirError
from miroir_cli.node.client import NodeClient
from miroir_cli.node.fleet import Fleet
from miroir_cli.store.locks import STATE, Held, Locks
from miroir_cli.topology.file import key_file_is_open, resolve_key

if TYPE_CHECKING:
    from pathlib import Path

    from miroir_cli.model import NodeName, Secret
    from miroir_cli.topology.file import Topology


async def gather(topology: Topology, *, patience: Patience | None = None) -> Facts:
    """Everything that can be learned of a cluster. Raises for nothing that a node or the state file does."""
    patience = patience or Patience()
    async with opened_state(topology, limit=patience.answer) as state:
        before = await state.read()
        nodes = await _ask_nodes(topology, before, patience=patience)
        held = _held(state.path.parent / "locks") if state.path is not None else ()
        after = await state.read()
    return Facts(
        cluster=topology.cluster,
        nodes=tuple(nodes[node.name] for node in topology.nodes),
        state=describe_state(state, before, after, held=frozenset(lock.name for lock in held)),
        locks=held,
        now=time.time(),
    )


async def _ask_nodes(
    topology: Topology, reading: Reading | None, *, patience: Patience
) -> Mapping[NodeName, NodeFacts]:
    keys = await _resolve_keys(topology)
    base = topology.path.parent
    clients, problems = [], {}
    for node in topology.nodes:
        key = keys[node.key]
        problems[node.name] = key.message if isinstance(key, MiroirError) else None
        clients.append(NodeClient(node, key=None if isinstance(key, MiroirError) else key))
    fleet = Fleet(clients)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {
                client.name: group.create_task(
                    interview(
                        client,
                        uids=reading.held_by(client.name) if reading is not None else (),
                        no_key=problems[client.name],
                        limit=patience.answer,
                        lag=patience.lag,
                    )
                )
                for client in clients
            }
    finally:
        await fleet.close()
    return {
        name: replace(task.result(), open_key_file=_open_key_file(fleet[name].node.key, base))
        for name, task in tasks.items()
    }


async def _resolve_keys(topology: Topology) -> Mapping[Secret | None, str | MiroirError | None]:
    """The nodes' keys by where they come from, or why they cannot be had; commands run at once, not in turn."""

    async def resolve(secret: Secret | None) -> str | MiroirError | None:
        try:
            return await asyncio.to_thread(resolve_key, secret, base=topology.path.parent)
        except MiroirError as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = {secret: group.create_task(resolve(secret)) for secret in {node.key for node in topology.nodes}}
    return {secret: task.result() for secret, task in tasks.items()}


def _open_key_file(secret: Secret | None, base: Path) -> str | None:
    if secret is None or secret.file is None or not key_file_is_open(secret, base=base):
        return None
    return secret.file


def _held(folder: Path) -> tuple[Held, ...]:
    """The locks that somebody holds, without the one that every command shares."""
    return tuple(lock for lock in Locks(folder).held() if lock.name != STATE)
