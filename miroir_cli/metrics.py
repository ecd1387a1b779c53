"""What miroir counts and measures: the catalogue of metrics, and their values once somebody wants them.

A process that serves switches them on with `enable`; in every other one counting costs nothing. The one door to the
Prometheus client library, which is loaded then. Several processes of one server share a folder with their values.

A command that ends writes what `JOBS` lists into a file (`--metrics-file`), as text that `render_samples` makes without
that library.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

PREFIX = "miroir_"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(slots=True, kw_only=True, eq=False)
class Metric:
    """One metric: `combine` says how values of several processes become one."""

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"] = "counter"
    labels: tuple[str, ...] = ()
    buckets: Sequence[float] = SECONDS
    combine: Literal["sum", "livesum", "max", "livemax", "mostrecent"] = "livesum"
    _bound: Any = None
    _children: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def inc(self, *labels: str, amount: float = 1.0) -> None:
        """Count, for these values of the labels."""
        if self._bound is not None:
            self._child(labels).inc(amount)

    def dec(self, *labels: str, amount: float = 1.0) -> None:
        if self._bound is not None:
            self._child(labels).dec(amount)

    def set(self, value: float, *labels: str) -> None:
        if self._bound is not None:
            self._child(labels).set(value)

    def observe(self, value: float, *labels: str) -> None:
        if self._bound is not None:
            self._child(labels).observe(value)

    def _child(self, labels: tuple[str, ...]) -> Any:
        if not labels:
            return self._bound
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._bound.labels(*labels)
        return child


CATALOGUE: list[Metric] = []
"""What a process that serves counts."""

JOBS: list[Metric] = []
"""What a command that ends leaves in its metrics file."""

JOB_LABELS = ("cluster", "command", "index")
"""They make the values of several files told apart where one collector reads them all; `index` is empty for all."""


def _metric(name: str, help: str, **options: Any) -> Metric:
    metric = Metric(name=name, help=help, **options)
    CATALOGUE.append(metric)
    return metric


def _gauge(name: str, help: str, **options: Any) -> Metric:
    return _metric(name, help, kind="gauge", **options)


REQUESTS = _metric("requests_total", "Requests answered", labels=("method", "route", "status"))
REQUEST_DURATION = _metric(
    "request_duration_seconds", "Time from a request's head to the end of its answer", kind="histogram",
    labels=("method", "route"),
)  # fmt: skip
IN_FLIGHT = _gauge("requests_in_flight", "Requests being worked on")
QUEUE_DEPTH = _gauge("request_queue_depth", "Requests that wait for their turn")
NODE_HEALTHY = _gauge(
    "node_healthy", "1 for a node that answers, 0 for one that does not", labels=("node",), combine="mostrecent"
)
NODE_REQUEST_DURATION = _metric(
    "node_request_duration_seconds", "Time a node takes to answer a question", kind="histogram", labels=("node",)
)
NODE_ERRORS = _metric("node_errors_total", "Questions that a node did not answer", labels=("node",))
SHARD_COVERAGE = _gauge("shard_coverage", "Share of all shards that have an in-sync replica", combine="mostrecent")
DEGRADED_SHARDS = _gauge(
    "degraded_shards", "Shards with fewer in-sync replicas than they should have", combine="mostrecent"
)
SHARD_DISTRIBUTION = _gauge("shard_distribution", "Replicas on a node", labels=("node",), combine="mostrecent")
REPLICAS_STALE = _gauge(
    "replicas_stale", "Replicas on a node that missed a write", labels=("node",), combine="mostrecent"
)
FAN_OUT = _metric(
    "scatter_fan_out_size", "Nodes asked by a read", kind="histogram", buckets=(1, 2, 3, 4, 6, 8, 12, 16, 32)
)
PARTIAL_RESPONSES = _metric("scatter_partial_responses_total", "Answers that lack shards")
SCATTER_RETRIES = _metric("scatter_retries_total", "Shards asked again because a node failed")
TASKS = _gauge("tasks", "Tasks by their status", labels=("status",), combine="mostrecent")
HEDGES = _metric(
    "hedge_fired_total", "Late nodes of which the shards were asked elsewhere as well", labels=("outcome",)
)
REPLICA_SCORE = _gauge(
    "replica_selection_score", "How a node is preferred: lower is better", labels=("node",), combine="max"
)
COALESCED = _metric("query_coalesce_hits_total", "Searches answered by an equal one that was under way")
NARROWED = _metric("query_plan_narrowed_total", "Reads that a filter on primary keys led to fewer shards")
SESSION_WAIT = _metric(
    "session_wait_duration_seconds", "Time reads waited for their session's writes", kind="histogram"
)
SESSION_TIMEOUTS = _metric("session_wait_timeout_total", "Reads that gave up waiting for their session's writes")
IDEMPOTENCY_HITS = _metric("idempotency_hits_total", "Requests with a known idempotency key", labels=("outcome",))
ALIAS_FLIPS = _metric(
    "alias_flips_total", "Flips of aliases in the cluster, whoever made them, while this server watched"
)
DRIFT_REPAIRS = _metric("settings_drift_repair_total", "Indexes on a node whose settings were put back")
SETTINGS_MISMATCHES = _metric("settings_hash_mismatch_total", "Settings of a node found otherwise than they should be")
REBALANCING = _gauge("rebalance_in_progress", "1 while shards are being moved", combine="mostrecent")


def _job(name: str, help: str) -> Metric:
    metric = Metric(name=name, help=help, kind="gauge", labels=JOB_LABELS)
    JOBS.append(metric)
    return metric


JOB_FINISHED = _job("job_last_run_timestamp_seconds", "When the command ended last")
JOB_SUCCEEDED = _job("job_last_success_timestamp_seconds", "When the command ended last with exit status 0")
JOB_STATUS = _job("job_last_exit_status", "With which exit status the command ended last")
JOB_DURATION = _job("job_last_duration_seconds", "How long the command took the last time")
JOB_DOCUMENTS = _job("job_last_documents", "Documents imported, compared, copied or backed up the last time")
JOB_REJECTED = _job("job_last_rejected_documents", "Documents that the last import refused")
JOB_DIFFERENCES = _job("job_last_differences", "Replicas found to differ the last time")
JOB_BYTES = _job("job_last_bytes", "Size of the last backup")


Sample = tuple[Metric, Mapping[str, str], float]


def render_samples(samples: Iterable[Sample]) -> str:
    """Values in Prometheus's text format; those of one metric have to follow each other."""
    lines: list[str] = []
    seen: set[str] = set()
    for metric, labels, value in samples:
        name = PREFIX + metric.name
        if name not in seen:
            seen.add(name)
            lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]
        marks = ",".join(f'{label}="{_escaped(labels[label])}"' for label in metric.labels)
        lines.append(f"{name}{{{marks}}} {value:.15g}")
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def enable(folder: Path | None = None) -> None:
    """Switch counting on. With `folder`, processes that name the same one are counted together."""
    if folder is not None:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    import prometheus_client

    for metric in CATALOGUE:
        if metric._bound is not None:
            continue
        name, help, labels = PREFIX + metric.name, metric.help, metric.labels
        if metric.kind == "counter":
            metric._bound = prometheus_client.Counter(name, help, labels)
        elif metric.kind == "gauge":
            metric._bound = prometheus_client.Gauge(name, help, labels, multiprocess_mode=metric.combine)
        else:
            metric._bound = prometheus_client.Histogram(name, help, labels, buckets=metric.buckets)


def render() -> bytes:
    """All values in Prometheus's text format, of all processes that share a folder."""
    import prometheus_client
    from prometheus_client.multiprocess import MultiProcessCollector

    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return _own(prometheus_client.generate_latest())
    registry = prometheus_client.CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return prometheus_client.generate_latest(registry)


def _own(text: bytes) -> bytes:
    """Without what the library counts of itself and of Python."""
    kept = [line for line in text.splitlines(keepends=True) if PREFIX.encode() in line]
    return b"".join(kept)


def forget_process(pid: int) -> None:
    """Leave a process that has ended out of what only the living count."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]
