"""Where the answers of a cluster are not those of one Meilisearch: the list that users find in the documentation.

Every request of the corpus that shows one names it (`Ask.differs`); a difference without a name fails the tests, and so
does a name whose difference is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Why the answers differ, on which routes, and whether they still have the same status and error code."""

    reason: str
    routes: tuple[str, ...]
    same_code: bool = False


DIFFERENCES: Final[dict[str, Difference]] = {
    "order of hits that are alike": Difference(
        reason="one server shows them in the order in which they were stored; a cluster in the order of their primary "
        "keys, which is the same on every copy",
        routes=(
            "GET /indexes/{uid}/documents",
            "POST /indexes/{uid}/documents/fetch",
            "GET /indexes/{uid}/search",
            "POST /indexes/{uid}/search",
            "POST /multi-search",
        ),
    ),
    "order of fields in hits": Difference(
        reason="a server shows the fields of a hit in the order in which it first saw them, so that nodes differ among "
        "themselves; a cluster shows the primary key, then the searchable fields, then the others by name",
        routes=("GET /indexes/{uid}/search", "POST /indexes/{uid}/search", "POST /multi-search"),
    ),
    "searches that are refused": Difference(
        reason="`media` and `personalize` cannot be merged exactly",
        routes=("POST /indexes/{uid}/search", "POST /multi-search"),
    ),
    "which of two errors": Difference(
        reason="when the index does not exist and the body is wrong as well, a cluster tells of the index",
        routes=("POST /indexes/{uid}/search",),
    ),
    "words for what is malformed": Difference(
        reason="the parsers are others: same status and code, other words for where a body or a token is broken",
        routes=("POST /indexes/{uid}/documents", "PUT /indexes/{uid}/documents"),
        same_code=True,
    ),
    "documents that are none": Difference(
        reason="a list of anything but objects is `malformed_payload` (400); Meilisearch 1.50 has an internal error",
        routes=("POST /indexes/{uid}/documents", "PUT /indexes/{uid}/documents"),
    ),
    "foreign keys": Difference(
        reason="the setting `foreignKeys` is refused: a node can only join its own documents",
        routes=("PATCH /indexes/{uid}/settings", "PUT /indexes/{uid}/settings/foreign-keys"),
    ),
    "performance details": Difference(
        reason="`showPerformanceDetails` tells how long the parts of a search took inside of one server",
        routes=("POST /indexes/{uid}/search", "POST /multi-search", "POST /indexes/{uid}/similar"),
    ),
    "wrong embedders": Difference(
        reason="fields of an embedder that do not go together fail the task, where one server refuses the request",
        routes=("PATCH /indexes/{uid}/settings", "PATCH /indexes/{uid}/settings/embedders"),
    ),
    "errors of settings": Difference(
        reason="settings that a node cannot apply (an embedder for documents without vectors) fail the task with "
        "`miroir_settings_invalid`, and the message names the node before it says what the node said",
        routes=("PATCH /indexes/{uid}/settings", "PATCH /indexes/{uid}/settings/embedders"),
    ),
    "names of keys": Difference(
        reason="names that begin with `_miroir:` are refused: they are for miroir's own keys on the nodes, which are "
        "shown to nobody",
        routes=("POST /keys", "PATCH /keys/{key}"),
    ),
    "dumps": Difference(
        reason="every node writes one of its own; the task names all of them",
        routes=("POST /dumps", "POST /snapshots"),
    ),
    "metrics": Difference(
        reason="those of `miroir serve`, without a feature to be switched on ([metrics](metrics.md))",
        routes=("GET /metrics",),
    ),
    "routes that are refused": Difference(reason="each with its reason in the list above", routes=()),
    "methods that are none": Difference(reason="a method that HTTP does not know is 400 instead of 405", routes=()),
}

CLIENT_STEPS: Final[dict[str, str]] = {
    "update embedders: task": "errors of settings",
    "update Embedders: task": "errors of settings",
    "failed tasks": "errors of settings",
    "dump: task": "dumps",
}
"""Steps of the clients' scripts that differ, and which of the differences it is."""
