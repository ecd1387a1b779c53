"""Writes of the small cluster: sent to all nodes, to some of them, and settled by fiat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from miroir_cli.model import Index, Intent, IntentState, NodeName, ShardId, WriteKind
from miroir_cli.replication.verdict import Part, Sent, judge_sending
from miroir_cli.store.protocol import Store
from miroir_cli.store.records import KeysOf, Marked, Pending, Settlement, Verdict
from miroir_cli.store.slots import Slot
from miroir_cli.store.tasks import NewTask
from tests.store.contract.world import ONE, ZERO, A, B

BOTH = {ZERO: 1, ONE: 2}


async def begin(
    store: Store,
    index: Index,
    *,
    documents: Mapping[ShardId, int | None] = BOTH,
    kind: WriteKind = WriteKind.ADD,
    min_in_sync: int = 1,
    body: Mapping[str, object] | None = None,
    keys: KeysOf | None = None,
    task: NewTask | None = None,
    slot: Slot | None = None,
) -> Intent:
    return await store.open_intent(
        index,
        kind=kind,
        documents=documents,
        nonce="x",
        min_in_sync=min_in_sync,
        owner="test",
        body=body,
        keys=keys,
        task=task,
        slot=slot,
    )


async def end(
    store: Store, intent: Intent, *, task: int, by: Iterable[NodeName] = (A, B), doubt: Iterable[NodeName] = ()
) -> tuple[Intent, Marked]:
    """Some nodes have accepted it under this uid, of others it is not known, the rest has refused it."""
    accepted, unknown = set(by), set(doubt)

    def part(node: NodeName) -> Part:
        said = Sent.ACCEPTED if node in accepted else Sent.UNKNOWN if node in unknown else Sent.REFUSED
        return Part(shards=intent.shards, sent=said, task=task if node in accepted else None, documents=3)

    answers = {target.node: (part(target.node),) for target in intent.targets}
    return await store.close_intent(intent, lambda current, in_sync: judge_sending(current, in_sync, answers))


async def write(store: Store, index: Index, *, task: int = 10, by: Iterable[NodeName] = (A, B)) -> Intent:
    """A write of both shards that these nodes accept."""
    closed, _ = await end(store, await begin(store, index), task=task, by=by)
    return closed


def all_of_it(pending: Pending) -> Settlement:
    """Everything that was sent has been stored."""
    verdicts = []
    for intent in pending.intents:
        if intent.state is IntentState.OPEN:
            break
        ended = IntentState.DONE if intent.state is IntentState.SENT else intent.state
        verdicts.append(Verdict(n=intent.n, state=ended))
    return Settlement(verdicts=verdicts)


async def settle(store: Store, index: Index) -> int:
    """Everything that was sent is settled; the newest write."""
    pending = await store.pending(index.uid)
    await store.settle_intents(index, all_of_it)
    return pending.newest
