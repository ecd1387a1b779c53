"""What can be wrong with the Redis that keeps the state: it must keep what it was given, and answer soon. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from miroir_cli.checkup.finding import Finding, error, info, quoted, several, size, span, warning
from miroir_cli.checkup.machine_rules import KEPT_LONG

if TYPE_CHECKING:
    from miroir_cli.checkup.facts import Facts

KEEPING: Final = "noeviction"
"""The one policy under which a full Redis refuses writes rather than forget what it has."""

NEARLY_FULL: Final = 0.8
FULL: Final = 0.95
"""Parts of `maxmemory`."""

SLOW: Final = 0.05
"""Seconds for the quickest of some small questions; every write to an index asks two."""


def state_evicts(facts: Facts) -> Iterator[Finding]:
    """Records of the state are thrown away when the memory is full, or have been."""
    server = facts.state.server
    if server is None or (server.policy in (None, KEEPING) and not server.evicted):
        return
    hint = f"run `redis-cli config set maxmemory-policy {KEEPING}`, and write it into Redis's configuration"
    where = facts.state.path
    if server.evicted:
        message = f"Redis has thrown away {several(server.evicted, 'key')} for want of memory: parts of the state may "
        yield error("state.evicted", where, f"{message}be gone", f"{hint}; then run `miroir verify`")
    if server.policy not in (None, KEEPING):
        finding = error if server.max_memory else warning
        limit = f"at {size(server.max_memory)}" if server.max_memory else "once `maxmemory` is set"
        message = f"Redis throws parts of the state away {limit}: its `maxmemory-policy` is `{server.policy}`"
        yield finding("state.eviction", where, message, hint)


def state_on_replica(facts: Facts) -> Iterator[Finding]:
    server = facts.state.server
    if server is not None and server.primary is not None:
        yield error(
            "state.replica",
            facts.state.path,
            f"this Redis is a replica of {server.primary} and takes no writes",
            "name the primary in `[state] url`, or an address that follows it",
        )


def state_not_on_disk(facts: Facts) -> Iterator[Finding]:
    """What of the state a crash of Redis would take."""
    server = facts.state.server
    if server is None:
        return
    where = facts.state.path
    if server.writes_fail:
        yield error(
            "state.disk",
            where,
            "Redis could not write to its disk the last time, and takes no writes as long as that is so",
            "see its log, and the free space and mode of its folder",
        )
    if server.appendonly is False:
        yield warning(
            "state.memory-only",
            where,
            "Redis keeps the state in memory (`appendonly no`): a crash takes everything since its last snapshot, and "
            "writes are then refused until `miroir state recover`",
            "set `appendonly yes` and `appendfsync always` in Redis's configuration",
        )
    elif server.appendonly and server.appendfsync not in (None, "always"):
        yield warning(
            "state.late-sync",
            where,
            f"Redis answers before a write is on its disk (`appendfsync {server.appendfsync}`): a power cut can take "
            "the last ones, also marks of replicas that missed something",
            "run `redis-cli config set appendfsync always`, and write it into Redis's configuration",
        )


def state_fails_over(facts: Facts) -> Iterator[Finding]:
    server = facts.state.server
    if server is not None and server.replicas:
        yield info(
            "state.failover",
            facts.state.path,
            f"Redis has {several(server.replicas, 'replica')}, which may lack its last writes: a failover that loses "
            "some is noticed, and ends with `miroir state recover`",
            "nothing to do; an automatic failover costs you that command now and then",
        )


def state_short_of_memory(facts: Facts) -> Iterator[Finding]:
    server = facts.state.server
    if server is None or not server.max_memory:
        return
    share = server.used_memory / server.max_memory
    if share < NEARLY_FULL:
        return
    finding = error if share >= FULL else warning
    yield finding(
        "state.memory",
        facts.state.path,
        f"Redis has used {size(server.used_memory)} of {size(server.max_memory)}: when it is full no write is taken",
        "raise its `maxmemory`, or take out of it what is not miroir's",
    )


def state_slow(facts: Facts) -> Iterator[Finding]:
    server = facts.state.server
    if server is not None and server.latency > SLOW:
        yield warning(
            "state.slow",
            facts.state.path,
            f"Redis takes {server.latency * 1000:.0f} ms for a small question, and every write asks several",
            "its load, its disk (`appendfsync always` waits for it), the network between",
        )


def state_aside_in_redis(facts: Facts) -> Iterator[Finding]:
    """What `miroir state recover` has kept of old states, a week after the newest."""
    kept = () if facts.state.server is None else facts.state.server.aside
    if not kept:
        return
    age = facts.now - max(each.at for each in kept)
    if age > KEPT_LONG:
        deleting = "; ".join(_deleting(each.name) for each in kept)
        yield info(
            "state.aside",
            facts.state.path,
            f"{several(len(kept), 'old state')} of `miroir state recover` {'is' if len(kept) == 1 else 'are'} still in "
            f"Redis ({several(sum(each.keys for each in kept), 'key')}, the newest {span(age)} old)",
            f"when nobody misses anything, delete what nobody needs: {deleting}",
        )


def _deleting(name: str) -> str:
    """The commands that delete an old state, the last of which forgets it."""
    listed = f"{name}:_index"
    every, _, one = name.rpartition(":")
    return (
        f"redis-cli --raw zrange {listed} 0 -1 | xargs -d '\\n' -n 1000 redis-cli unlink; redis-cli unlink {listed}; "
        f"redis-cli zrem {every}:_index {one}"
    )


def state_unfenced(facts: Facts) -> Iterator[Finding]:
    """Nodes on which writers cannot have keys of their own: such a one takes a request from whoever sends it."""
    if not facts.state.in_redis:
        return
    nodes: dict[str, list[str]] = {}
    for node in facts.nodes:
        if node.trouble is None and node.unfenced is not None:
            nodes.setdefault(node.unfenced, []).append(node.name)
    for reason, names in nodes.items():
        one = len(names) == 1
        yield info(
            "state.unfenced",
            facts.state.path,
            f"{'node' if one else 'nodes'} {quoted(names)} {'is' if one else 'are'} unfenced, for each {reason}: a "
            "host that is frozen in the middle of a write for longer than its lease, and thawed, may still send it "
            "there. That is found at the next write or `miroir verify`, and the replica is mended from another one",
            "start the nodes with --master-key, and name a key in the topology file that may manage keys; with 2 "
            "copies or more nothing has to be done",
        )


REDIS_RULES = (
    state_evicts,
    state_on_replica,
    state_not_on_disk,
    state_fails_over,
    state_short_of_memory,
    state_slow,
    state_aside_in_redis,
    state_unfenced,
)
