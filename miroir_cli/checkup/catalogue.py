"""Every check of the doctor by its name: what it looks at, and how bad what it finds is at worst. Pure.

Names are stable: scripts choose by them. The part before the dot is the group.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from miroir_cli.checkup.finding import Severity
from miroir_cli.errors import UsageError, known_instead

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`severity` is that of its worst finding."""

    name: str
    severity: Severity
    about: str

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]


def _check(name: str, severity: Severity, about: str) -> Check:
    return Check(name=name, severity=severity, about=about)


CHECKS = (
    _check("node.down", ERROR, "whether each node can be reached"),
    _check("node.hanging", ERROR, "whether each node answers in time"),
    _check("node.failing", ERROR, "whether each node answers without errors of its own"),
    _check("node.key", ERROR, "whether the nodes' keys can be had here and are taken"),
    _check("node.unsupported", ERROR, "whether each node is Meilisearch, 1.26 or newer"),
    _check("node.slow", WARNING, "how long a small question takes"),
    _check("node.versions", WARNING, "whether all nodes run one version"),
    _check("node.release", WARNING, "releases of Meilisearch with a known fault"),
    _check("node.engines", WARNING, "whether development nodes are mixed with servers"),
    _check("node.foreign", ERROR, "whether each disk belongs to this cluster"),
    _check("node.name", ERROR, "whether each url leads to the node of that name"),
    _check("node.disk", ERROR, "whether each node still has the disk that it had"),
    _check("node.new", INFO, "nodes of the topology file that have no shards yet"),
    _check("node.left", WARNING, "nodes that are no longer in the topology file and hold shards"),
    _check("node.clock", WARNING, "the nodes' clocks, against ours and each other"),
    _check("node.queue", WARNING, "queues in which nothing moves"),
    _check("node.backlog", WARNING, "queues that move and are far behind"),
    _check("node.unused", INFO, "databases of which a large part holds nothing"),
    _check("node.share", INFO, "nodes with far more documents than their weight asks for"),
    _check("node.full", ERROR, "tasks that failed for want of space"),
    _check("node.tasks", WARNING, "other tasks that failed within the last hour"),
    _check("cluster.replicas", INFO, "whether each document is on more than one node"),
    _check("cluster.margin", INFO, "whether writes go on when one node is away"),
    _check("cluster.zones", WARNING, "whether there are as many zones as copies"),
    _check("key.file", WARNING, "key files that other users of this machine can read"),
    _check("key.weak", WARNING, "keys that are easily guessed"),
    _check("key.none", WARNING, "nodes without a master key that others can reach, or beside others that have one"),
    _check("key.master", WARNING, "whether the nodes share a master key"),
    _check("key.apart", INFO, "API keys that only some of the nodes have"),
    _check("serve.key", WARNING, "whether the keys of `[serve]` can be had here"),
    _check("serve.open", WARNING, "whether `miroir serve` would let everybody in"),
    _check("serve.body", INFO, "whether `miroir serve` takes more at once than a server"),
    _check("index.uncovered", ERROR, "shards without any copy in sync"),
    _check("index.unreachable", ERROR, "shards of which no copy in sync answers"),
    _check("index.quorum", ERROR, "shards with fewer copies in sync than `min_in_sync`"),
    _check("index.missing", ERROR, "indexes that somebody deleted on a node"),
    _check("index.frozen", ERROR, "indexes that take no documents"),
    _check("index.placement", ERROR, "whether shards are where the topology file wants them"),
    _check("index.replicas", WARNING, "shards with fewer copies than asked for"),
    _check("index.zones", WARNING, "shards with more copies in one zone than need be"),
    _check("index.narrow", INFO, "indexes with too few shards for all nodes"),
    _check("index.fields", WARNING, "indexes near the number of fields that Meilisearch takes"),
    _check("index.documents", WARNING, "nodes near the number of documents that Meilisearch takes"),
    _check("index.heavy", INFO, "shards that take long to move"),
    _check("index.hits", INFO, "how deep clients may page (`maxTotalHits`)"),
    _check("index.facets", INFO, "how many values facets list (`maxValuesPerFacet`)"),
    _check("index.filters", INFO, "indexes in which every field is filterable"),
    _check("index.unfinished", WARNING, "creations and deletions that were cut off"),
    _check("replica.stale", WARNING, "copies that missed a write"),
    _check("replica.lost", WARNING, "copies whose disk was exchanged"),
    _check("replica.joining", WARNING, "copies that a run has begun to fill and nobody fills now"),
    _check("replica.leaving", WARNING, "copies that a run has begun to drop and nobody drops now"),
    _check("settings.drift", WARNING, "settings that somebody changed on a node"),
    _check("write.doubt", WARNING, "writes that were cut off"),
    _check("write.unsettled", INFO, "writes that are still in the nodes' queues"),
    _check("import.running", INFO, "imports at work"),
    _check("import.unfinished", WARNING, "imports that were cut off"),
    _check("run.unfinished", WARNING, "runs that were cut off or stopped"),
    _check("run.paused", INFO, "runs that somebody paused"),
    _check("run.held-up", WARNING, "what keeps a run from going on"),
    _check("lock.stopped", ERROR, "locks that a stopped process holds"),
    _check("lock.long", WARNING, "order locks held for longer than a write takes"),
    _check("lock.held", INFO, "who holds a lock"),
    _check("state.none", INFO, "whether anything was stored yet"),
    _check("state.missing", ERROR, "a state that is gone"),
    _check("state.outdated", ERROR, "a state that is an older copy"),
    _check("state.damaged", ERROR, "a state file that SQLite cannot read"),
    _check("state.too-new", ERROR, "a state that a newer miroir wrote"),
    _check("state.other-cluster", ERROR, "a state of another cluster"),
    _check("state.unreadable", ERROR, "a state that may not be opened"),
    _check("state.network", ERROR, "a state file on a network file system"),
    _check("state.space", ERROR, "how much room the disk under the state file has"),
    _check("state.log", WARNING, "a write-ahead log that SQLite cannot empty"),
    _check("state.aside", INFO, "old states that `miroir state recover` kept, in files or in Redis"),
    _check("state.open", WARNING, "whether other users of this machine can read the state file"),
    _check("state.unreachable", ERROR, "whether Redis answers, when the state is there"),
    _check("state.replica", ERROR, "whether that Redis takes writes"),
    _check("state.eviction", ERROR, "whether it may throw away what it was given"),
    _check("state.evicted", ERROR, "whether it has done so"),
    _check("state.disk", ERROR, "whether it can write to its disk"),
    _check("state.memory-only", WARNING, "whether it keeps the state on a disk"),
    _check("state.late-sync", WARNING, "whether what it has taken is on the disk"),
    _check("state.memory", ERROR, "how much of its memory is used"),
    _check("state.slow", WARNING, "how long a small question to it takes"),
    _check("state.unfenced", INFO, "nodes that cannot refuse what a frozen host sends late"),
    _check("state.failover", INFO, "whether it has replicas that may take its place"),
    _check("topology.writable", WARNING, "whether other users of this machine can change the topology file"),
    _check("host.descriptors", WARNING, "how many files may be open at once"),
    _check("host.python", WARNING, "whether miroir is tested with this Python"),
    _check("host.system", INFO, "whether this system tells what some checks need"),
)
"""In the order in which `miroir doctor --list-checks` shows them."""

