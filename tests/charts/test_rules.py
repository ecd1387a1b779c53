"""What the chart refuses: each rule has values that are refused and near ones that are accepted.

`BY_SCHEMA` are rules of values.schema.json, `BY_TEMPLATE` those that compare what is counted from several values.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from typing import Any

import pytest
import yaml

from miroir_cli.topology.serve import ServeSettings
from tests.charts.chart import (
    CHART,
    REFUSED_BY_SCHEMA,
    REFUSED_BY_TEMPLATE,
    Values,
    set_in,
    template,
    together,
)
from tests.conftest import ROOT

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`refused` with words of the error that say where, and what is `accepted` instead."""

    refused: Values
    says: str
    accepted: Values


SQLITE = together(set_in("state.backend", "sqlite"), set_in("proxy.replicas", 1))
AUTOSCALED = set_in("proxy.autoscaling.enabled", True)
OWN_REDIS = set_in("state.redis.url", "redis://state.example.org:6379/0")
THREE_ZONES = set_in("meilisearch.zones", [{"name": name, "label": f"eu-{name}"} for name in "abc"])


def zones(*pairs: tuple[str, str]) -> Values:
    return set_in("meilisearch.zones", [{"name": name, "label": label} for name, label in pairs])


def nodes(count: int, *, copies: int = 1, enough: int = 1, drained: tuple[str, ...] = ()) -> Values:
    return {
        "meilisearch": {"nodes": count, "drained": list(drained)},
        "cluster": {"replicas": copies, "minInSync": enough},
    }


