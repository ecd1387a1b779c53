"""Documents: write, read, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from . import bits, filters
from .call import Call, Entry, Result, accepted
from .errors import EngineError, not_supported
from .parameters import from_query, take
from .payloads import CSV, JSON, NDJSON, packed
from .shape import select
from .sorting import parse_sort, sorted_numbers
from .tasks import DELETION, DOCUMENTS
from .vectors import shown as shown_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .index import Index

_LIST_KINDS = {
    "offset": "int", "limit": "int", "fields": "strs", "filter": "any", "ids": "any", "sort": "strs",
    "retrieveVectors": "bool", "useNetwork": "bool",
}  # fmt: skip
_WRITE_KINDS = {"primaryKey": "str", "csvDelimiter": "str", "customMetadata": "str", "skipCreation": "bool"}


def _write(*, partial: bool) -> Callable[[Call], Result]:
    def handler(call: Call) -> Result:
        query = from_query(call.query, _WRITE_KINDS, "index")
        if call.content_type not in (JSON, NDJSON, CSV):
            kinds = "`application/json`, `application/x-ndjson`, `text/csv`"
            if not call.content_type:
                message = f"A Content-Type header is missing. Accepted values for the Content-Type header are: {kinds}"
                raise EngineError("missing_content_type", message)
            message = (
                f"The Content-Type `{call.content_type}` is invalid."
                f" Accepted values for the Content-Type header are: {kinds}"
            )
            raise EngineError("invalid_content_type", message)
        delimiter = query.get("csvDelimiter")
        if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii()):
            message = "Invalid value in parameter `csvDelimiter`: expected one ASCII character"
            raise EngineError("invalid_document_csv_delimiter", message)
        if delimiter is not None and call.content_type != CSV:
            message = f"The csv delimiter is only allowed with `text/csv`, not `{call.content_type}`"
            raise EngineError("invalid_content_type", message)
        if not call.body.strip():
            kind = {CSV: "csv", NDJSON: "ndjson"}.get(call.content_type, "json")
            raise EngineError("missing_payload", f"A {kind} payload is missing.")
        payload, count = packed(call.body, call.content_type, delimiter or ",")
        order = {
            "partial": partial,
            "primaryKey": query.get("primaryKey"),
            "skipCreation": query.get("skipCreation", False),
            "mayCreate": call.may_create(),
        }
        details = {"receivedDocuments": count, "indexedDocuments": None}
        task = call.node.queue.enqueue(
            DOCUMENTS,
            call.uid(),
            details=details,
            order=order,
            payload=payload,
            metadata=query.get("customMetadata"),
        )
        return accepted(task)

    return handler


def _metadata(call: Call) -> str | None:
    return call.query.get("customMetadata")


def _enqueue_deletion(call: Call, order: dict[str, Any], details: dict[str, Any]) -> Result:
    details = {**details, "deletedDocuments": None}
    task = call.node.queue.enqueue(DELETION, call.uid(), details=details, order=order, metadata=_metadata(call))
    return accepted(task)


def delete_one(call: Call) -> Result:
    """`DELETE /indexes/{uid}/documents/{id}`."""
    order = {"ids": [call.path["document_id"]]}
    return _enqueue_deletion(call, order, {"providedIds": 1, "originalFilter": None})


def delete_batch(call: Call) -> Result:
    """`POST /indexes/{uid}/documents/delete-batch`."""
    values = call.json()
    if not isinstance(values, list):
        raise EngineError("bad_request", "Invalid value type: expected an array of ids")
    ids = [_id_text(value) for value in values]
    return _enqueue_deletion(call, {"ids": ids}, {"providedIds": len(ids), "originalFilter": None})


def _id_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def delete_by_filter(call: Call) -> Result:
    """`POST /indexes/{uid}/documents/delete`."""
    body = take(call.object(), {"filter": "any"}, "document")
    if "filter" not in body:
        raise EngineError("missing_document_filter", "Missing field `filter`")
    wanted = body["filter"]
    if filters.check(wanted, "invalid_document_filter") is None:
        raise EngineError("invalid_document_filter", "Sending an empty filter is forbidden.")
    shown = msgspec.json.encode(wanted).decode()
    return _enqueue_deletion(call, {"filter": wanted}, {"providedIds": 0, "originalFilter": shown})


def delete_all(call: Call) -> Result:
    """`DELETE /indexes/{uid}/documents`."""
    return _enqueue_deletion(call, {"all": True}, {})


def get_one(call: Call) -> Result:
    """`GET /indexes/{uid}/documents/{id}`."""
    kinds = {"fields": "strs", "retrieveVectors": "bool"}
    query = _with_star(from_query(call.query, kinds, "document"))
    with call.node.lock:
        index = call.index()
        id_ = call.path["document_id"]
        number = index.numbers.get(id_)
        if number is None:
            raise EngineError("document_not_found", f"Document `{id_}` not found.")
        return 200, shown_document(index, number, query)


def shown_document(index: Index, number: int, values: Mapping[str, Any]) -> Any:
    """Return a document as stored, cut to `fields`; `_vectors` only on demand."""
    fields = values.get("fields")
    body = index.bodies[number]
    if fields is None and b'"_vectors"' not in body and not values.get("retrieveVectors"):
        return msgspec.Raw(body)
    document = index.document(number)
    vectors = document.pop("_vectors", None)
    if values.get("retrieveVectors"):
        document["_vectors"] = shown_vectors(index, vectors)
    return document if fields is None else select(document, fields)


def _with_star(query: dict[str, Any]) -> dict[str, Any]:
    """A query string in which `fields=*` means all of them; in a body it is a name like any other."""
    return {key: value for key, value in query.items() if key != "fields" or "*" not in value}


def list_documents(call: Call) -> Result:
    """`GET /indexes/{uid}/documents`."""
    query: dict[str, Any] = _with_star(from_query(call.query, _LIST_KINDS, "document"))
    if "ids" in query:
        query["ids"] = query["ids"].split(",")
    return _fetch(call, query)


def fetch_documents(call: Call) -> Result:
    """`POST /indexes/{uid}/documents/fetch`."""
    return _fetch(call, take(call.object(), _LIST_KINDS, "document"))


def _fetch(call: Call, values: Mapping[str, Any]) -> Result:
    if values.get("useNetwork"):
        raise not_supported("The parameter `useNetwork`")
    offset, limit = values.get("offset", 0), values.get("limit", 20)
    with call.node.lock:
        index = call.index()
        kept = filters.evaluate(index, values.get("filter"), "invalid_document_filter", named=False)
        if "ids" in values:
            kept &= _by_ids(index, values["ids"])
        total = kept.bit_count()
        if values.get("sort"):
            rules = parse_sort(index, values["sort"], "invalid_document_sort", named=False)
            numbers = sorted_numbers(index, rules, kept, offset + limit)[offset:]
        else:
            numbers = bits.lowest(kept, offset + limit)[offset:]
        results = [shown_document(index, number, values) for number in numbers]
    return 200, {"results": results, "offset": offset, "limit": limit, "total": total}


def _by_ids(index: Index, ids: Any) -> int:
    if not isinstance(ids, list) or not all(
        isinstance(id_, str) or (isinstance(id_, int) and not isinstance(id_, bool)) for id_ in ids
    ):
        raise EngineError("invalid_document_ids", "Invalid value at `.ids`: expected an array of ids")
    known = [index.numbers[text] for id_ in ids if (text := str(id_)) in index.numbers]
    return bits.from_numbers(known, max(known) + 1) if known else 0


_PATH = "/indexes/{index_uid}/documents"
DOCUMENT_ROUTES = [
    Entry("POST", _PATH, "documents.add", _write(partial=False)),
    Entry("PUT", _PATH, "documents.add", _write(partial=True)),
    Entry("GET", _PATH, "documents.get", list_documents),
    Entry("POST", _PATH + "/fetch", "documents.get", fetch_documents),
    Entry("DELETE", _PATH, "documents.delete", delete_all),
    Entry("POST", _PATH + "/delete-batch", "documents.delete", delete_batch),
    Entry("POST", _PATH + "/delete", "documents.delete", delete_by_filter),
    Entry("GET", _PATH + "/{document_id}", "documents.get", get_one),
    Entry("DELETE", _PATH + "/{document_id}", "documents.delete", delete_one),
]
