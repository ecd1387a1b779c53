"""Writes of documents: added, updated, deleted."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.documents.formats import Format
from miroir_cli.documents.payload import CONTENT_TYPES, first_broken, malformed, read_payload
from miroir_cli.errors import ApiError
from miroir_cli.proxy.forward import json_of, words_for
from miroir_cli.proxy.parameters import Parameter, Unreadable, read_parameters, require_uid, text
from miroir_cli.proxy.reads import session_of
from miroir_cli.proxy.router import Call, NotDone, Reply, Route
from miroir_cli.proxy.spelling import refuse_unknown
from miroir_cli.proxy.work import counted_once
from miroir_cli.search.session import remember_write
from miroir_cli.tasks.view import receipt
from miroir_cli.tasks.writing import (
    ADDITION,
    DELETION,
    Asked,
    add_documents,
    delete_all,
    delete_by_filter,
    delete_documents,
)

if TYPE_CHECKING:
    from miroir_cli.store.tasks import Task


def _delimiter(given: str) -> str:
    if len(given) != 1:
        found = f"the following string of {len(given)} characters: `{given}`" if given else "an empty string"
        raise Unreadable(f"expected a string of one character, but found {found}")
    if not given.isascii():
        raise ApiError("invalid_document_csv_delimiter", f"csv delimiter must be an ascii character. Found: `{given}`")
    return given


def _skip(given: str) -> bool:
    if given not in ("true", "false"):
        raise Unreadable(f"skipCreation must be either `true` or `false`. Found: `{given}`")
    return given == "true"


_LINE = re.compile(r"line (\d+)(?= column \d+$)")

METADATA = {"customMetadata": Parameter(text, "invalid_index_custom_metadata")}
ADDING = {
    "primaryKey": Parameter(text, "invalid_index_primary_key"),
    "csvDelimiter": Parameter(_delimiter, "invalid_document_csv_delimiter"),
    **METADATA,
    "skipCreation": Parameter(_skip, "invalid_skip_creation", bare=True),
}


async def _accepted(call: Call, type: str, act: Callable[[Asked], Awaitable[Task]], metadata: str | None) -> Reply:
    """The task's receipt, once the nodes have the write and the request's session knows of it."""
    asked = Asked(uid=call.uid, custom_metadata=metadata)
    session = session_of(call)
    task = await counted_once(call, lambda key: act(replace(asked, key=key)), type=type, uid=call.uid)
    if session is not None and task.n is not None and task.index_uid is not None:
        await remember_write(call.service.cluster, session, task.index_uid, task.n, incarnation=task.incarnation)
    return Reply(status=202, body=receipt(task))


def _adding(*, update: bool) -> Callable[[Call], Awaitable[Reply]]:
    async def handler(call: Call) -> Reply:
        values = read_parameters(call.query, ADDING)
        uid = call.uid
        format = _format(call, delimited="csvDelimiter" in values)
        try:
            payload = read_payload(call.body, format, delimiter=values.get("csvDelimiter", ","))
        except ApiError as error:
            raise await _worded(call, format, error) from None

        def add(asked: Asked) -> Awaitable[Task]:
            return add_documents(
                call.service.cluster,
                asked,
                payload,
                update=update,
                primary_key=values.get("primaryKey"),
                skip_creation=values.get("skipCreation", False),
                may_create=call.caller.may("indexes.create", uid),
            )

        return await _accepted(call, ADDITION, add, values.get("customMetadata"))

    return handler


def _format(call: Call, *, delimited: bool) -> Format:
    call.require_type(*CONTENT_TYPES)
    format = CONTENT_TYPES[call.content_type]
    if delimited and format is not Format.CSV:
        raise ApiError(
            "invalid_content_type",
            f"The Content-Type `{call.content_type}` does not support the use of a csv delimiter. "
            "The csv delimiter can only be used with the Content-Type `text/csv`.",
        )
    return format


async def _worded(call: Call, format: Format, error: ApiError) -> ApiError:
    """A refusal of malformed JSON with the words of a node, which knows the line and the column."""
    if error.api_code != "malformed_payload" or format is Format.CSV:
        return error
    skipped = first_broken(call.body) if format is Format.NDJSON else 0
    words = await words_for(call, call.body[skipped:])
    if words is None:
        return error
    if format is Format.NDJSON:  # a node reads one value; here others may follow it, on later lines
        above = call.body.count(b"\n", 0, skipped)
        words = words.replace("trailing characters", "expected value")
        words = _LINE.sub(lambda match: f"line {int(match[1]) + above}", words)
    return malformed(format, words)


async def delete_one(call: Call) -> Reply:
    """`DELETE /indexes/{uid}/documents/{id}`."""
    values = read_parameters(call.query, METADATA)
    cluster, id = call.service.cluster, call.path["id"]
    return await _accepted(
        call, DELETION, lambda asked: delete_documents(cluster, asked, [id]), values.get("customMetadata")
    )


async def delete_batch(call: Call) -> Reply:
    """`POST /indexes/{uid}/documents/delete-batch`."""
    found = await json_of(call)
    values = read_parameters(call.query, METADATA)
    require_uid(call.path["uid"])
    if not isinstance(found, list):
        kind = "map" if isinstance(found, dict) else _serde_kind(found)
        column = 0 if isinstance(found, dict) else len(call.body.rstrip())
        message = f"Json deserialize error: invalid type: {kind}, expected a sequence at line 1 column {column}"
        raise ApiError("bad_request", message)
    ids = [id if isinstance(id, str) else msgspec.json.encode(id).decode() for id in found]
    return await _accepted(
        call,
        DELETION,
        lambda asked: delete_documents(call.service.cluster, asked, ids),
        values.get("customMetadata"),
    )


def _serde_kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"boolean `{str(value).lower()}`"
    if isinstance(value, int):
        return f"integer `{value}`"
    return f"floating point `{value}`" if isinstance(value, float) else f'string "{value}"'


async def delete_filtered(call: Call) -> Reply:
    """`POST /indexes/{uid}/documents/delete`."""
    values = read_parameters(call.query, METADATA)
    found = await json_of(call)
    require_uid(call.path["uid"])
    if not isinstance(found, dict):
        raise ApiError("bad_request", "Invalid value type: expected an object")
    refuse_unknown(found, ("filter",), what="field")
    if "filter" not in found:
        raise ApiError("missing_document_filter", "Missing field `filter`")
    wanted = found["filter"]
    if not isinstance(wanted, str | list):
        shown = msgspec.json.encode(wanted).decode()
        raise ApiError(
            "invalid_document_filter",
            f"Invalid syntax for the filter parameter: `expected String, Array, found: {shown}`.",
        )
    if _is_empty(wanted):
        raise ApiError("invalid_document_filter", "Sending an empty filter is forbidden.")
    return await _accepted(
        call,
        DELETION,
        lambda asked: delete_by_filter(call.service.cluster, asked, wanted),
        values.get("customMetadata"),
    )


def _is_empty(wanted: Any) -> bool:
    """Whether a filter has no condition at all."""
    if isinstance(wanted, list):
        return all(map(_is_empty, wanted))
    return isinstance(wanted, str) and not wanted.strip()


async def delete_everything(call: Call) -> Reply:
    """`DELETE /indexes/{uid}/documents`."""
    values = read_parameters(call.query, METADATA)
    cluster = call.service.cluster
    return await _accepted(call, DELETION, lambda asked: delete_all(cluster, asked), values.get("customMetadata"))


EDIT = NotDone(
    what="`POST /indexes/{indexUid}/documents/edit`",
    reason="a node that runs a function twice after a crash would differ from its replicas; "
    "read the documents, change them, and put them back",
)

ROUTES = (
    Route("POST", "/indexes/{uid}/documents", "documents.add", _adding(update=False)),
    Route("PUT", "/indexes/{uid}/documents", "documents.add", _adding(update=True)),
    Route("DELETE", "/indexes/{uid}/documents", "documents.delete", delete_everything),
    Route("POST", "/indexes/{uid}/documents/delete-batch", "documents.delete", delete_batch),
    Route("POST", "/indexes/{uid}/documents/delete", "documents.delete", delete_filtered),
    Route("POST", "/indexes/{uid}/documents/edit", "documents.*", EDIT),
    Route("DELETE", "/indexes/{uid}/documents/{id}", "documents.delete", delete_one),
)
