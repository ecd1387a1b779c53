"""What Meilisearch says of a document that it does not take: the error of a task, word by word. Pure.

`refusals.py` finds such documents fast and explains them to people; this is asked for the first one of a payload.
Source: `milli/error.rs`, `milli/vector/parsed_vectors.rs` and what a server of 1.50 answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from miroir_cli.documents.refusals import (
    OUT_OF_RANGE,
    TOO_DEEP,
    Pairs,
    geo_refused,
    key_refused,
    parse_pairs,
    reserved_field,
    suspicious,
    thoroughly_refused,
)
from miroir_cli.errors import ApiError
from miroir_cli.model import RESERVED_PREFIX

NO_CANDIDATE: Final = (
    "The primary key inference failed as the engine did not find any field ending with `id` in its name. "
    "Please specify the primary key manually using the `primaryKey` query parameter."
)
KEY_RULE: Final = (
    "A document identifier can be of type integer or string, only composed of alphanumeric characters "
    "(a-z A-Z 0-9), hyphens (-) and underscores (_), and can not be more than 511 bytes."
)


def infer_primary_key(fields: Sequence[str]) -> str:
    """The one field of the first document whose name ends with `id`. Raises the error of a task that finds none."""
    candidates = sorted((field for field in fields if field.lower().endswith("id")), key=str.encode)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise ApiError("index_primary_key_no_candidate_found", NO_CANDIDATE)
    raise ApiError(
        "index_primary_key_multiple_candidates_found",
        f"The primary key inference failed as the engine found {len(candidates)} fields ending with `id` in their "
        f"names: '{candidates[0]}' and '{candidates[1]}'. "
        "Please specify the primary key manually using the `primaryKey` query parameter.",
    )


def primary_key_changed(primary_key: str) -> ApiError:
    """The refusal of another primary key than the index has."""
    return ApiError("index_primary_key_already_exists", f"Index already has a primary key: `{primary_key}`.")


def judge(
    line: bytes, *, uid: str, primary_key: str, geo: bool, embedders: Mapping[str, int | None], reason: str
) -> ApiError:
    """Why this document is not taken. `reason` is what was found to be wrong with it, for what has no words here."""
    try:
        document = parse_pairs(line)
    except (ValueError, RecursionError):
        return ApiError("invalid_document_id", f"Index `{uid}`: {reason}.")
    assert isinstance(document, Pairs)
    if (name := reserved_field(document)) is not None:
        return ApiError(
            "miroir_reserved_field",
            f"The field `{name}` is reserved: no name of a field may begin with `{RESERVED_PREFIX}`.",
        )
    fields = dict(document)
    if primary_key not in fields:
        return ApiError(
            "missing_document_id", f"Document doesn't have a `{primary_key}` attribute: `{_json(document)}`."
        )
    key = fields[primary_key]
    if key_refused(primary_key, key) is not None:
        return ApiError("invalid_document_id", f"Document identifier `{_json(key)}` is invalid. {KEY_RULE}")
    plain = msgspec.json.decode(line)
    if geo and "_geo" in plain and geo_refused(plain["_geo"]) is not None:
        return ApiError("invalid_document_geo_field", f"Index `{uid}`: {_geo(plain['_geo'], key)}")
    if "_vectors" in plain and (found := _vectors(plain["_vectors"], str(key), embedders)) is not None:
        code, message = found
        return ApiError(code, f"Index `{uid}`: {message}")
    return ApiError("invalid_document_id", f"Index `{uid}`: {reason}.")


def judge_values(lines: Iterable[bytes], *, uid: str) -> ApiError | None:
    """Why a node would fail a task with these documents for what stands in their fields; None when it would not."""
    for line in filter(suspicious, lines):
        refused = thoroughly_refused(line)
        if refused is not None:
            words = {OUT_OF_RANGE: "number out of range", TOO_DEEP: "recursion limit exceeded"}.get(refused, refused)
            return ApiError("internal", f"Index `{uid}`: internal: {words}.")
    return None


def _geo(geo: Any, key: Any) -> str:
    where = f"in the document with the id: `{_json(str(key))}`"
    if not isinstance(geo, dict):
        return (
            f"The `_geo` field {where} is not an object. Was expecting an object with the `_geo.lat` and `_geo.lng` "
            f"fields but instead got `{_json(geo)}`."
        )
    missing = [name for name in ("lat", "lng") if name not in geo]
    if len(missing) == 2:
        return f"Could not find latitude nor longitude {where}. Was expecting `_geo.lat` and `_geo.lng` fields."
    if missing:
        what = {"lat": "latitude", "lng": "longitude"}[missing[0]]
        return f"Could not find {what} {where}. Was expecting a `_geo.{missing[0]}` field."
    if len(geo) > 2:
        rest = {name: value for name, value in sorted(geo.items()) if name not in ("lat", "lng")}
        return f"The `_geo` field {where} contains the following unexpected fields: `{_json(rest)}`."
    bad = [name for name in ("lat", "lng") if geo_refused({"lat": 0, "lng": 0, name: geo[name]}) is not None]
    if len(bad) == 2:
        return (
            f"Could not parse latitude nor longitude {where}. "
            f"Was expecting finite numbers but instead got `{_json(geo['lat'])}` and `{_json(geo['lng'])}`."
        )
    what = {"lat": "latitude", "lng": "longitude"}[bad[0]]
    return f"Could not parse {what} {where}. Was expecting a finite number but instead got `{_json(geo[bad[0]])}`."


def _vectors(vectors: Any, key: str, embedders: Mapping[str, int | None]) -> tuple[str, str] | None:
    """The code and the words for the first embedder, in the order of the names, whose vectors are not taken."""
    bad = f"Bad embedder configuration in the document with id: `{key}`. "
    if not isinstance(vectors, dict):
        return (
            "invalid_vectors_type",
            (
                f"The `_vectors` field in the document with id: `{key}` is not an object. Was expecting an object "
                f"with a key for each embedder with manually provided vectors, but instead got `{_json(vectors)}`"
            ),
        )
    for name, value in vectors.items():
        place = f"._vectors.{name}"
        embeddings = value
        if isinstance(value, dict):
            if (wrong := _configuration(value, place)) is not None:
                return "invalid_vectors_type", bad + wrong
            embeddings, inner = value.get("embeddings"), f"{place}.embeddings"
        elif value is not None and not isinstance(value, list):
            return (
                "invalid_vectors_type",
                (
                    f"{bad}Expected `{place}` to be an array of floats, an array of arrays of floats, or an object "
                    f"with at least the field `regenerate`, but got the {_kind_of(value)} `{_bare(value)}`"
                ),
            )
        else:
            inner = place
        if name not in embedders:
            continue
        if (wrong := _embeddings(embeddings, inner)) is not None:
            return "invalid_vectors_type", bad + wrong
        if (short := _dimensions(embeddings, embedders[name])) is not None:
            number, found = short
            return (
                "invalid_vector_dimensions",
                (
                    f"Invalid vector dimensions in document with id `{key}` in `{place}`.\n  - note: "
                    f"embedding #{number} has dimensions {found}\n"
                    f"  - note: embedder `{name}` requires {embedders[name]}"
                ),
            )
    return None


def _configuration(value: Mapping[str, Any], place: str) -> str | None:
    if "regenerate" not in value:
        return (
            f"Missing field `{place}.regenerate`\n  - note: `{place}` must be an array of floats, an array of arrays "
            "of floats, or an object with field `regenerate`"
        )
    regenerate = value["regenerate"]
    if not isinstance(regenerate, bool):
        shown = f'string "{regenerate}"' if isinstance(regenerate, str) else f"{_kind_of(regenerate)} `{regenerate}`"
        return f"Could not parse `{place}.regenerate`: invalid type: {shown}, expected a boolean"
    extra = next((field for field in value if field not in ("regenerate", "embeddings")), None)
    return None if extra is None else f"Could not parse `{place}`: unknown field `{extra}`"


def _embeddings(embeddings: Any, place: str) -> str | None:
    if embeddings is None:
        return None
    if not isinstance(embeddings, list):
        return _mistyped(place, "null or an array", embeddings)
    if not embeddings:
        return None
    if not isinstance(embeddings[0], list):
        if not _is_number(embeddings[0]):
            return _mistyped(f"{place}[0]", "a number or an array", embeddings[0])
        return _numbers(embeddings, place)
    for number, row in enumerate(embeddings):
        if not isinstance(row, list):
            return _mistyped(f"{place}[{number}]", "an array", row)
        if (wrong := _numbers(row, f"{place}[{number}]")) is not None:
            return wrong
    return None


def _numbers(row: Sequence[Any], place: str) -> str | None:
    return next(
        (
            _mistyped(f"{place}[{number}]", "a number", value)
            for number, value in enumerate(row)
            if not _is_number(value)
        ),
        None,
    )


def _dimensions(embeddings: Any, dimensions: int | None) -> tuple[int, int] | None:
    """The number of the first embedding of another length, and that."""
    if dimensions is None or not embeddings:
        return None
    rows = embeddings if isinstance(embeddings[0], list) else [embeddings]
    return next(((number, len(row)) for number, row in enumerate(rows) if len(row) != dimensions), None)


def _mistyped(place: str, expected: str, value: Any) -> str:
    return f"Invalid value type at `{place}`: expected {expected}, but found {named_kind(value)}"


def named_kind(value: Any) -> str:
    """A value with its kind, as Meilisearch's errors about types name it: ``a string: `"x"` ``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        kind = "a boolean"
    elif isinstance(value, str):
        kind = "a string"
    elif isinstance(value, int):
        kind = "a positive integer" if value >= 0 else "a negative integer"
    elif isinstance(value, float):
        kind = "a number"
    else:
        kind = "an array" if isinstance(value, list) else "an object"
    return f"{kind}: `{_json(value)}`"


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "integer" if isinstance(value, int) else "number"


def _bare(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json(value: Any) -> str:
    """Compact JSON, names in their order; of a name that stands twice the last value."""
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Pairs):
        return {name: _plain(inner) for name, inner in value}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
