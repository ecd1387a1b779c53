"""API keys as clients write and see them. Pure but for new uids.

Meilisearch's order of looking, its words and its codes.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from miroir_cli.errors import ApiError
from miroir_cli.proxy.actions import ACTIONS, is_for_all_indexes
from miroir_cli.proxy.shapes import immutable, list_in, text_in, wrong_kind, wrong_value
from miroir_cli.proxy.spelling import refuse_unknown
from miroir_cli.store.records import ApiKey
from miroir_cli.store.slots import KEY_PREFIX

_FIELDS = ("description", "name", "uid", "actions", "indexes", "expiresAt")
_CHANGEABLE = ("description", "name")
_FIXED = ("uid", "actions", "indexes", "expiresAt", "createdAt", "updatedAt")
_PATTERN = re.compile(r"\*|[A-Za-z0-9_-]{1,400}\*?")
_MOMENT = re.compile(
    r"(?P<day>\d{4,6}-\d\d-\d\d)(?:[T ](?P<time>\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<zone>[Zz]|[+-]\d\d:\d\d)?)?"
)

DEFAULTS = (
    ("Default Search API Key", "Use it to search from the frontend", ("search",)),
    (
        "Default Admin API Key",
        "Use it for anything that is not a search operation. Caution! Do not expose it on a public frontend",
        ("*",),
    ),
    (
        "Default Read-Only Admin API Key",
        "Use it to read information across the whole database. Caution! Do not expose this key on a public frontend",
        ("*.get", "keys.get"),
    ),
    ("Default Chat API Key", "Use it to chat and search from the frontend", ("chatCompletions", "search")),
)
"""The keys that a new Meilisearch begins with, the newest first."""


def created(body: Mapping[str, Any], *, now: str) -> ApiKey:
    """The key that a body describes. Raises Meilisearch's error for the first thing that is wrong with it."""
    given: dict[str, Any] = {}
    for name, value in body.items():
        refuse_unknown((name,), _FIELDS, what="field")
        given[name] = _READERS[name](value)
    for name in ("actions", "indexes", "expiresAt"):
        if name not in body:
            raise ApiError(f"missing_api_key_{_snake(name)}", f"Missing field `{name}`")
    actions, indexes = given["actions"], given["indexes"]
    if indexes and "*" not in indexes:
        for action in filter(is_for_all_indexes, actions):
            raise ApiError(
                "index_scoped_api_key_with_global_action",
                f'cannot create index-scoped API key with global action `"{action}"`\n  - Hint: remove action '
                f'`"{action}"` from the action list, or remove `indexes` to make the key global',
            )
    return ApiKey(
        uid=given.get("uid") or str(uuid.uuid4()),
        name=given.get("name"),
        description=given.get("description"),
        actions=actions,
        indexes=indexes,
        expires_at=given["expiresAt"],
        created_at=now,
        updated_at=now,
    )


def changed(key: ApiKey, body: Mapping[str, Any], *, now: str) -> ApiKey:
    """The key after a change of its name or description."""
    given: dict[str, Any] = {}
    for name, value in body.items():
        if name in _FIXED:
            raise immutable(name, _CHANGEABLE, code=f"immutable_api_key_{_snake(name)}")
        refuse_unknown((name,), _CHANGEABLE, what="field")
        given[name] = _READERS[name](value)
    return replace(key, **given, updated_at=now)


def default_keys(*, now: str) -> tuple[ApiKey, ...]:
    """Search, admin, read-only and chat keys, as a new Meilisearch makes them."""
    return tuple(
        ApiKey(
            uid=str(uuid.uuid4()),
            name=name,
            description=description,
            actions=actions,
            indexes=("*",),
            expires_at=None,
            created_at=now,
            updated_at=now,
        )
        for name, description, actions in DEFAULTS
    )


def shown(key: ApiKey, value: str) -> dict[str, Any]:
    """A key as Meilisearch shows it."""
    return {
        "name": key.name,
        "description": key.description,
        "key": value,
        "uid": key.uid,
        "actions": key.actions,
        "indexes": key.indexes,
        "expiresAt": key.expires_at,
        "createdAt": key.created_at,
        "updatedAt": key.updated_at,
    }


