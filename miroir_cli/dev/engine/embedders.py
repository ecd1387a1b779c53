"""Embedders of an index: only those whose vectors come with the documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import EngineError, not_supported

if TYPE_CHECKING:
    from collections.abc import Mapping

CODE = "invalid_settings_embedders"
_PARTS = (
    "source", "model", "revision", "pooling", "apiKey", "dimensions", "binaryQuantized", "documentTemplate",
    "documentTemplateMaxBytes", "url", "indexingFragments", "searchFragments", "request", "response", "headers",
    "searchEmbedder", "indexingEmbedder", "distribution",
)  # fmt: skip
_SOURCES = ("openAi", "huggingFace", "ollama", "userProvided", "rest", "composite")


def checked_embedders(name: str, value: Any) -> dict[str, Any]:
    """Embedders as they are sent; whether each is complete turns out when they are merged."""
    if not isinstance(value, dict):
        raise EngineError(CODE, f"Invalid value type at `.{name}`: expected an object")
    for embedder, parts in value.items():
        if parts is not None:
            _check_embedder(f"embedders.{embedder}", parts)
    merged_embedders({}, {key: parts for key, parts in value.items() if parts and "source" in parts})
    return value


def _check_embedder(where: str, parts: Any) -> None:
    problem = None
    if not isinstance(parts, dict):
        problem = f"Invalid value type at `.{where}`: expected an object"
    elif unknown := [part for part in parts if part not in _PARTS]:
        known = ", ".join(f"`{part}`" for part in _PARTS)
        problem = f"Unknown field `{unknown[0]}` inside `.{where}`: expected one of {known}"
    elif parts.get("source") not in (None, *_SOURCES):
        known = ", ".join(f"`{source}`" for source in _SOURCES)
        problem = f"Unknown value `{parts['source']}` at `.{where}.source`: expected one of {known}"
    elif not _is_size(parts.get("dimensions", 1)):
        problem = f"Invalid value type at `.{where}.dimensions`: expected a positive integer"
    elif parts.get("dimensions") == 0:
        problem = f"`.{where}.dimensions`: `dimensions` cannot be zero"
    elif parts.get("source") == "userProvided":
        problem = _check_given(where, parts)
    if problem is not None:
        raise EngineError(CODE, problem)


def _check_given(where: str, parts: Mapping[str, Any]) -> str | None:
    """What is wrong with the parts of an embedder of the source `userProvided`."""
    for part in ("binaryQuantized", "distribution"):
        if parts.get(part) not in (None, False):
            raise not_supported(f"The part `{part}` of an embedder")
    allowed = ("source", "dimensions", "distribution", "binaryQuantized")
    wrong = [part for part, value in parts.items() if part not in allowed and value is not None]
    if not wrong:
        return None
    known = ", ".join(f"`{part}`" for part in allowed)
    return (
        f"`.{where}`: Field `{wrong[0]}` unavailable for source `userProvided`.\n  - note: available fields for"
        f" source `userProvided`: {known}"
    )


def _is_size(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def merged_embedders(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Embedders after a change: null removes one, the parts of one change one by one.

    Raises `EngineError` for one that is not complete, and for sources other than `userProvided`.
    """
    result = dict(base)
    for name, change in changes.items():
        if change is None:
            result.pop(name, None)
            continue
        parts = {**result.get(name, {}), **change}
        parts = {key: parts[key] for key in ("source", "dimensions") if parts.get(key) is not None}
        if parts.get("source", "openAi") != "userProvided":
            raise not_supported(f"The embedder source `{parts.get('source', 'openAi')}`")
        if "dimensions" not in parts:
            note = "(note: this field is mandatory for source `userProvided`)"
            message = f"`.embedders.{name}`: Missing field `dimensions` {note}"
            raise EngineError(CODE, message)
        result[name] = parts
    return dict(sorted(result.items()))
