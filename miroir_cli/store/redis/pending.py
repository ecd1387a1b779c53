"""What is not settled of an index, read in two round trips whatever there is of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.model import Index, Intent, NodeName, ReplicaState, ShardId
from miroir_cli.store.encoding import from_json
from miroir_cli.store.journal import Mover
from miroir_cli.store.records import InSync, Lane, Pending
from miroir_cli.store.redis.active import require_active
from miroir_cli.store.redis.changes import WATCHES, read_watches
from miroir_cli.store.redis.cluster import Placement, decode_placements
from miroir_cli.store.redis.keys import content_key, content_of, key
from miroir_cli.store.redis.order import (
    Guess,
    foreign_command,
    intent_key,
    intent_of,
    known_command,
    order_key,
    tasks_of,
)
from miroir_cli.store.redis.values import answered
from miroir_cli.store.refusals import deleted

if TYPE_CHECKING:
    from miroir_cli.store.redis.fields import Command
    from miroir_cli.store.redis.transaction import Transaction


async def read_pending(
    tx: Transaction, index: str | Index, *, guess: Guess | None = None, also: Sequence[str] = ()
) -> Pending:
    """Intents above `settled` of the index of a name, or of an index in hand, and what they are judged by.

    That writers go on meanwhile begins nothing again: an intent that is not open any more is changed by nobody but who
    settles the index, and those that are open or not seen here are nobody's to judge yet. `also`: hashes that the
    caller needs too.
    """
    uid = index.uid if isinstance(index, Index) else index
    if isinstance(index, Index):
        guess = Guess(content=content_key(index))
    keys = [key("indexes", uid), key("placements", uid), key("lanes", uid), key("movers", uid), WATCHES, *also]
    newest = None
    if guess is not None:
        *_, newest = await tx.ask([("HGETALL", each) for each in keys], beside=[_newest_command(guess.content)])
    fields, placed, lanes, movers, watches, *_ = await tx.hashes(keys)
    if isinstance(index, Index):
        await require_active(tx, index)
    elif fields.get("state") != "active":
        raise deleted(uid)
    content = content_of(fields)
    if guess is None or content != guess.content:
        (newest,) = await tx.ask([_newest_command(content)], watch=False)
    settled = int(fields["settled"])
    tx.heed_number(content, max(int(newest or 0), settled))
    replicas = decode_placements(placed)
    by_node = {NodeName(node): _lane(node, text) for node, text in lanes.items()}
    intents, known = await _read_writes(tx, uid, fields, range(settled + 1, int(newest or 0) + 1), by_node)
    return Pending(
        incarnation=int(fields["incarnation"]),
        settled=settled,
        newest=intents[-1].n if intents else settled,
        intents=intents,
        in_sync=in_sync_of(replicas),
        lanes=by_node,
        known=known,
        movers={**read_movers(movers), **read_watches(watches, content)},
        bases={
            (node, shard): placement.base
            for (shard, node), placement in replicas.items()
            if placement.state is ReplicaState.SERVING and placement.base > 0
        },
    )


def _newest_command(content: str) -> Command:
    return ("HGET", order_key(content), "newest")


async def _read_writes(
    tx: Transaction, uid: str, fields: Mapping[str, str], numbers: range, lanes: Mapping[NodeName, Lane]
) -> tuple[tuple[Intent, ...], dict[NodeName, frozenset[int]]]:
    content = content_of(fields)
    commands: list[Command] = [("HGETALL", intent_key(content, n)) for n in numbers]
    for node, lane in lanes.items():
        commands.append(known_command(content, node, above=lane.looked))
        commands.append(foreign_command(content, node, above=lane.looked))
    answers = await tx.ask(commands, watch=False)
    intents = tuple(
        intent_of(fields, uid, n, answered(found))
        for n, found in zip(numbers, answers[: len(numbers)], strict=True)
        if found
    )
    tasks = answers[len(numbers) :]
    known = zip(lanes, tasks[::2], tasks[1::2], strict=True)
    return intents, {node: tasks_of([*own, *strangers]) for node, own, strangers in known}


def _lane(node: str, text: str) -> Lane:
    found = from_json(text)
    return Lane(node=NodeName(node), base=found["base"], looked=found["looked"])


def in_sync_of(replicas: Mapping[tuple[ShardId, NodeName], Placement]) -> InSync:
    nodes: dict[ShardId, set[NodeName]] = {}
    for (shard, node), placement in replicas.items():
        if placement.state is ReplicaState.SERVING:
            nodes.setdefault(shard, set()).add(node)
    return {shard: frozenset(names) for shard, names in nodes.items()}


def read_movers(fields: Mapping[str, str]) -> dict[str, Mover]:
    """Attempts of moves by their nonces."""
    found: dict[str, Any] = {nonce: from_json(text) for nonce, text in fields.items()}
    return {
        nonce: Mover(node=NodeName(each["node"]), shards=frozenset(map(ShardId, each["shards"])))
        for nonce, each in found.items()
    }