BY_SCHEMA = {
    "several proxies need Redis": Rule(
        refused=together(SQLITE, set_in("proxy.replicas", 2)), says="proxy.replicas", accepted=SQLITE
    ),
    "autoscaling needs Redis": Rule(
        refused=together(SQLITE, AUTOSCALED), says="proxy.autoscaling.enabled", accepted=AUTOSCALED
    ),
    "autoscaling begins with two": Rule(
        refused=together(AUTOSCALED, set_in("proxy.autoscaling.minReplicas", 1)),
        says="proxy.autoscaling.minReplicas",
        accepted=together(AUTOSCALED, set_in("proxy.autoscaling.minReplicas", 2)),
    ),
    "autoscaling ends above its beginning": Rule(
        refused=together(AUTOSCALED, set_in("proxy.autoscaling", {"minReplicas": 5, "maxReplicas": 4})),
        says="proxy.autoscaling.maxReplicas",
        accepted=together(AUTOSCALED, set_in("proxy.autoscaling", {"minReplicas": 5, "maxReplicas": 5})),
    ),
    "autoscaling measures a request": Rule(
        refused=together(AUTOSCALED, set_in("proxy.resources.requests.cpu", None)),
        says="proxy.resources.requests",
        accepted=set_in("proxy.resources.requests.cpu", None),
    ),
    "each copy has a node of its own": Rule(
        refused=nodes(3, copies=4), says="cluster.replicas", accepted=nodes(4, copies=4)
    ),
    "one node holds one copy": Rule(refused=nodes(1, copies=2), says="cluster.replicas", accepted=nodes(1, copies=1)),
    "no write waits for more copies than there are": Rule(
        refused=nodes(3, copies=2, enough=3), says="cluster.minInSync", accepted=nodes(3, copies=2, enough=2)
    ),
    "a lease lasts longer than until it is renewed": Rule(
        refused=set_in("state.redis.lease", {"renewal": 3, "expiry": 3}),
        says="state.redis.lease.expiry",
        accepted=set_in("state.redis.lease", {"renewal": 3, "expiry": 4}),
    ),
    "the longest renewal has its expiry too": Rule(
        refused=set_in("state.redis.lease", {"renewal": 10, "expiry": 10}),
        says="state.redis.lease.expiry",
        accepted=set_in("state.redis.lease", {"renewal": 10, "expiry": 11}),
    ),
    "no password is in the url of Redis": Rule(
        refused=set_in("state.redis.url", "redis://:hunter2@state.example.org:6379/0"),
        says="state.redis.url",
        accepted=set_in("state.redis.url", "rediss://miroir@state.example.org:6379/0"),
    ),
    "no secret is a value": Rule(
        refused=set_in("secrets.meilisearch.value", "hunter2"),
        says="secrets.meilisearch",
        accepted=set_in("secrets.meilisearch", {"name": "nodes", "key": "key"}),
    ),
    "no secret is a variable of Meilisearch": Rule(
        refused=set_in("meilisearch.env.MEILI_MASTER_KEY", "hunter2"),
        says="meilisearch.env",
        accepted=set_in("meilisearch.env.MEILI_EXPERIMENTAL_DROP_SEARCH_AFTER", "30"),
    ),
    "no secret of a webhook is a variable of Meilisearch": Rule(
        refused=set_in("meilisearch.env.MEILI_TASK_WEBHOOK_AUTHORIZATION_HEADER", "Bearer hunter2"),
        says="meilisearch.env",
        accepted=set_in("meilisearch.env.MEILI_TASK_WEBHOOK_URL", "http://hooks.example.org"),
    ),
    "no secret is a key of [serve]": Rule(
        refused=set_in("proxy.serve.key_command", "echo hunter2"),
        says="proxy.serve",
        accepted=set_in("secrets.clients.name", "clients"),
    ),
    "data stays where it is": Rule(
        refused=set_in("meilisearch.env.MEILI_DB_PATH", "/tmp/data.ms"),
        says="meilisearch.env",
        accepted=set_in("meilisearch.env.MEILI_HTTP_PAYLOAD_SIZE_LIMIT", "200Mb"),
    ),
    "nodes have a master key": Rule(
        refused=set_in("secrets.meilisearch.name", ""),
        says="secrets.meilisearch.name",
        accepted=set_in("secrets.clients.name", ""),
    ),
    "the chart's Redis has a password": Rule(
        refused=set_in("secrets.redis.name", ""),
        says="secrets.redis.name",
        accepted=together(OWN_REDIS, set_in("secrets.redis.name", "")),
    ),
    "metrics are read with a key": Rule(
        refused=together(set_in("metrics.serviceMonitor.enabled", True), set_in("secrets.admin.name", "")),
        says="secrets.admin.name",
        accepted=set_in("metrics.serviceMonitor.enabled", True),
    ),
    "the version of Meilisearch is chosen": Rule(
        refused=set_in("meilisearch.image.tag", "latest"),
        says="meilisearch.image.tag",
        accepted=set_in("meilisearch.image.tag", "v1.50.2@sha256:0a1b"),
    ),
    "Meilisearch is new enough": Rule(
        refused=set_in("meilisearch.image.tag", "v1.25.0"),
        says="meilisearch.image.tag",
        accepted=set_in("meilisearch.image.tag", "v1.26.0"),
    ),
    "the version of miroir is chosen": Rule(
        refused=set_in("image.tag", "latest"), says="image.tag", accepted=set_in("image.tag", "0.1.0")
    ),
    "nobody is root": Rule(
        refused=set_in("meilisearch.runAsUser", 0),
        says="meilisearch.runAsUser",
        accepted=set_in("meilisearch.runAsUser", 1001),
    ),
    "memory has a limit": Rule(
        refused=set_in("proxy.resources.limits.memory", None),
        says="proxy.resources.limits",
        accepted=set_in("proxy.resources.limits.memory", "512Mi"),
    ),
    "copies have time to catch up when pods are replaced": Rule(
        refused=set_in("meilisearch.minReadySeconds", 0),
        says="meilisearch.minReadySeconds",
        accepted=set_in("meilisearch.minReadySeconds", 10),
    ),
    "the state file is on a volume of one host": Rule(
        refused=together(SQLITE, set_in("state.sqlite.accessMode", "ReadWriteMany")),
        says="state.sqlite.accessMode",
        accepted=together(SQLITE, set_in("state.sqlite.accessMode", "ReadWriteOnce")),
    ),
    "zones say where nodes run": Rule(
        refused=together(THREE_ZONES, set_in("meilisearch.pod.affinity.nodeAffinity", {"x": {}})),
        says="meilisearch.pod.affinity",
        accepted=together(THREE_ZONES, set_in("meilisearch.pod.affinity.podAffinity", {})),
    ),
    "there is a proxy": Rule(
        refused=set_in("proxy.replicas", 0), says="proxy.replicas", accepted=set_in("proxy.replicas", 1)
    ),
    "the state is in one of two places": Rule(
        refused=set_in("state.backend", "memory"), says="state.backend", accepted=set_in("state.backend", "redis")
    ),
    "keys are known at the top": Rule(
        refused=set_in("replicas", 3), says="replicas", accepted=set_in("proxy.replicas", 3)
    ),
    "keys are known further down": Rule(
        refused=set_in("cluster.min_in_sync", 2), says="min_in_sync", accepted=set_in("cluster.minInSync", 2)
    ),
    "keys of [serve] are known": Rule(
        refused=set_in("proxy.serve.worker", 2), says="worker", accepted=set_in("proxy.serve.workers", 2)
    ),
    "no key is taken away": Rule(
        refused=set_in("cluster.minInSync", None), says="minInSync", accepted=set_in("cluster.minInSync", 1)
    ),
}