def from_node(found: Mapping[str, Any]) -> ApiKey:
    """A key as a node shows it."""
    return ApiKey(
        uid=found["uid"],
        name=found.get("name"),
        description=found.get("description"),
        actions=tuple(found["actions"]),
        indexes=tuple(found["indexes"]),
        expires_at=found.get("expiresAt"),
        created_at=found["createdAt"],
        updated_at=found["updatedAt"],
    )


def for_node(key: ApiKey) -> dict[str, Any]:
    """The body with which a node gets the key."""
    return {
        "uid": key.uid,
        "name": key.name,
        "description": key.description,
        "actions": key.actions,
        "indexes": key.indexes,
        "expiresAt": key.expires_at,
    }


def written(nanoseconds: int) -> str:
    """A moment, in nanoseconds since 1970, as Meilisearch writes it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def moment(text: str) -> float:
    """Seconds since 1970 of a moment that Meilisearch has written."""
    return datetime.fromisoformat(text).timestamp()


def _name(value: Any) -> str | None:
    if value is None:
        return None
    text = text_in(value, code="invalid_api_key_name", where=".name")
    if text.startswith(KEY_PREFIX):
        message = f"`{KEY_PREFIX}...` is the name of miroir's own keys on the nodes; choose another one"
        raise wrong_value(message, code="invalid_api_key_name", where=".name")
    return text


def _description(value: Any) -> str | None:
    return None if value is None else text_in(value, code="invalid_api_key_description", where=".description")


def _uid(value: Any) -> str:
    text = text_in(value, code="invalid_api_key_uid", where=".uid")
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise wrong_value(_not_a_uuid(text), code="invalid_api_key_uid", where=".uid") from None


def _not_a_uuid(text: str) -> str:
    for place, letter in enumerate(text):
        if letter not in "0123456789abcdefABCDEF-":
            return f"invalid character: found `{letter}` at {place}"
    return f"invalid length: expected length 32 for simple format, found {len(text)}"


def _actions(value: Any) -> tuple[str, ...]:
    code = "invalid_api_key_actions"
    found = [
        text_in(each, code=code, where=f".actions[{place}]")
        for place, each in enumerate(list_in(value, code=code, where=".actions"))
    ]
    for place, each in enumerate(found):
        if each not in ACTIONS:
            known = ", ".join(f"`{action}`" for action in ACTIONS)
            raise ApiError(code, f"Unknown value `{each}` at `.actions[{place}]`: expected one of {known}")
    return tuple(found)


def _indexes(value: Any) -> tuple[str, ...]:
    code = "invalid_api_key_indexes"
    found = list_in(value, code=code, where=".indexes")
    for place, each in enumerate(found):
        where = f".indexes[{place}]"
        if not _PATTERN.fullmatch(text_in(each, code=code, where=where)):
            raise wrong_value(
                f"`{each.removesuffix('*')}` is not a valid index uid pattern. Index uid patterns can be an integer or "
                "a string containing only alphanumeric characters, hyphens (-), underscores (_), and optionally end "
                "with a star (*).",
                code=code,
                where=where,
            )
    return tuple(found)


def _expires_at(value: Any) -> str | None:
    code, where = "invalid_api_key_expires_at", ".expiresAt"
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong_kind(value, "a string", code=code, where=where)
    match = _MOMENT.fullmatch(value)
    try:
        if match is None or (match["fraction"] and not match["zone"]):
            raise ValueError
        fraction = (match["fraction"] or "").rstrip("0.")
        text = f"{match['day']}T{match['time'] or '00:00:00'}{fraction}{match['zone'] or 'Z'}".upper()
        if moment(text) <= datetime.now(UTC).timestamp():
            raise ValueError
    except ValueError:
        raise wrong_value(
            f"`{value}` is not a valid date. It should follow the RFC 3339 format to represents a date or datetime in "
            "the future or specified as a null value. e.g. 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'.\n",
            code=code,
            where=where,
        ) from None
    return text


_READERS = {
    "name": _name,
    "description": _description,
    "uid": _uid,
    "actions": _actions,
    "indexes": _indexes,
    "expiresAt": _expires_at,
}


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)
