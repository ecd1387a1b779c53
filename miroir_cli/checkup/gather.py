"""Gathering the facts of a check-up: state, nodes and locks are read, all nodes at once, and nothing is changed.

The state is read before the nodes are asked and again after it, with the locks in between: what is open both times
while nobody holds its lock was left behind by a process that is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from miroir_cli.checkup.facts import Facts, NodeFacts, ServeFacts
from miroir_cli.checkup.interview import interview
from miroir_cli.checkup.key_rules import weakness
from miroir_cli.checkup.machine import read_machine, read_state_files
from miroir_cli.checkup.state import Reading, describe_state, opened_state
from miroir_cli.cluster import Patience
from miroir_cli.errors import MiroirError
from miroir_cli.node.client import NodeClient
from miroir_cli.node.fleet import Fleet
from miroir_cli.topology.file import key_file_is_open, resolve_key
from miroir_cli.topology.keys import source_of, value_of

if TYPE_CHECKING:
    from miroir_cli.model import NodeName, Secret
    from miroir_cli.topology.file import Topology


async def gather(topology: Topology, *, patience: Patience | None = None) -> Facts:
    """Everything that can be learned of a cluster. Raises for nothing that a node or the state file does."""
    patience = patience or Patience()
    async with opened_state(topology, limit=patience.answer) as state:
        before = await state.read()
        nodes = await _ask_nodes(topology, before, patience=patience)
        held = await state.held()
        after = await state.read()
        described = describe_state(state, before, after, held=frozenset(lock.name for lock in held))
        files = None if state.path is None else await asyncio.to_thread(read_state_files, state.path)
    return Facts(
        cluster=topology.cluster,
        nodes=tuple(nodes[node.name] for node in topology.nodes),
        state=replace(
            described,
            files=files,
            open_password_file=open_key_file(topology.state.password, topology.path.parent),
        ),
        locks=held,
        now=time.time(),
        machine=await asyncio.to_thread(read_machine, topology),
        serve=await look_at_serve(topology),
    )


async def _ask_nodes(
    topology: Topology, reading: Reading | None, *, patience: Patience
) -> Mapping[NodeName, NodeFacts]:
    keys = await resolve_keys({node.key for node in topology.nodes}, base=topology.path.parent)
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
                        stale=reading.stale() if reading is not None else (),
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
        name: replace(
            task.result(),
            open_key_file=open_key_file(fleet[name].node.key, base),
            master=_master(keys[fleet[name].node.key], task.result().key_proof),
            key_source=source_of(fleet[name].node.key),
            weak_key=_weakness(keys[fleet[name].node.key]),
        )
        for name, task in tasks.items()
    }


def _weakness(key: str | MiroirError | None) -> str | None:
    return weakness(key) if isinstance(key, str) else None


def _master(key: str | MiroirError | None, proof: tuple[str, str] | None) -> str | None:
    """What tells a node's master key from others, when the key in the topology file is that."""
    if not isinstance(key, str) or proof is None or not hmac.compare_digest(value_of(proof[0], key), proof[1]):
        return None
    return hashlib.blake2b(key.encode(), key=_SALT, digest_size=8).hexdigest()


_SALT = secrets.token_bytes(32)


async def resolve_keys(
    secrets: Iterable[Secret | None], *, base: Path
) -> Mapping[Secret | None, str | MiroirError | None]:
    """The keys by where they come from, or why they cannot be had; commands run at once, not in turn."""

    async def resolve(secret: Secret | None) -> str | MiroirError | None:
        try:
            return await asyncio.to_thread(resolve_key, secret, base=base)
        except MiroirError as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = {secret: group.create_task(resolve(secret)) for secret in secrets}
    return {secret: task.result() for secret, task in tasks.items()}


async def look_at_serve(topology: Topology) -> ServeFacts:
    """The keys of `[serve]`, without any of them in what is told."""
    settings, base = topology.serve, topology.path.parent
    named = {"[serve]": settings.key, "[serve.admin]": settings.admin_key}
    given = {table: secret for table, secret in named.items() if secret is not None}
    keys = await resolve_keys(set(given.values()), base=base)
    found = {table: keys[secret] for table, secret in given.items()}
    weak = {table: weakness(key) for table, key in found.items() if isinstance(key, str)}
    return ServeFacts(
        settings=settings,
        key_problems=tuple(
            (table, error.message, error.hint) for table, error in found.items() if isinstance(error, MiroirError)
        ),
        weak_keys=tuple((str(source_of(given[table])), why) for table, why in weak.items() if why is not None),
        open_key_files=tuple(path for secret in given.values() if (path := open_key_file(secret, base)) is not None),
    )


def open_key_file(secret: Secret | None, base: Path) -> str | None:
    """The path of a key file that other users of this machine can read."""
    if secret is None or secret.file is None or not key_file_is_open(secret, base=base):
        return None
    return str(base / Path(secret.file).expanduser())
