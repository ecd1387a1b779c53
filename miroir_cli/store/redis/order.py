"""The one order of an index's writes as hashes of Redis: how an intent is kept, and which there are.

- `miroir:order:<content>`: `newest` and `oldest`, the numbers of the intents that are kept: all between them are.
- `miroir:intents:<content>:<n>`: nonce, kind, state, owner, created_at, targets, body, error, slot, and as far as
  there are any: refused, failed, pieces.
- `miroir:addressed:<content>`: the nodes to which any of it was sent (score 1), or of which any task is known (0).
- `miroir:known:<content>:<node>`: tasks of a node that are accounted for, `<task>:<n>` by the intent that it carries,
  `<task>:own` without one; `miroir:foreign_tasks:<content>:<node>`: those that nobody had recorded. Score: the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.model import IndexUid, Intent, IntentState, IntentTarget, NodeName, Piece, ShardId, WriteKind
from miroir_cli.store.encoding import from_json, to_json
from miroir_cli.store.redis.keys import key
from miroir_cli.store.redis.values import answered

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction

OWN: Final = "own"
"""In the place of an intent's number: a task of miroir's own that carries none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What the index of a name was (`content_key`), and which its newest intent, when this process looked last: read
    with the first round trip, it saves the second one. Nothing rests on it."""

    content: str
    newest: int = 0


Guesses = dict[str, Guess]
"""By the names of indexes."""


def order_key(content: str) -> str:
    return key("order", content)


def intent_key(content: str, n: int) -> str:
    return key("intents", content, n)


def known_key(content: str, node: NodeName) -> str:
    return key("known", content, node)


def foreign_key(content: str, node: NodeName) -> str:
    return key("foreign_tasks", content, node)


def addressed_key(content: str) -> str:
    return key("addressed", content)


# -- numbers


async def read_newest_number(tx: Transaction, content: str, settled: int) -> int:
    """A store that was rebuilt knows no intents: then the newest one is settled. Raises `StateUnavailable` when this
    process knows of a later one."""
    newest = max(int((await tx.hash(order_key(content))).get("newest", "0")), settled)
    tx.heed_number(content, newest)
    return newest


async def read_targets(tx: Transaction, content: str, numbers: Iterable[int]) -> list[frozenset[ShardId]]:
    """The shards of these intents, which never change, for each of their nodes."""
    found = await tx.ask([("HGET", intent_key(content, n), "targets") for n in numbers], watch=False)
    return [_shards(target["shards"]) for targets in found for target in from_json(targets or "{}").values()]


# -- one intent


def intent_fields(intent: Intent) -> dict[str, str]:
    """What may change of an intent. `None` and nothing are the same here: without the field."""
    pieces = {
        target.node: [[piece.task, sorted(piece.shards), piece.documents] for piece in target.pieces]
        for target in intent.targets
        if target.pieces
    }
    fields: dict[str, Any] = {
        "state": intent.state.value,
        "refused": to_json(sorted(intent.refused)) if intent.refused else None,
        "failed": to_json(sorted(intent.failed)) if intent.failed else None,
        "pieces": to_json(pieces) if pieces else None,
        "error": intent.error,
    }
    return {name: value for name, value in fields.items() if value is not None}


def new_fields(intent: Intent, *, owner: str, created_at: int) -> dict[str, str]:
    """All of an intent that is being recorded."""
    fixed = {
        "nonce": intent.nonce,
        "kind": intent.kind.value,
        "owner": owner,
        "created_at": str(created_at),
        "targets": to_json(
            {target.node: {"shards": sorted(target.shards), "documents": target.documents} for target in intent.targets}
        ),
    }
    if intent.body is not None:
        fixed["body"] = to_json(intent.body)
    if intent.slot is not None:
        fixed["slot"] = intent.slot
    return fixed | intent_fields(intent)


def intent_of(index: Mapping[str, str], uid: str, n: int, fields: Mapping[str, str]) -> Intent:
    """`index`: the fields of the index of that name."""
    pieces = from_json(fields.get("pieces", "{}"))
    return Intent(
        uid=IndexUid(uid),
        incarnation=int(index["incarnation"]),
        n=n,
        nonce=fields["nonce"],
        kind=WriteKind(fields["kind"]),
        state=IntentState(fields["state"]),
        targets=tuple(
            IntentTarget(
                node=NodeName(node),
                shards=_shards(target["shards"]),
                documents=target["documents"],
                pieces=tuple(
                    Piece(task=task, shards=_shards(shards), documents=documents)
                    for task, shards, documents in pieces.get(node, ())
                ),
            )
            for node, target in sorted(from_json(fields["targets"]).items())
        ),
        refused=_shards(from_json(fields.get("refused", "[]"))),
        failed=_shards(from_json(fields.get("failed", "[]"))),
        error=fields.get("error"),
        body=from_json(fields["body"]) if "body" in fields else None,
        slot=fields.get("slot"),
    )


def _shards(numbers: Iterable[int]) -> frozenset[ShardId]:
    return frozenset(map(ShardId, numbers))


def change_intent(tx: Transaction, content: str, before: Intent, after: Intent) -> None:
    """Write what has become different of an intent."""
    old, new = intent_fields(before), intent_fields(after)
    written = [(name, value) for name, value in new.items() if old.get(name) != value]
    gone = [name for name in old if name not in new]
    at = intent_key(content, before.n)
    if written:
        tx.also("HSET", at, *(part for pair in written for part in pair))
    if gone:
        tx.also("HDEL", at, *gone)


async def read_fields(
    tx: Transaction, content: str, numbers: Iterable[int], *, watch: bool = True
) -> dict[int, dict[str, str]]:
    """What is kept of these intents, by their numbers; those that are not there are left out."""
    wanted = list(numbers)
    found = await tx.ask([("HGETALL", intent_key(content, n)) for n in wanted], watch=watch)
    return {n: answered(answer) for n, answer in zip(wanted, found, strict=True) if answer}


# -- tasks that are known


def note_addressed(tx: Transaction, content: str, nodes: Iterable[NodeName], *, sent: bool) -> None:
    """Something is on its way to nodes (`sent`), or a task of theirs is known. Nothing is read for it."""
    names = sorted(nodes)
    if names:
        tx.also("ZADD", addressed_key(content), "GT", *(part for name in names for part in (int(sent), name)))


def note_known(tx: Transaction, content: str, node: NodeName, task: int, *, carries: int | str) -> None:
    tx.add(known_key(content, node), known_member(task, carries), task)


def known_member(task: int, carries: int | str) -> str:
    return f"{task}:{carries}"


def pieces_of(fields: Mapping[str, str]) -> list[tuple[NodeName, int]]:
    """The tasks that carry an intent: node and uid."""
    by_node = from_json(fields.get("pieces", "{}"))
    return [(NodeName(node), piece[0]) for node, pieces in by_node.items() for piece in pieces]


def known_command(content: str, node: NodeName, *, above: int) -> tuple[str | int | float, ...]:
    """Asks for the tasks of a node that are accounted for."""
    return ("ZRANGE", known_key(content, node), f"({above}", "+inf", "BYSCORE")


def foreign_command(content: str, node: NodeName, *, above: int) -> tuple[str | int | float, ...]:
    """Asks for the tasks of a node that nobody had recorded."""
    return ("ZRANGE", foreign_key(content, node), f"({above}", "+inf", "BYSCORE")


def tasks_of(names: Iterable[str]) -> frozenset[int]:
    """The tasks that members of these sets name."""
    return frozenset(int(name.partition(":")[0]) for name in names)


async def forget_above(tx: Transaction, content: str, node: NodeName, *, top: int) -> None:
    """A node's tasks above one are others than those that had these numbers."""
    own, strangers = known_key(content, node), foreign_key(content, node)
    for member in await tx.ranged(strangers, low=top + 1):
        tx.discard(strangers, member.name)
    carried: dict[int, set[int]] = {}
    for member in await tx.ranged(own, low=top + 1):
        tx.discard(own, member.name)
        task, _, carries = member.name.partition(":")
        if carries != OWN:
            carried.setdefault(int(carries), set()).add(int(task))
    for n, fields in zip(carried, await tx.hashes(intent_key(content, n) for n in carried), strict=True):
        pieces = from_json(fields.get("pieces", "{}"))
        left = [piece for piece in pieces.pop(node, ()) if piece[0] not in carried[n]]
        fields["pieces"] = to_json(pieces | {node: left} if left else pieces)
