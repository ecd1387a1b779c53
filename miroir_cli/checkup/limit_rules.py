"""Indexes that come near what Meilisearch can hold, or whose settings make searches dear. Pure.

The limits are those of Meilisearch's documentation (known limitations): fields of an index, documents of an index on
one node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from miroir_cli.checkup.finding import Finding, info, warning
from miroir_cli.indexes.settings import DEFAULT_MAX_TOTAL_HITS, DEFAULT_MAX_VALUES_PER_FACET

if TYPE_CHECKING:
    from miroir_cli.checkup.facts import Facts

MOST_FIELDS = 65_536
MOST_DOCUMENTS = 2**32
NEAR = 0.5
"""The part of a limit from which on it is told."""

HEAVY_SHARD = 10_000_000
"""Documents of a shard above which moving or mending one takes long."""

USUAL_BODY = 100
"""Megabytes that Meilisearch takes in one request unless `--http-payload-size-limit` says otherwise."""

DEEP_HITS = 10 * DEFAULT_MAX_TOTAL_HITS
MANY_VALUES = 10 * DEFAULT_MAX_VALUES_PER_FACET


def many_fields(facts: Facts) -> Iterator[Finding]:
    """Meilisearch fails documents that bring an index more fields than it can number."""
    for index in facts.state.indexes:
        uid, name = index.map.index.uid, index.map.index.stored_as
        counts = [node.stats.indexes[name].fields for node in facts.nodes if node.stats and name in node.stats.indexes]
        most = max(counts, default=0)
        if most > NEAR * MOST_FIELDS:
            yield warning(
                "index.fields",
                uid,
                f"index `{uid}` has {most:,} different fields, Meilisearch takes {MOST_FIELDS:,} and fails documents "
                "beyond that",
                "put varying names into values, such as a list of `name` and `value`: names of fields should be few",
            )


def many_documents(facts: Facts) -> Iterator[Finding]:
    """Nodes near the number of documents that an index can have there, and shards that are heavy to move."""
    for index in facts.state.indexes:
        uid, called, shards = index.map.index.uid, index.map.index.stored_as, index.map.index.shards
        stored = {
            node.name: node.stats.indexes[called].documents
            for node in facts.nodes
            if node.stats and called in node.stats.indexes
        }
        for name, documents in stored.items():
            if documents > NEAR * MOST_DOCUMENTS:
                yield warning(
                    "index.documents",
                    f"{uid}@{name}",
                    f"node `{name}` holds {documents:,} documents of index `{uid}`, Meilisearch takes "
                    f"{MOST_DOCUMENTS:,} at most",
                    "add nodes with `miroir node add NAME=URL`",
                )
        held = {name: sum(replica.node == name for replica in index.map.replicas) for name in stored}
        heaviest = max((stored[name] / held[name] for name in stored if held[name]), default=0.0)
        if heaviest > HEAVY_SHARD:
            yield info(
                "index.heavy",
                uid,
                f"a shard of index `{uid}` has {heaviest:,.0f} documents: moving or mending one takes long",
                f"make it anew with more than {shards:,} shards when you import it next (`miroir index create UID "
                "--shards N`)",
            )


def deep_pages(facts: Facts) -> Iterator[Finding]:
    """A raised `maxTotalHits`: a page near its end asks each node for all hits before it."""
    for index in facts.state.indexes:
        found = _inner(index.map.index.settings, "pagination", "maxTotalHits")
        if found is not None and found > DEEP_HITS:
            uid = index.map.index.uid
            yield info(
                "index.hits",
                uid,
                f"index `{uid}` lets clients page through {found:,} hits (`maxTotalHits`): a page near the end asks "
                "each node for as many",
                f"run `miroir index settings reset {uid} pagination`; many documents are read with `miroir export`",
            )


def many_values(facts: Facts) -> Iterator[Finding]:
    for index in facts.state.indexes:
        found = _inner(index.map.index.settings, "faceting", "maxValuesPerFacet")
        if found is not None and found > MANY_VALUES:
            uid = index.map.index.uid
            yield info(
                "index.facets",
                uid,
                f"index `{uid}` lists up to {found:,} values of each facet (`maxValuesPerFacet`): each search with "
                "facets reads them all on each node",
                f"run `miroir index settings reset {uid} faceting`; `miroir facet-search` finds values among many",
            )


def every_field_filterable(facts: Facts) -> Iterator[Finding]:
    for index in facts.state.indexes:
        if any("*" in _patterns(rule) for rule in index.map.index.settings.get("filterableAttributes") or ()):
            uid = index.map.index.uid
            yield info(
                "index.filters",
                uid,
                f"index `{uid}` makes every field filterable (`*`): each new one costs room and time on every node",
                f"name those that filters and facets use: `miroir index settings set {uid} filterableAttributes=LIST`",
            )


def large_bodies(facts: Facts) -> Iterator[Finding]:
    """A proxy that takes more at once than a server does by itself: it is sent on shard by shard."""
    limit = facts.serve.settings.body_limit_mb if facts.serve is not None else 0
    if limit > USUAL_BODY:
        yield info(
            "serve.body",
            "serve",
            f"`miroir serve` takes bodies of {limit} MB, a Meilisearch {USUAL_BODY} MB unless it was started with "
            "another limit: a larger one is sent on in parts, and fails where the part of one shard is too large",
            f"start the servers with `--http-payload-size-limit {limit}MB`, or set `body_limit_mb = {USUAL_BODY}`",
        )


def _patterns(rule: object) -> list[object]:
    if isinstance(rule, Mapping):
        return list(rule.get("attributePatterns") or ())
    return [rule]


def _inner(settings: Mapping[str, Any], key: str, name: str) -> int | None:
    found = settings.get(key)
    value = found.get(name) if isinstance(found, Mapping) else None
    return value if isinstance(value, int) else None


LIMIT_RULES = (
    many_fields,
    many_documents,
    deep_pages,
    many_values,
    every_field_filterable,
    large_bodies,
)
