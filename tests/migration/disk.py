"""What a simulated node has on its disk, and what its tasks do to that."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from miroir_cli.dev.engine.settings import DEFAULTS
from miroir_cli.model import SHARD_FIELD

Document = dict[str, Any]
Indexes = dict[str, "StoredIndex"]


@dataclass(kw_only=True)
class StoredIndex:
    """An index on a node's disk."""

    primary_key: str | None = None
    settings: dict[str, Any] = field(default_factory=lambda: dict(DEFAULTS))
    documents: dict[str, Document] = field(default_factory=dict)

    def can_filter(self) -> bool:
        return any(SHARD_FIELD in str(rule) for rule in self.settings["filterableAttributes"])


class Refusal(Exception):
    """Why a task fails."""


Change = Callable[[Indexes], int | None]
"""What a task does to the disk; returns how many documents it has indexed. Raises `Refusal` when it fails."""


def change_of(method: str, parts: list[str], content: bytes, content_type: str) -> tuple[str, Change]:
    """The type of the task that a request makes, and what it does."""
    body: Any = [] if content_type == "application/x-ndjson" or not content else msgspec.json.decode(content)
    match method, parts:
        case "POST", ["indexes"]:
            return "indexCreation", lambda disk: _create(disk, body["uid"], body["primaryKey"])
        case "DELETE", ["indexes", uid]:
            return "indexDeletion", lambda disk: _drop(disk, uid)
        case "PATCH", ["indexes", uid, "settings"]:
            return "settingsUpdate", lambda disk: _set(disk, uid, body)
        case (("POST" | "PUT"), ["indexes", uid, "documents"]):
            documents = body or [msgspec.json.decode(line) for line in content.splitlines()]
            return "documentAdditionOrUpdate", lambda disk: _add(disk, uid, documents, whole=method == "POST")
        case "POST", ["indexes", uid, "documents", "delete-batch"]:
            return "documentDeletion", lambda disk: _delete(disk, uid, body)
        case "DELETE", ["indexes", uid, "documents", key]:
            return "documentDeletion", lambda disk: _delete(disk, uid, [key])
        case "POST", ["indexes", uid, "documents", "delete"]:
            return "documentDeletion", lambda disk: _delete_matching(disk, uid, body["filter"])
    raise AssertionError(f"{method} {'/'.join(parts)}")


def _create(disk: Indexes, uid: str, primary_key: str) -> None:
    if uid in disk:
        raise Refusal("index_already_exists")
    disk[uid] = StoredIndex(primary_key=primary_key)


def _existing(disk: Indexes, uid: str) -> StoredIndex:
    if uid not in disk:
        raise Refusal("index_not_found")
    return disk[uid]


def _drop(disk: Indexes, uid: str) -> None:
    _existing(disk, uid)
    del disk[uid]


def _set(disk: Indexes, uid: str, settings: Mapping[str, Any]) -> None:
    index = disk.setdefault(uid, StoredIndex())
    for key, value in settings.items():
        before = index.settings.get(key)
        if value is None:
            index.settings[key] = DEFAULTS.get(key)
        elif isinstance(value, dict) and isinstance(before, dict):
            index.settings[key] = before | {name: part for name, part in value.items() if part is not None}
        else:
            index.settings[key] = value


def _add(disk: Indexes, uid: str, documents: Iterable[Document], *, whole: bool) -> int:
    index = disk.setdefault(uid, StoredIndex(primary_key="id"))
    keys = set()
    for document in documents:
        before = {} if whole else index.documents.get(document["id"], {})
        index.documents[document["id"]] = {**before, **document}
        keys.add(document["id"])
    return len(keys)


def _delete(disk: Indexes, uid: str, keys: Iterable[str]) -> None:
    index = _existing(disk, uid)
    for key in keys:
        index.documents.pop(key, None)


def _delete_matching(disk: Indexes, uid: str, filter: str | list[str]) -> None:
    index = _existing(disk, uid)
    if not index.can_filter():
        raise Refusal("not filterable")
    index.documents = {key: each for key, each in index.documents.items() if not matches(each, filter)}


def matches(document: Document, filter: str | list[str]) -> bool:
    """Whether a document is meant by a filter: `_miroir_shard` is one or one of some, `value` is above a number."""
    if isinstance(filter, list):
        return all(matches(document, each) for each in filter)
    if above := re.fullmatch(r"value > (\d+)", filter):
        return document.get("value") is not None and document["value"] > int(above.group(1))
    shards = re.fullmatch(rf"{SHARD_FIELD} (?:= |IN )(.+)", filter)
    assert shards is not None, filter
    return f'"{document[SHARD_FIELD]}"' in shards.group(1)
