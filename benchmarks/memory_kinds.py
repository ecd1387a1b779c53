"""The formula for Redis's memory: what each kind of record takes, as `docs/reference/memory.md` has it. Pure.

`benchmarks.memory` measures it, `tests/store/test_memory.py` holds it within a tenth.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Records of one kind: each takes `fixed` bytes, and one more for each character of what is said in `beside`.

    `of`: what is counted. `until`: how many there are, or for how long. `keys`: how their keys begin.
    `fill`: the function of `benchmarks.memory_records` that writes some; `count`: how many of them are measured.
    """

    of: str
    fixed: int
    until: str
    keys: tuple[str, ...]
    fill: str
    beside: str = ""
    count: int = 400

    def bytes(self, count: int, characters: int) -> int:
        return count * self.fixed + characters


KINDS = (
    Kind(
        of="replica of a shard",
        fixed=128,
        until="in an index with more than 512; below that 82",
        keys=("placements",),
        fill="replicas",
        count=2000,
    ),
    Kind(
        of="write that goes to 24 shards on two nodes",
        fixed=1215,
        until="of each index the newest 10,000, and those on their way",
        keys=("intents", "order", "known"),
        fill="intents",
    ),
    Kind(
        of="slot of a process that writes",
        fixed=735,
        beside="names of its nodes",
        until="as long as the process; of one that died until its keys are off the nodes",
        keys=("slots",),
        fill="slots",
    ),
    Kind(
        of="primary key written to a shard that is being copied",
        fixed=6,
        beside="the key",
        until="until it was copied",
        keys=("changes",),
        fill="changes",
        count=4000,
    ),
    Kind(
        of="task of a client",
        fixed=157,
        beside="its JSON: 170 to 350, and 15 for each node that carried it; an error has 300",
        until="7 days, a million at most",
        keys=("tasks", "task_marks", "task_times", "task_intents"),
        fill="tasks",
        count=4096,
    ),
    Kind(
        of="session",
        fixed=225,
        beside="twice its id",
        until="15 minutes, 100,000 at most",
        keys=("sessions",),
        fill="sessions",
    ),
    Kind(of="idempotency key", fixed=224, beside="the key", until="24 hours", keys=("idemp",), fill="idempotency"),
    Kind(
        of="command of the journal",
        fixed=1100,
        beside="its line",
        until="10,000 at most, 400 days",
        keys=("commands",),
        fill="commands",
    ),
    Kind(of="run", fixed=1250, until="200 that have ended", keys=("runs", "events"), fill="runs", count=200),
    Kind(
        of="shard that a run moves",
        fixed=207,
        beside="index and nodes",
        until="as long as the run",
        keys=("steps",),
        fill="steps",
    ),
    Kind(
        of="line in the journal of a run",
        fixed=101,
        beside="host, command, detail",
        until="as long as the run",
        keys=("events",),
        fill="events",
    ),
    Kind(
        of="import",
        fixed=1112,
        beside="names of its sources",
        until="500 that have ended",
        keys=("imports",),
        fill="imports",
    ),
    Kind(
        of="batch of an import, in 24 shards",
        fixed=268,
        until="as long as the import",
        keys=("batches",),
        fill="batches",
    ),
    Kind(
        of="index with one shard, without that",
        fixed=785,
        beside="its settings as JSON",
        until="until it is deleted",
        keys=("indexes", "settings", "lanes", "addressed", "order"),
        fill="indexes",
    ),
    Kind(
        of="API key",
        fixed=450,
        beside="name, description",
        until="all, deleted ones too",
        keys=("api_keys",),
        fill="api_keys",
    ),
    Kind(of="webhook", fixed=277, beside="its url", until="all", keys=("webhooks",), fill="webhooks"),
    Kind(
        of="job",
        fixed=368,
        beside="parameters",
        until="those that wait, 1,000 that have ended",
        keys=("jobs",),
        fill="jobs",
    ),
    Kind(of="canary", fixed=755, beside="its query", until="all", keys=("canary",), fill="canaries"),
    Kind(of="run of a canary", fixed=191, until="100 of each canary", keys=("canary_runs",), fill="canary_runs"),
    Kind(
        of="cursor of a feed",
        fixed=208,
        beside="twice sink and index",
        until="one a sink and index",
        keys=("cdc_cursor",),
        fill="cursors",
    ),
    Kind(of="tenant's key", fixed=333, beside="tenant, group", until="all", keys=("tenant_map",), fill="tenants"),
    Kind(of="rollover policy", fixed=800, beside="template", until="all", keys=("rollover",), fill="policies"),
    Kind(
        of="search page",
        fixed=425,
        beside="how it looks, as JSON",
        until="one an index",
        keys=("search_ui_config",),
        fill="pages",
    ),
    Kind(
        of="session of an admin",
        fixed=945,
        beside="user agent",
        until="until it ends",
        keys=("admin_session",),
        fill="admin_sessions",
    ),
)
"""The bigger ones first, roughly. What is not here (nodes, leases, proxies) is a few kilobytes together."""
