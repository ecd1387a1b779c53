"""Indexes: made, listed, shown, changed, deleted, measured, compacted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from miroir_cli.errors import AlreadyExists, ApiError, PrimaryKeyFixed, ReservedField
from miroir_cli.indexes.catalog import UID, create_index, delete_index, plan_index
from miroir_cli.indexes.compaction import compact_index
from miroir_cli.indexes.counts import count_documents
from miroir_cli.indexes.fields import list_fields
from miroir_cli.indexes.measures import Measure, last_change, last_changes, measure_all, measure_index
from miroir_cli.indexes.names import Swap, swap_indexes
from miroir_cli.indexes.primary_key import set_primary_key
from miroir_cli.model import RESERVED_INDEX
from miroir_cli.proxy.access import invalid_key
from miroir_cli.proxy.forward import json_of, refused_by_a_node
from miroir_cli.proxy.key_bodies import written
from miroir_cli.proxy.parameters import Parameter, bad_uid, flag, read_parameters, whole
from miroir_cli.proxy.router import Call, Reply, Route
from miroir_cli.proxy.shapes import immutable, object_in, text_in, wrong_value
from miroir_cli.proxy.sizes import for_people, in_bytes
from miroir_cli.proxy.spelling import refuse_unknown
from miroir_cli.proxy.work import accepted

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index, Json

CREATING = ("uid", "primaryKey")
CHANGING = ("primaryKey", "uid")
PAGE = {"offset": Parameter(whole, "invalid_index_offset"), "limit": Parameter(whole, "invalid_index_limit")}


def _size_format(given: str) -> str:
    if given not in ("human", "raw"):
        raise ApiError(
            "invalid_stats_size_format",
            f"Unknown value `{given}` for parameter `sizeFormat`: expected one of `human`, `raw`",
        )
    return given


MEASURING = {
    "showInternalDatabaseSizes": Parameter(flag, "invalid_stats_show_internal_database_sizes"),
    "sizeFormat": Parameter(_size_format, "invalid_stats_size_format"),
}
DEFAULT_LIMIT = 20


async def create(call: Call) -> Reply:
    """`POST /indexes`: with a primary key, or without one until the first documents tell it."""
    body = object_in(await json_of(call))
    given: dict[str, Any] = {}
    for name, value in body.items():
        refuse_unknown((name,), CREATING, what="field")
        given[name] = _uid(value) if name == "uid" else _key(value)
    if "uid" not in given:
        raise ApiError("missing_index_uid", "Missing field `uid`")
    uid, key = given["uid"], given.get("primaryKey")
    require_ours(uid)
    if not call.caller.sees(uid):
        raise invalid_key()
    cluster = call.service.cluster

    async def work() -> None:
        try:
            await create_index(cluster, await plan_index(cluster, uid, primary_key=key))
        except AlreadyExists:
            if await cluster.store.map(uid) is None:
                raise
            raise _exists(uid) from None

    return await accepted(call, work, type="indexCreation", uid=uid, details={"primaryKey": key})


async def list_all(call: Call) -> Reply:
    """`GET /indexes`."""
    values = read_parameters(call.query, PAGE)
    offset, limit = values.get("offset", 0), values.get("limit", DEFAULT_LIMIT)
    cluster = call.service.cluster
    seen = [index for index in await cluster.store.indexes() if call.caller.sees(index.uid)]
    page = seen[offset : offset + limit]
    changes = await last_changes(cluster) if page else {}
    results = [_shown(index, changes.get(index.stored_as)) for index in page]
    return Reply(body={"results": results, "offset": offset, "limit": limit, "total": len(seen)})


async def show(call: Call) -> Reply:
    """`GET /indexes/{uid}`."""
    cluster = call.service.cluster
    map = await cluster.reload(await call.index())
    shown = _shown(map.index, await last_change(cluster, map))
    return Reply(body={**shown, "uid": call.uid})  # a client that asks by an alias goes on by it


def _shown(index: Index, changed: str | None) -> dict[str, Any]:
    made = written(index.created_at * 1_000_000)
    return {
        "uid": index.uid,
        "createdAt": made,
        "updatedAt": changed or made,
        "primaryKey": index.primary_key or None,
    }


async def change(call: Call) -> Reply:
    """`PATCH /indexes/{uid}`: its name, and its primary key as long as it holds no document."""
    named = call.uid
    body = object_in(await json_of(call))
    key = new = None
    for name, value in body.items():
        if name in ("createdAt", "updatedAt"):
            raise immutable(name, CHANGING, code=f"immutable_index_{name[:-2]}_at")
        refuse_unknown((name,), CHANGING, what="field")
        if name == "primaryKey":
            key = _key(value)
        elif value is not None:
            new = text_in(value, code="invalid_index_uid", where=".uid")
            if not UID.fullmatch(new):
                raise ApiError("invalid_index_uid", bad_uid(new))
            require_ours(new)
            if not call.caller.sees(new):
                raise invalid_key()
    uid = await call.index(written=True) if new in (None, named) else await call.index_itself()
    cluster = call.service.cluster

    async def work() -> None:
        await cluster.reload(uid)
        if new not in (None, uid) and await cluster.store.map(str(new)) is not None:
            raise _exists(str(new))
        if key is not None:
            await _set_key(cluster, uid, key)
        if new not in (None, uid):
            try:
                await swap_indexes(cluster, [Swap(first=uid, second=str(new), rename=True)])
            except AlreadyExists:
                raise _exists(str(new)) from None

    details: dict[str, Any] = {"primaryKey": key}
    if new is not None:
        details |= {"oldIndexUid": uid, "newIndexUid": new}
    indexes = call.names_of(uid) if new is None else (uid, new)
    return await accepted(call, work, type="indexUpdate", uid=uid, details=details, indexes=indexes)


async def _set_key(cluster: Cluster, uid: str, key: str) -> None:
    try:
        await set_primary_key(cluster, uid, key)
    except PrimaryKeyFixed as error:
        raise ApiError(
            "index_primary_key_already_exists",
            f"Index `{uid}`: Index already has a primary key: `{error.key}`.",
        ) from None


def _exists(uid: str) -> ApiError:
    return ApiError("index_already_exists", f"Index `{uid}` already exists.")


def require_ours(uid: str) -> None:
    """Raise for a name that clients cannot give."""
    if uid.startswith(RESERVED_INDEX):
        raise ReservedField(f"index uids that begin with `{RESERVED_INDEX}` are miroir's own")


async def remove(call: Call) -> Reply:
    """`DELETE /indexes/{uid}`."""
    uid = await call.index_itself()
    cluster = call.service.cluster

    async def work() -> Json:
        count = await count_documents(cluster, await cluster.reload(uid))
        await delete_index(cluster, uid)
        return {"deletedDocuments": count.documents}

    return await accepted(call, work, type="indexDeletion", uid=uid, details={"deletedDocuments": None})


async def stats_of_one(call: Call) -> Reply:
    """`GET /indexes/{uid}/stats`."""
    values = read_parameters(call.query, MEASURING)
    sizes, human = values.get("showInternalDatabaseSizes", False), values.get("sizeFormat") == "human"
    measure = await measure_index(call.service.cluster, await call.index(), sizes=sizes)
    return Reply(body=_measured(measure, sizes=sizes, human=human))


async def stats_of_all(call: Call) -> Reply:
    """`GET /stats`."""
    values = read_parameters(call.query, MEASURING)
    sizes, human = values.get("showInternalDatabaseSizes", False), values.get("sizeFormat") == "human"
    cluster = call.service.cluster
    uids = [index.uid for index in await cluster.store.indexes() if call.caller.sees(index.uid)]
    whole = await measure_all(cluster, uids, sizes=sizes)
    return Reply(
        body={
            "databaseSize": _size(whole.size, human=human),
            "usedDatabaseSize": _size(whole.used, human=human),
            "lastUpdate": whole.last_update if uids else None,
            "indexes": {uid: _measured(each, sizes=sizes, human=human) for uid, each in whole.indexes.items()},
        }
    )


def _measured(measure: Measure, *, sizes: bool, human: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "numberOfDocuments": measure.documents,
        "rawDocumentDbSize": _size(measure.raw_size, human=human),
        "avgDocumentSize": _size(measure.average_size, human=human),
        "isIndexing": measure.indexing,
    }
    if sizes:
        found["internalDatabaseSizes"] = {name: _size(size, human=human) for name, size in measure.sizes.items()}
    return {
        **found,
        "numberOfEmbeddings": measure.embeddings,
        "numberOfEmbeddedDocuments": measure.embedded,
        "fieldDistribution": dict(measure.fields),
    }


def _size(size: int, *, human: bool) -> int | str:
    return for_people(size) if human else size


async def fields(call: Call) -> Reply:
    """`POST /indexes/{uid}/fields`."""
    uid = await call.index()
    cluster = call.service.cluster
    await cluster.reload(uid)
    body = await json_of(call)
    refused = await refused_by_a_node(call, call.target)
    if refused is not None:
        raise refused
    found = await list_fields(cluster, uid, body.get("filter") or {})
    offset, limit = body.get("offset") or 0, body.get("limit")
    limit = DEFAULT_LIMIT if limit is None else limit
    page = found[offset : offset + limit]
    return Reply(body={"results": page, "offset": offset, "limit": limit, "total": len(found)})


async def compact(call: Call) -> Reply:
    """`POST /indexes/{uid}/compact`: on every node."""
    uid = await call.index(written=True)
    cluster = call.service.cluster

    async def work() -> Json:
        found = await compact_index(cluster, uid)
        return {
            name: for_people(sum(in_bytes(str(each.get(name, ""))) for each in found.values()))
            for name in ("preCompactionSize", "postCompactionSize")
        }

    names = call.names_of(uid)
    return await accepted(call, work, type="indexCompaction", uid=uid, details={}, indexes=names)


def _uid(value: Any) -> str:
    uid = text_in(value, code="invalid_index_uid", where=".uid")
    if not UID.fullmatch(uid):
        raise wrong_value(bad_uid(uid), code="invalid_index_uid", where=".uid")
    return uid


def _key(value: Any) -> str | None:
    return None if value is None else text_in(value, code="invalid_index_primary_key", where=".primaryKey")


ROUTES = (
    Route("GET", "/indexes", "indexes.get", list_all),
    Route("POST", "/indexes", "indexes.create", create),
    Route("GET", "/indexes/{uid}", "indexes.get", show),
    Route("PATCH", "/indexes/{uid}", "indexes.update", change),
    Route("DELETE", "/indexes/{uid}", "indexes.delete", remove),
    Route("GET", "/indexes/{uid}/stats", "stats.get", stats_of_one),
    Route("GET", "/stats", "stats.get", stats_of_all),
    Route("POST", "/indexes/{uid}/fields", "fields.post", fields),
    Route("POST", "/indexes/{uid}/compact", "indexes.compact", compact),
)
