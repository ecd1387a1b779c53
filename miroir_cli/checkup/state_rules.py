"""What can be wrong with the state and the locks beside it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from miroir_cli.checkup.finding import Finding, error, info, quoted, span, warning
from miroir_cli.checkup.node_rules import is_foreign

if TYPE_CHECKING:
    from miroir_cli.checkup.facts import Facts
    from miroir_cli.store.locks import Held

LONG_FOR_A_WRITE = 150.0
"""Seconds above which an order lock has been held for longer than any single write takes."""


def state_unreadable(facts: Facts) -> Iterator[Finding]:
    """Damaged, written by a newer miroir, of another cluster, or not to be opened."""
    if facts.state.trouble is not None:
        trouble = facts.state.trouble
        yield error(trouble.check, facts.state.path, trouble.message, trouble.hint)


def state_missing(facts: Facts) -> Iterator[Finding]:
    if facts.state.trouble is not None or facts.state.cluster is not None:
        return
    members = [
        node.name
        for node in facts.nodes
        if node.disk is not None and node.disk.marker is not None and node.disk.marker.cluster == facts.cluster.name
    ]
    if members:
        yield error(
            "state.missing",
            facts.state.path,
            f"there is no state in `{facts.state.path}`, but {quoted(members)} belong to a cluster "
            f"`{facts.cluster.name}` already",
            f"{_put_back(facts)}, or run `miroir state recover` to rebuild it from the nodes",
        )
    else:
        yield info(
            "state.none",
            facts.state.path,
            "nothing was stored in this cluster yet",
            "run `miroir index create UID --primary-key FIELD`",
        )


def state_outdated(facts: Facts) -> Iterator[Finding]:
    """A state file that is older than what it had copied to the nodes itself."""
    record = facts.state.cluster
    if record is None:
        return
    newer = {
        node.name: node.disk.marker.epoch
        for node in facts.nodes
        if node.disk is not None
        and node.disk.marker is not None
        and not is_foreign(facts, node)
        and node.disk.marker.epoch > record.epoch
    }
    if newer:
        where = "the state in Redis at" if facts.state.in_redis else "state file"
        yield error(
            "state.outdated",
            facts.state.path,
            f"{where} `{facts.state.path}` is an older copy: it is at {record.epoch}, "
            f"{quoted(newer)} know {max(newer.values())}",
            "use the newest copy (`[state] url`), or without one run `miroir state recover`",
        )


def _put_back(facts: Facts) -> str:
    """The first thing to try for a state that is gone."""
    if facts.state.in_redis:
        return "see whether Redis came back without its data, or `[state] url` names another one"
    return "put the state file back (`[state] url`)"


def state_on_network(facts: Facts) -> Iterator[Finding]:
    if facts.state.network is not None:
        yield error(
            "state.network",
            facts.state.path,
            facts.state.network,
            "put the state file on a local disk (`[state] url` in the topology file)",
        )


def locks_held(facts: Facts) -> Iterator[Finding]:
    """Who holds which lock; whose process is stopped, or holds one for longer than a write takes."""
    passing = facts.passing_locks()
    for lock in facts.locks:
        if lock not in passing and not lock.stopped:
            continue
        what = lock_name(lock)
        if lock.owner is None:
            yield info("lock.held", lock.name, f"{what} is held by another process", "wait for it to end")
            continue
        pid, held_for = lock.owner.pid, max(0.0, facts.now - lock.owner.since)  # the clock may have been set back
        where = "" if lock.owner.host is None else f" on host `{lock.owner.host}`"
        who = f"process {pid}{where} (`{lock.owner.command}`) has held {what} for {span(held_for)}"
        if lock.stopped:
            hint = f"run `kill -CONT {pid}` to let it go on, or `kill -9 {pid}`: nothing is lost"
            yield error("lock.stopped", lock.name, f"{who} and is stopped", hint)
        elif lock.name.endswith(".order") and held_for > LONG_FOR_A_WRITE:
            yield warning(
                "lock.long", lock.name, who, f"look at what it does; `kill {pid}`{where} ends it: nothing is lost"
            )
        else:
            yield info("lock.held", lock.name, who, "nothing to do: others wait for it")


def lock_name(lock: Held) -> str:
    """What a lock is for, in words."""
    uid, _, kind = lock.name.rpartition(".")
    if kind == "order":
        return f"the order lock of index `{uid}`"
    if uid.endswith(".import"):
        return f"the lock of import {kind} into `{uid.removesuffix('.import')}`"
    return f"lock `{lock.name}`"


STATE_RULES = (state_unreadable, state_missing, state_outdated, state_on_network, locks_held)
