"""The fields that the documents of an index have, with what its settings make of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from miroir_cli.indexes.settings import widened
from miroir_cli.model import RESERVED_PREFIX, Index, Json
from miroir_cli.node.client import path_of

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

ALL = 100_000
FLAGS = ("displayed", "searchable", "sortable", "distinct", "rankingRule", "filterable")


async def list_fields(cluster: Cluster, uid: str, filter: Json) -> list[dict[str, Any]]:
    """Every field once, by name, of those that the filter leaves. `filter`: Meilisearch's, known to be well formed."""
    map = await cluster.reload(uid)
    found = await cluster.fleet.all(
        lambda client: client.read(path_of(map.index.stored_as, "fields"), {"limit": ALL}),
        names=[name for name in map.nodes() if name in cluster.fleet],
    )
    fields: dict[str, dict[str, Any]] = {}
    for answer in found.values():
        for field in answer["results"]:
            fields.setdefault(field["name"], field)
    own = [_as_users(fields[name], map.index) for name in sorted(fields) if not name.startswith(RESERVED_PREFIX)]
    return [field for field in own if _is_wanted(field, filter)]


def _as_users(field: Json, index: Index) -> dict[str, Any]:
    """A field as a node with the user's settings alone would show it."""
    shown = dict(field)
    if field["name"] in widened(index.settings, primary_key=index.primary_key):
        shown["displayed"] = {**field["displayed"], "enabled": False}
    rules = index.settings.get("rankingRules") or ()
    if field["name"] == index.primary_key and not any(rule.startswith(f"{index.primary_key}:") for rule in rules):
        shown["rankingRule"] = {"enabled": False}
    return shown


def _is_wanted(field: Json, filter: Json) -> bool:
    patterns = filter.get("attributePatterns")
    if patterns is not None and not _matches(patterns, field["name"]):
        return False
    return all(filter.get(flag) is None or _enabled(field, flag) is filter[flag] for flag in FLAGS)


def _enabled(field: Json, flag: str) -> bool:
    return bool(field[flag]["enabled"])


def _matches(patterns: Iterable[str], name: str) -> bool:
    """As Meilisearch matches attributes: a star at one of the ends, or a name with all below it."""
    return any(_matches_one(pattern, name) for pattern in patterns)


def _matches_one(pattern: str, name: str) -> bool:
    if pattern.startswith("*") and pattern.endswith("*") and len(pattern) > 1:
        return pattern[1:-1] in name
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    if pattern.startswith("*"):
        return name.endswith(pattern[1:])
    return name == pattern or name.startswith(f"{pattern}.")