BY_TEMPLATE = {
    "each copy has a node that is not drained": Rule(
        refused=nodes(3, copies=3, drained=("r-meilisearch-2",)),
        says="cluster.replicas is 3, but 2 nodes are not drained",
        accepted=nodes(3, copies=2, drained=("r-meilisearch-2",)),
    ),
    "drained nodes are there": Rule(
        refused=nodes(3, drained=("r-meilisearch-3",)),
        says="there is no node `r-meilisearch-3`; there are r-meilisearch-0, r-meilisearch-1, r-meilisearch-2",
        accepted=nodes(4, drained=("r-meilisearch-3",)),
    ),
    "zones have the same number of nodes": Rule(
        refused=together(THREE_ZONES, nodes(4)),
        says="meilisearch.nodes is 4, which is no multiple of the 3 zones",
        accepted=together(THREE_ZONES, nodes(6)),
    ),
    "zones have different names": Rule(
        refused=together(zones(("a", "eu-1"), ("a", "eu-2")), nodes(2)),
        says="two zones have the same name or label",
        accepted=together(zones(("a", "eu-1"), ("b", "eu-2")), nodes(2)),
    ),
    "zones are different": Rule(
        refused=together(zones(("a", "eu-1"), ("b", "eu-1")), nodes(2)),
        says="two zones have the same name or label",
        accepted=together(zones(("a", "eu-1"), ("b", "eu-2")), nodes(2)),
    ),
}


@pytest.mark.parametrize("rule", BY_SCHEMA.values(), ids=BY_SCHEMA)
def test_the_schema_refuses(rule: Rule) -> None:
    done = template(rule.refused)
    assert done.returncode != 0 and REFUSED_BY_SCHEMA in done.stderr
    assert rule.says in done.stderr
    assert "hunter2" not in done.stderr
    accepted = template(rule.accepted)
    assert accepted.returncode == 0, accepted.stderr


@pytest.mark.parametrize("rule", BY_TEMPLATE.values(), ids=BY_TEMPLATE)
def test_a_template_refuses_what_the_schema_cannot_compare(rule: Rule) -> None:
    done = template(rule.refused)
    assert done.returncode != 0 and REFUSED_BY_TEMPLATE in done.stderr
    assert rule.says in done.stderr
    accepted = template(rule.accepted)
    assert accepted.returncode == 0, accepted.stderr


