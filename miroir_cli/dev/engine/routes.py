"""The route table, and the handlers of indexes, settings, stats and keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .call import Call, Entry, Result, accepted
from .document_routes import DOCUMENT_ROUTES
from .errors import EngineError, not_supported
from .parameters import from_query, snake, take
from .search_routes import SEARCH_ROUTES
from .settings import DEFAULTS, error_code, validated
from .task_routes import TASK_ROUTES
from .tasks import CREATE, DELETE, SETTINGS, SWAP, UPDATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from .index import Index

__all__ = ["ROUTES", "Call", "Entry"]
VERSION = "1.50.0"
_UID = re.compile(r"[A-Za-z0-9_-]{1,400}\Z")


def health(_: Call) -> Result:
    """`GET /health`."""
    return 200, {"status": "available"}


def version(_: Call) -> Result:
    """`GET /version`: says which engine this is."""
    return 200, {
        "commitSha": "unknown",
        "commitDate": "unknown",
        "pkgVersion": VERSION,
        "engine": "miroir-embedded",
    }


def _index_stats(call: Call, index: Index) -> dict[str, Any]:
    size = sum(map(len, index.bodies.values()))
    return {
        "numberOfDocuments": len(index.bodies),
        "rawDocumentDbSize": size,
        "avgDocumentSize": size // len(index.bodies) if index.bodies else 0,
        "isIndexing": call.node.queue.is_indexing(index.uid),
        "numberOfEmbeddings": 0,
        "numberOfEmbeddedDocuments": 0,
        "fieldDistribution": {name: n for name, n in sorted(index.distribution.items()) if n},
    }


def stats(call: Call) -> Result:
    """`GET /stats`."""
    indexes = {uid: _index_stats(call, index) for uid, index in sorted(call.node.indexes.items())}
    size = sum(index["rawDocumentDbSize"] for index in indexes.values())
    updates = [index.updated_at for index in call.node.indexes.values()]
    last = max(updates, default=None)
    return 200, {"databaseSize": size, "usedDatabaseSize": size, "lastUpdate": last, "indexes": indexes}


def index_stats(call: Call) -> Result:
    """`GET /indexes/{uid}/stats`."""
    return 200, _index_stats(call, call.index())


def list_indexes(call: Call) -> Result:
    """`GET /indexes`."""
    kinds = {"offset": "int", "limit": "int"}
    query = from_query(call.query, kinds, "index")
    offset, limit = query.get("offset", 0), query.get("limit", 20)
    shown = [index.shown() for _, index in sorted(call.node.indexes.items())]
    page = shown[offset : offset + limit]
    return 200, {"results": page, "offset": offset, "limit": limit, "total": len(shown)}


def create_index(call: Call) -> Result:
    """`POST /indexes`."""
    body = take(call.object(), {"uid": "any", "primaryKey": "str"}, "index")
    if "uid" not in body:
        raise EngineError("missing_index_uid", "Missing field `uid`")
    uid = body["uid"]
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        message = (
            f"Invalid value at `.uid`: `{uid}` is not a valid index uid. Index uid can be an integer or a string"
            " containing only alphanumeric characters, hyphens (-) and underscores (_),"
            " and can not be more than 512 bytes."
        )
        raise EngineError("invalid_index_uid", message)
    call.node.keys.check_record(call.key, "indexes.create", uid)
    primary_key = body.get("primaryKey")
    details = {"primaryKey": primary_key}
    return accepted(call.node.queue.enqueue(CREATE, uid, details=details, order=details))


def get_index(call: Call) -> Result:
    """`GET /indexes/{uid}`."""
    return 200, call.index().shown()


def update_index(call: Call) -> Result:
    """`PATCH /indexes/{uid}`: set the primary key."""
    body = call.object()
    for name in ("createdAt", "updatedAt"):
        if name in body:
            raise EngineError(f"immutable_index_{snake(name)}", f"Immutable field `{name}`")
    if "uid" in body:
        raise not_supported("Renaming an index")
    values = take(body, {"primaryKey": "str"}, "index")
    details = {"primaryKey": values.get("primaryKey")}
    return accepted(call.node.queue.enqueue(UPDATE, call.uid(), details=details, order=details))


def delete_index(call: Call) -> Result:
    """`DELETE /indexes/{uid}`."""
    return accepted(call.node.queue.enqueue(DELETE, call.uid(), details={"deletedDocuments": None}))


def swap_indexes(call: Call) -> Result:
    """`POST /swap-indexes`."""
    swaps = call.json()
    if not isinstance(swaps, list) or not all(
        isinstance(swap, dict) and isinstance(swap.get("indexes"), list) and len(swap["indexes"]) == 2 for swap in swaps
    ):
        raise EngineError("invalid_swap_indexes", "Two indexes must be given for each swap.")
    named = [uid for swap in swaps for uid in swap["indexes"]]
    if len(set(named)) != len(named):
        raise EngineError("invalid_swap_duplicate_index_found", "Indexes must be declared only once during a swap.")
    shown = [{"indexes": swap["indexes"], "rename": bool(swap.get("rename"))} for swap in swaps]
    details = {"swaps": shown}
    return accepted(call.node.queue.enqueue(SWAP, None, details=details, order=details))


def get_settings(call: Call) -> Result:
    """`GET /indexes/{uid}/settings`."""
    return 200, call.index().settings.shown()


def patch_settings(call: Call) -> Result:
    """`PATCH /indexes/{uid}/settings`."""
    return _enqueue_settings(call, validated(call.object()))


def delete_settings(call: Call) -> Result:
    """`DELETE /indexes/{uid}/settings`."""
    order = {"settings": {}, "reset": True, "mayCreate": call.may_create()}
    return accepted(call.node.queue.enqueue(SETTINGS, call.uid(), details={}, order=order))


def _enqueue_settings(call: Call, changes: dict[str, Any]) -> Result:
    order = {"settings": changes, "mayCreate": call.may_create()}
    return accepted(call.node.queue.enqueue(SETTINGS, call.uid(), details=changes, order=order))


def _one_setting(name: str) -> list[Entry]:
    def get(call: Call) -> Result:
        return 200, call.index().settings[name]

    def put(call: Call) -> Result:
        value = call.json()
        try:
            return _enqueue_settings(call, validated({name: value}))
        except EngineError as error:
            raise EngineError(error.code, error.message.replace(f".{name}", "")) from None

    def delete(call: Call) -> Result:
        return _enqueue_settings(call, {name: ["*"] if name == "searchableAttributes" else None})

    kebab = error_code(name).removeprefix("invalid_settings_").replace("_", "-")
    path = f"/indexes/{{index_uid}}/settings/{kebab}"
    method = "PATCH" if isinstance(DEFAULTS[name], dict) and name != "synonyms" else "PUT"
    return [
        Entry("GET", path, "settings.get", get),
        Entry(method, path, "settings.update", put),
        Entry("DELETE", path, "settings.update", delete),
    ]


def list_keys(call: Call) -> Result:
    """`GET /keys`."""
    query = from_query(call.query, {"offset": "int", "limit": "int"}, "api_key")
    offset, limit = query.get("offset", 0), query.get("limit", 20)
    keys = call.node.keys.listed()
    page = keys[offset : offset + limit]
    return 200, {"results": page, "offset": offset, "limit": limit, "total": len(keys)}


def create_key(call: Call) -> Result:
    """`POST /keys`."""
    return 201, call.node.keys.create(call.object())


def get_key(call: Call) -> Result:
    """`GET /keys/{key}`."""
    return 200, call.node.keys.shown(call.node.keys.find(call.path["key"]))


def patch_key(call: Call) -> Result:
    """`PATCH /keys/{key}`."""
    return 200, call.node.keys.change(call.path["key"], call.object())


def delete_key(call: Call) -> Result:
    """`DELETE /keys/{key}`."""
    call.node.keys.delete(call.path["key"])
    return 204, None


def _with_master_key(handler: Callable[[Call], Result]) -> Callable[[Call], Result]:
    def checked(call: Call) -> Result:
        if call.node.keys.master_key is None:
            message = (
                "Meilisearch is running without a master key."
                " To access this API endpoint, you must have set a master key at launch."
            )
            raise EngineError("missing_master_key", message)
        return handler(call)

    return checked


def experimental(_: Call) -> Result:
    """`GET /experimental-features`: none is on."""
    names = (
        "metrics", "logsRoute", "editDocumentsByFunction", "containsFilter", "network", "getTaskDocumentsRoute",
        "compositeEmbedders", "chatCompletions", "multimodal", "vectorStoreSetting", "legacySearch",
    )  # fmt: skip
    return 200, dict.fromkeys(names, False)


def refuse(call: Call) -> Result:
    """Answer for what Meilisearch has and this node has not."""
    del call
    raise not_supported("This route")


_INDEX = "/indexes/{index_uid}"
ROUTES: list[Entry] = [
    Entry("GET", "/health", None, health),
    Entry("GET", "/version", "version", version),
    Entry("GET", "/stats", "stats.get", stats),
    Entry("GET", "/indexes", "indexes.get", list_indexes),
    Entry("POST", "/indexes", "indexes.create", create_index),
    Entry("GET", _INDEX, "indexes.get", get_index),
    Entry("PATCH", _INDEX, "indexes.update", update_index),
    Entry("DELETE", _INDEX, "indexes.delete", delete_index),
    Entry("GET", _INDEX + "/stats", "stats.get", index_stats),
    Entry("POST", "/swap-indexes", "indexes.swap", swap_indexes),
    Entry("GET", _INDEX + "/settings", "settings.get", get_settings),
    Entry("PATCH", _INDEX + "/settings", "settings.update", patch_settings),
    Entry("DELETE", _INDEX + "/settings", "settings.update", delete_settings),
    *(entry for name in DEFAULTS for entry in _one_setting(name)),
    Entry("GET", "/experimental-features", "experimental.get", experimental),
    Entry("GET", "/keys", "keys.get", _with_master_key(list_keys)),
    Entry("POST", "/keys", "keys.create", _with_master_key(create_key)),
    Entry("GET", "/keys/{key}", "keys.get", _with_master_key(get_key)),
    Entry("PATCH", "/keys/{key}", "keys.update", _with_master_key(patch_key)),
    Entry("DELETE", "/keys/{key}", "keys.delete", _with_master_key(delete_key)),
    *DOCUMENT_ROUTES,
    *SEARCH_ROUTES,
    *TASK_ROUTES,
]
_REFUSED = (
    ("PATCH", "/experimental-features"), ("POST", "/dumps"), ("POST", "/snapshots"), ("POST", "/export"),
    ("GET", "/batches"), ("GET", "/network"), ("PATCH", "/network"), ("GET", "/webhooks"), ("POST", "/webhooks"),
    ("GET", "/metrics"), ("GET", _INDEX + "/similar"), ("POST", _INDEX + "/similar"),
    ("POST", _INDEX + "/documents/edit"), ("POST", _INDEX + "/compact"), ("POST", _INDEX + "/fields"),
)  # fmt: skip
ROUTES += [Entry(method, path, "*", refuse) for method, path in _REFUSED]
