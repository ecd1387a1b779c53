"""Attribute patterns: which document fields a setting means."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def is_under(field: str, parent: str) -> bool:
    """Tell whether `field` is `parent` or nested in it (`a.b` is under `a`)."""
    return field == parent or field.startswith(parent + ".")


def matches_pattern(pattern: str, field: str) -> bool:
    """Match a pattern that may start or end with `*`; without one only the field itself matches."""
    if pattern == "*":
        return True
    if pattern.startswith("*") and pattern.endswith("*"):
        return pattern[1:-1] in field
    if pattern.startswith("*"):
        return field.endswith(pattern[1:])
    if pattern.endswith("*"):
        return field.startswith(pattern[:-1])
    return pattern == field


def is_listed(field: str, names: Iterable[str]) -> bool:
    """Tell whether a plain list of names covers the field, `*` and parents included."""
    return any(name == "*" or is_under(field, name) for name in names)