def cases(values: object) -> list[tuple[str, int, str, str, int]]:
    """The rules of the schema that compare two numbers, one for each value of the first: path, value, path, bound."""
    found = []
    if isinstance(values, dict):
        if set(values) == {"if", "then"} and '"const": ' in (text := json.dumps(values["if"])) and text.endswith("}"):
            first, second = leaf(values["if"]), leaf(values["then"])
            if isinstance(first[2], int) and not isinstance(first[2], bool):
                found.append((first[0], first[2], second[0], second[1], int(second[2])))
        for each in values.values():
            found += cases(each)
    elif isinstance(values, list):
        for each in values:
            found += cases(each)
    return found


def leaf(schema: Any) -> tuple[str, str, Any]:
    """The one thing that a schema of one property says: its path, the word and the value."""
    path = []
    while "properties" in schema:
        ((name, schema),) = schema["properties"].items()
        path.append(name)
    ((word, value),) = schema.items()
    return ".".join(path), word, value


def test_no_number_is_missing_where_two_are_compared() -> None:
    compared = cases(SCHEMA)
    assert {(first, bounded) for first, _, bounded, _, _ in compared} == {
        ("meilisearch.nodes", "cluster.replicas"),
        ("replicas", "minInSync"),
        ("renewal", "expiry"),
        ("minReplicas", "maxReplicas"),
    }
    found = {
        bounded: [(value, bound) for _, value, other, _, bound in compared if other == bounded]
        for _, _, bounded, _, _ in compared
    }
    # Up to the most, or one before it, copies that there may be; from the least number of proxies but one.
    assert found["cluster.replicas"] == [(number, number) for number in range(1, 7)]
    assert found["minInSync"] == [(number, number) for number in range(1, 7)]
    assert found["expiry"] == [(number, number + 1) for number in range(1, 11)]
    assert found["maxReplicas"] == [(number, number) for number in range(3, 11)]
    cluster, proxy = SCHEMA["properties"]["cluster"]["properties"], SCHEMA["properties"]["proxy"]["properties"]
    assert cluster["replicas"]["maximum"] == cluster["minInSync"]["maximum"] == 7
    autoscaling = proxy["autoscaling"]["properties"]
    assert (autoscaling["minReplicas"]["maximum"], autoscaling["maxReplicas"]["minimum"]) == (10, 2)
    lease = SCHEMA["properties"]["state"]["properties"]["redis"]["properties"]["lease"]["properties"]
    assert (lease["renewal"]["minimum"], lease["renewal"]["maximum"]) == (1, 10)


def objects(schema: Any, path: str = "") -> list[tuple[str, Any]]:
    """All schemas of objects with known keys."""
    found = [(path, schema)] if schema.get("additionalProperties") is False else []
    for name, each in schema.get("properties", {}).items():
        found += objects(each, f"{path}.{name}" if path else name)
    return found


def at(path: str) -> Any:
    found: Any = yaml.safe_load((CHART / "values.yaml").read_text())
    for name in filter(None, path.split(".")):
        found = found[name]
    return found


def test_the_schema_knows_every_value_and_no_other() -> None:
    known = objects(SCHEMA)
    assert len(known) > 12
    for path, schema in known:
        if path == "proxy.serve":
            continue
        assert set(at(path)) == set(schema["properties"]) - {"global"}, path
        if path != "":
            assert set(schema["required"]) == set(schema["properties"]), path
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"]) - {"global"}


def test_the_keys_of_serve_are_those_of_the_topology_file() -> None:
    known = SCHEMA["properties"]["proxy"]["properties"]["serve"]["properties"]
    settings = {field.name for field in fields(ServeSettings)}
    assert set(known) == settings - {"host", "port", "key", "admin_key"}


def test_the_guide_lists_every_rule() -> None:
    guide = (ROOT / "docs" / "guides" / "kubernetes.md").read_text()
    listed = re.findall(r"^\| (.+?) \| (schema|template) \|", guide, re.MULTILINE)
    assert listed == [(name, "schema") for name in BY_SCHEMA] + [(name, "template") for name in BY_TEMPLATE]
