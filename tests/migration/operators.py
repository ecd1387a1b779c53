"""Those who change the cluster, and what happens to its nodes meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from miroir_cli.cluster import Cluster
from miroir_cli.migration.rebalance import Change, cancel, rebalance
from miroir_cli.migration.repair import repair
from miroir_cli.migration.run import RunOptions
from tests.migration.clients import command
from tests.migration.history import History
from tests.migration.wishes import any_wish


async def mover(history: History) -> None:
    lives = True
    for _ in range(history.climate.commands):
        await asyncio.sleep(history.random.choice((0.0, 0.1, 0.3)))
        title, work = _any_command(history, lives=lives)
        lives = await command(history, title, work)


async def healer(history: History, ends: asyncio.Event) -> None:
    while not ends.is_set():
        await command(history, "heal", lambda cluster: repair(cluster, options=_options(history)))
        await asyncio.sleep(history.random.choice((0.3, 1.0, 3.0)))


def _options(history: History) -> RunOptions:
    random = history.random
    return RunOptions(parallel=random.choice((1, 2, 4)), retry_for=2.0, max_pause=random.choice((0.05, 0.3, 2.0)))


def _any_command(history: History, *, lives: bool) -> tuple[str, Callable[[Cluster], Coroutine[Any, Any, Any]]]:
    """What is asked for next: after a kill rather what finishes it."""
    random = history.random
    title = random.choice(("change", "rebalance", "repair", "cancel") if not lives else ("change",) * 5 + ("repair",))
    if title == "repair":
        return title, lambda cluster: repair(cluster, options=_options(history))
    if title == "cancel":
        return title, lambda cluster: cancel(cluster, timeout=2.0)
    if title == "change":
        title = _change_topology(history)
    return title, lambda cluster: rebalance(cluster, Change(title=title), options=_options(history))


def _change_topology(history: History) -> str:
    placement = history.placement()
    title, history.topology = any_wish(history.random, history.topology, placement.nodes(), newcomer=history.new_node)
    return title


async def faults(history: History) -> None:
    random = history.random
    for _ in range(history.climate.faults):
        await asyncio.sleep(random.uniform(0.0, 3.0))
        node = random.choice(list(history.nodes.values()))
        lasting = random.choice((0.05, 0.4, 1.5, 4.0))
        match random.choice(("stop", "stop", "freeze", "hold")):
            case "stop":
                node.stop()
                if history.climate.loses_disk and not history.lost:
                    node.lose_disk()
                    history.lost[node.name] = await history.store.epoch()
                await asyncio.sleep(lasting)
                node.start()
            case "freeze":
                node.freeze()
                await asyncio.sleep(lasting)
                node.thaw()
            case "hold":
                node.hold(True)
                await asyncio.sleep(lasting)
                node.hold(False)
