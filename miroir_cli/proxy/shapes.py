"""Values of a request's body and parameters, refused in Meilisearch's words when they are of another kind. Pure.

For requests that cannot be put to a node to hear what is wrong with them.
"""

from __future__ import annotations

from typing import Any

from miroir_cli.documents.verdicts import named_kind
from miroir_cli.errors import ApiError


def wrong_kind(value: Any, expected: str, *, code: str, where: str = "") -> ApiError:
    """The error for a value of another kind. `where`: its place in the body, such as `.uid`."""
    at = f" at `{where}`" if where else ""
    return ApiError(code, f"Invalid value type{at}: expected {expected}, but found {named_kind(value)}")


def wrong_value(message: str, *, code: str, where: str = "") -> ApiError:
    """The error for a value of the right kind that cannot be."""
    at = f" at `{where}`" if where else ""
    return ApiError(code, f"Invalid value{at}: {message}")


def object_in(value: Any) -> dict[str, Any]:
    """The body as an object."""
    if not isinstance(value, dict):
        raise wrong_kind(value, "an object", code="bad_request")
    return value


def text_in(value: Any, *, code: str, where: str) -> str:
    """The value as a string."""
    if not isinstance(value, str):
        raise wrong_kind(value, "a string", code=code, where=where)
    return value


def list_in(value: Any, *, code: str, where: str) -> list[Any]:
    """The value as a list."""
    if not isinstance(value, list):
        raise wrong_kind(value, "an array", code=code, where=where)
    return value


def immutable(name: str, known: tuple[str, ...], *, code: str) -> ApiError:
    """The error for a field that cannot be changed; `known` are those that can."""
    return ApiError(code, f"Immutable field `{name}`: expected one of {_named(known)}")


def _named(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
