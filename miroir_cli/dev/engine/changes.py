"""From a payload to document changes: ids, primary keys, merging, coordinates."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import vectors
from .errors import EngineError
from .index import Change, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .index import Index

_ID = re.compile(r"[A-Za-z0-9_-]{1,511}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A document write: whole documents, or (`partial`) fields to merge into existing ones."""

    documents: Sequence[dict[str, Any]]
    primary_key: str
    partial: bool
    skip_creation: bool


def infer_primary_key(document: dict[str, Any]) -> str:
    """Find the one field whose name ends in `id`, whatever its case."""
    candidates = [name for name in document if name.lower().endswith("id")]
    if not candidates:
        message = (
            "The primary key inference failed as the engine did not find any field ending with"
            " `id` in its name. Please specify the primary key manually using the `primaryKey` query parameter."
        )
        raise EngineError("index_primary_key_no_candidate_found", message)
    if len(candidates) > 1:
        candidates.sort()
        message = (
            f"The primary key inference failed as the engine found {len(candidates)} fields ending"
            f" with `id` in their names: '{candidates[0]}' and '{candidates[1]}'. Please specify the primary key"
            " manually using the `primaryKey` query parameter."
        )
        raise EngineError("index_primary_key_multiple_candidates_found", message)
    return candidates[0]


def _candidates(document: dict[str, Any], key: str) -> list[Any]:
    if "." not in key:
        return [document[key]] if key in document else []
    found: list[Any] = []
    for name, value in document.items():
        if name == key:
            found.append(value)
        elif key.startswith(name + "."):
            found += _candidates(value, key[len(name) + 1 :]) if isinstance(value, dict) else [value]
    return found


def document_id(document: dict[str, Any], key: str) -> str:
    """Return a document's id as text; raise what a task would fail with."""
    found = _candidates(document, key)
    if not found:
        text = encode(document).decode()
        message = f"Document doesn't have a `{key}` attribute: `{text}`."
        raise EngineError("missing_document_id", message)
    value = found[0]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and _ID.match(value):
        return value
    shown = encode(value).decode()
    message = (
        f"Document identifier `{shown}` is invalid. A document identifier can be of type integer or"
        " string, only composed of alphanumeric characters (a-z A-Z 0-9), hyphens (-) and underscores (_), and can"
        " not be more than 511 bytes."
    )
    raise EngineError("invalid_document_id", message)


def _coordinate(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None


def _check_geo(uid: str, id_: str, document: dict[str, Any]) -> None:
    geo = document.get("_geo")
    if geo is None:
        return
    where = f'in the document with the id: `"{id_}"`'
    if not isinstance(geo, dict):
        message = f"The `_geo` field {where} is not an object."
    elif extra := set(geo) - {"lat", "lng"}:
        message = f"The `_geo` field {where} contains the following unexpected fields: `{min(extra)}`."
    elif missing := {"lat", "lng"} - set(geo):
        message = f"Could not find `_geo.{min(missing)}` {where}."
    elif _coordinate(geo["lat"]) is None or _coordinate(geo["lng"]) is None:
        message = f"Could not parse latitude or longitude {where}. Was expecting finite numbers."
    else:
        return
    raise EngineError("invalid_document_geo_field", f"Index `{uid}`: {message}")


def collect(index: Index, incoming: Incoming) -> tuple[int, list[Change]]:
    """Return the number of distinct ids sent and the changes; new documents get numbers here.

    Raises `EngineError` before any number is taken when one document is wrong: a task is atomic.
    """
    result: dict[str, dict[str, Any]] = {}
    for document in incoming.documents:
        id_ = document_id(document, incoming.primary_key)
        if not incoming.partial:
            result[id_] = document
            continue
        base = result.get(id_)
        if base is None:
            base = index.document(index.numbers[id_]) if id_ in index.numbers else {}
        result[id_] = {**base, **document}
    for id_, document in result.items():
        result[id_] = vectors.kept(index, id_, document)
        if index.settings.geo:
            _check_geo(index.uid, id_, document)
    changes = []
    for id_, document in result.items():
        number = index.numbers.get(id_)
        if number is None:
            if incoming.skip_creation:
                continue
            number, old = index.allocate(), None
        else:
            old = index.document(number)
        changes.append(Change(number=number, id=id_, old=old, new=document, body=encode(document)))
    return len(result), changes
