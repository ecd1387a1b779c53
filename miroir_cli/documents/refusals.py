"""What a Meilisearch node refuses in a document. Pure.

One bad document fails the whole task it travels in, and the tasks batched with it, so every document is judged
before it is sent, by the rules of Meilisearch 1.50: `milli/documents/primary_key.rs`, `update/new/indexer/de.rs`,
`extract/geo/mod.rs`, `vector/parsed_vectors.rs`. Each function returns the reason, or None.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from miroir_cli.model import RESERVED_PREFIX

LONGEST_KEY: Final = 511
KEY_TEXT: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST_KEY}}}", re.ASCII)
"""A primary key as text: what a string must match, and what every accepted integer looks like."""

DEEPEST: Final = 127
"""Levels of nesting that serde_json follows in a field's value."""

LONGEST_NUMBER: Final = 310
"""Digits, with the sign: any number with more is out of range."""

_GLANCE: Final = bytes.maketrans(b"123456789E{", b"000000000e[")
_LARGE: Final = (b"0e000", b"0e+000", b"0" * 209)
"""Of a number that is out of range one of these is left when all digits are zeros: with an exponent of two digits it
has more than two hundred others."""

RUST_FLOAT: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
OUT_OF_RANGE: Final = "a number is out of range"
TOO_DEEP: Final = f"nested deeper than {DEEPEST} levels"
_EXPECTED_KEY = "an integer, or a string of letters, digits, `-` and `_` shorter than 512 bytes"


class Pairs(tuple[tuple[str, Any], ...]):
    """A JSON object with its names in order and as often as they stand there."""

    __slots__ = ()


def parse_pairs(line: bytes) -> Any:
    """Parse one JSON text, objects as `Pairs`; `-0` is a float, as for serde_json. Raises ValueError."""
    return json.loads(
        line,
        object_pairs_hook=Pairs,
        parse_int=_integer,
    )


def _integer(digits: str) -> int | float:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(OUT_OF_RANGE)
    return -0.0 if digits == "-0" else int(digits)


def key_refused(primary_key: str, key: object) -> str | None:
    """Whether a primary key's value, already parsed, is none that Meilisearch accepts."""
    if isinstance(key, str) and KEY_TEXT.fullmatch(key):
        return None
    if isinstance(key, int) and not isinstance(key, bool) and -(2**63) <= key < 2**64:
        return None
    return f"primary key `{primary_key}` is {_shown(key)}, expected {_EXPECTED_KEY}"


def reserved_field(document: Pairs) -> str | None:
    """The first top-level field whose name is reserved for miroir."""
    return next((name for name, _ in document if name.startswith(RESERVED_PREFIX)), None)


def geo_refused(geo: object) -> str | None:
    """Whether an index with `_geo` filterable or sortable refuses this `_geo` value."""
    if geo is None:
        return None
    if not isinstance(geo, dict):
        return f"`_geo` is {_shown(geo)}, expected an object with `lat` and `lng`"
    missing = [name for name in ("lat", "lng") if name not in geo]
    if missing:
        return f"`_geo` has no {' and no '.join(f'`{name}`' for name in missing)}"
    if len(geo) > 2:
        extra = next(name for name in geo if name not in ("lat", "lng"))
        return f"`_geo` has a field `{extra}` besides `lat` and `lng`"
    for name in ("lat", "lng"):
        if not _finite(geo[name]):
            return f"`_geo.{name}` is {_shown(geo[name])}, expected a finite number"
    return None


def vectors_refused(vectors: object, embedders: Mapping[str, int | None]) -> str | None:
    """Whether this `_vectors` value is refused; `embedders` are the index's own, with the dimensions that are known."""
    if not isinstance(vectors, dict):
        return f"`_vectors` is {_shown(vectors)}, expected an object"
    for name, value in vectors.items():
        embeddings = value
        if isinstance(value, dict):
            extra = next((field for field in value if field not in ("regenerate", "embeddings")), None)
            if extra is not None:
                return f"`_vectors.{name}` has a field `{extra}` besides `regenerate` and `embeddings`"
            if not isinstance(value.get("regenerate"), bool):
                return f"`_vectors.{name}.regenerate` is missing or not a boolean"
            embeddings = value.get("embeddings")
        elif value is not None and not isinstance(value, list):
            return f"`_vectors.{name}` is {_shown(value)}, expected an array or an object with `regenerate`"
        if name in embedders and (reason := _embeddings_refused(embeddings, embedders[name])):
            return f"`_vectors.{name}`: {reason}"
    return None


def _embeddings_refused(embeddings: object, dimensions: int | None) -> str | None:
    if embeddings is None or embeddings == []:
        return None
    if not isinstance(embeddings, list):
        return f"embeddings are {_shown(embeddings)}, expected an array"
    rows = embeddings if isinstance(embeddings[0], list) else [embeddings]
    for row in rows:
        if not isinstance(row, list) or not all(type(number) in (int, float) for number in row):
            return "expected an array of numbers or an array of such arrays"
        if dimensions is not None and len(row) != dimensions:
            return f"{len(row)} dimensions, the embedder has {dimensions}"
    return None


def thoroughly_refused(line: bytes) -> str | None:
    """What a node refuses and the fast path does not look for: numbers out of range and very deep nesting."""
    try:
        document = msgspec.json.decode(line)
    except RecursionError:
        return TOO_DEEP
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return OUT_OF_RANGE if "out of range" in str(error) else str(error)
    if _out_of_range(document):
        return OUT_OF_RANGE
    return TOO_DEEP if _depth(document) > DEEPEST + 1 else None


def suspicious(line: bytes) -> bool:
    """Whether a document may be one that is `thoroughly_refused`: found by a glance, and wrong at times."""
    seen = line.translate(_GLANCE)
    return seen.count(b"[") > DEEPEST + 1 or any(each in seen for each in _LARGE)


def _out_of_range(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_out_of_range, value.values()))
    if isinstance(value, list):
        return any(map(_out_of_range, value))
    return isinstance(value, int) and abs(value) >= 2**1024


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _finite(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return abs(value) < 2**1024
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str) and bool(RUST_FLOAT.fullmatch(value)) and math.isfinite(float(value))


def _shown(value: object) -> str:
    """A JSON value in an error: short, one line."""
    if isinstance(value, Pairs):
        return "an object"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:50]}...`"