CONFIG_CHECKS = (
    _check("file.unreadable", ERROR, "whether the topology file can be read"),
    _check("file.syntax", ERROR, "whether it is TOML"),
    _check("file.value", ERROR, "whether every key is known and every value can be used"),
    _check("file.secret", ERROR, "secrets in its keys, commands and comments"),
    _check("file.key", WARNING, "whether every key that it names can be had here"),
    _check("file.plain", INFO, "keys that go to other machines unencrypted"),
    _check("file.one-key", INFO, "whether the admin API has a key of its own"),
    _check("file.open", WARNING, "a proxy for other machines without any key"),
    _check("file.workers", INFO, "more workers than processors"),
    _check("change.added", INFO, "nodes that the state does not know yet"),
    _check("change.removed", INFO, "nodes that only the state knows"),
    _check("change.drained", INFO, "nodes that are to be drained and hold shards"),
    _check("change.url", INFO, "nodes that were at another address"),
    _check("change.replicas", INFO, "indexes with another number of copies"),
    _check("change.placement", INFO, "indexes of which shards have to move"),
    _check("change.unknown", INFO, "whether it was asked what the cluster has"),
)
"""What `miroir config check` finds beside some of the others."""


def selected(only: Iterable[str] = (), skip: Iterable[str] = ()) -> frozenset[str]:
    """The names of the checks to apply: `only` these (all when there are none), without those to `skip`. A group's
    name stands for all of the group. Raises `UsageError` with the likely name."""
    wanted = _named(only) or frozenset(check.name for check in CHECKS)
    return wanted - _named(skip)


def _named(words: Iterable[str]) -> frozenset[str]:
    return frozenset(name for word in words for name in _meant(word))


def _meant(word: str) -> frozenset[str]:
    found = frozenset(check.name for check in CHECKS if word in (check.name, check.group))
    if found:
        return found
    names = [name for check in CHECKS for name in (check.name, check.group)]
    raise UsageError(
        f"there is no check `{word}`", hint=known_instead(word, names, listing="miroir doctor --list-checks")
    )
