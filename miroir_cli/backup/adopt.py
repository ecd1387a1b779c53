"""The settings of a plain Meilisearch as those of an index of the cluster. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from miroir_cli.indexes.settings import KEYS

MASKED: Final = re.compile(r".{0,5}X{3,}\.\.\.")
"""How Meilisearch shows the key of an embedder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """`settings` as a user would have set them, without masked `secrets`, which are named by their paths; `unknown`
    settings are new to miroir and left out."""

    settings: Mapping[str, Any]
    secrets: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def adopt(found: Mapping[str, Any], defaults: Mapping[str, Any]) -> Adopted:
    """What differs from the defaults, of the complete settings that a server shows."""
    secrets: list[str] = []
    kept: dict[str, Any] = {}
    for name in KEYS:
        value = found.get(name)
        if value is None or value == defaults.get(name) or (name == "embedders" and not value):
            continue
        kept[name] = _unmasked(value, name, secrets) if name == "embedders" else _changed(value, defaults.get(name))
    unknown = tuple(
        name for name, value in found.items() if name not in KEYS and value not in (None, defaults.get(name))
    )
    return Adopted(settings=kept, secrets=tuple(secrets), unknown=unknown)


def _changed(value: Any, default: Any) -> Any:
    """The parts of a setting that are not as they are by default."""
    if isinstance(value, Mapping) and isinstance(default, Mapping):
        return {name: _changed(inner, default.get(name)) for name, inner in value.items() if inner != default.get(name)}
    return value


def _unmasked(value: Any, path: str, secrets: list[str]) -> Any:
    if not isinstance(value, Mapping):
        return value
    kept = {}
    for name, inner in value.items():
        if isinstance(inner, str) and name == "apiKey" and MASKED.fullmatch(inner):
            secrets.append(f"{path}.{name}")
        elif inner is not None:
            kept[name] = _unmasked(inner, f"{path}.{name}", secrets)
    return kept
