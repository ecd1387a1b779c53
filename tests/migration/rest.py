"""The end of a history: everything answers again, and what was begun has to come to an end."""

from __future__ import annotations

import asyncio
from typing import Any

from miroir_cli.cluster import Cluster
from miroir_cli.errors import Refused
from miroir_cli.migration.rebalance import Change, Outcome, make_plan, rebalance
from miroir_cli.migration.repair import accept_data_loss, last_resorts, repair
from miroir_cli.model import SHARD_FIELD, IndexMap, NodeName, ReplicaState, spell_shard
from miroir_cli.store.journal import Changes, RunKind
from tests.faults.world import UID, shard_of
from tests.migration.history import PATIENCE, History

ROUNDS = 4
"""Of `rebalance` and `repair` that may be needed."""


async def come_to_rest(history: History) -> None:
    """Everything answers again; what was begun is finished."""
    history.weather.clear()
    history.tell("all is well again")
    await asyncio.sleep(PATIENCE.grace)
    for _ in range(ROUNDS):
        cluster = history.cluster("end")
        await _accept_losses(history, cluster)
        for work in (rebalance(cluster, Change(title="end")), repair(cluster)):
            try:
                _tell_outcome(history, await work)
            except Refused as refused:
                history.tell(f"end: {refused.message}")
        history.show_map()
        plan, _ = await make_plan(cluster, Change(title="end"))
        if not plan.steps and not plan.refusals:
            break
    else:
        history.violated(f"it does not come to rest: {plan.steps} {plan.refusals}")
    await _check_end(history)


def _tell_outcome(history: History, outcome: Outcome) -> None:
    if outcome.result is not None:
        errors = [step.error for step in outcome.result.steps if step.error]
        history.tell(f"end: {outcome.result.json()} {errors}")


async def _accept_losses(history: History, cluster: Cluster) -> None:
    if not history.lost:
        return
    with_losses = await last_resorts(cluster, UID)
    for resort in with_losses:
        history.ledger.unknown |= {key for key in history.keys if shard_of(key, history.index) == resort.shard}
    await accept_data_loss(cluster, with_losses)


async def _check_end(history: History) -> None:
    history.check()
    map = history.placement()
    for shard, names in map.in_sync().items():
        if len(names) != history.topology.cluster.replicas:
            history.violated(f"shard {shard} is on {names}, not on {history.topology.cluster.replicas} nodes")
        if await history.store.changes(UID, shard, above=-1) != Changes():
            history.violated(f"changes of shard {shard} are kept for nobody")
    if any(replica.state is not ReplicaState.SERVING for replica in map.replicas):
        history.violated("not everything serves")
    for kind in (RunKind.REBALANCE, RunKind.REPAIR):
        if (run := await history.store.unfinished_run(kind)) is not None:
            history.violated(f"run {run} is not finished")
    _check_copies(history, map)


def _check_copies(history: History, map: IndexMap) -> None:
    serving = {(replica.node, spell_shard(replica.shard)) for replica in map.replicas}
    copies: dict[str, dict[NodeName, Any]] = {key: {} for key in history.keys}
    for node in history.topology.nodes:
        for key, document in history.nodes[node.name].documents_of(UID).items():
            copies[key][node.name] = document
            if (node.name, document[SHARD_FIELD]) not in serving:
                history.violated(f"{key} was left behind on {node.name}")
    for key, found in copies.items():
        expected = map.in_sync()[shard_of(key, history.index)]
        documents = list(found.values())
        if documents and (set(found) != set(expected) or documents != documents[:1] * len(documents)):
            history.violated(f"the replicas of {key} differ: {found}, expected on {expected}")
