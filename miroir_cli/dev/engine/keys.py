"""API keys: who may do what when the node has a master key."""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .attributes import matches_pattern
from .errors import EngineError
from .tasks import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .store import Store

_ACTIONS = re.compile(
    r"\*|(documents|indexes|tasks|settings|stats|metrics|dumps|snapshots|keys|webhooks|chats|chatsSettings)"
    r"\.(\*|get|add|create|update|delete|cancel|swap|compact|completions)|search|version|experimental\.(get|update)"
    r"|export|network\.(get|update)|\*\.get\Z"
)
_DEFAULTS = (
    ("Default Search API Key", "Use it to search from the frontend", ["search"]),
    ("Default Admin API Key", "Use it for anything that is not a search operation.", ["*"]),
)


class Keys:
    """The keys of a node; without a master key everything is allowed."""

    def __init__(self, store: Store, master_key: str | None) -> None:
        self._store, self.master_key = store, master_key
        self._records: dict[str, dict[str, Any]] = {}
        self.load()

    def load(self) -> None:
        """Read the keys from the store; a fresh store gets the default ones."""
        self._records = {record["uid"]: record for record in self._store.records("keys")}
        if self.master_key and not self._store.value("keys", default=False):
            for name, description, actions in _DEFAULTS:
                fields = {"name": name, "description": description, "actions": actions}
                self.create({**fields, "indexes": ["*"], "expiresAt": None})
            self._store.put_value("keys", value=True)

    def value(self, uid: str) -> str:
        """Return the secret of a key: it depends on its uid and the master key alone."""
        secret = (self.master_key or "").encode()
        return hmac.new(secret, uid.encode(), hashlib.sha256).hexdigest()

    def shown(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the key object of the API."""
        order = ("name", "description")
        first = {name: record[name] for name in order} | {"key": self.value(record["uid"])}
        return first | {name: value for name, value in record.items() if name not in order}

    def listed(self) -> list[dict[str, Any]]:
        """Return all keys, newest first."""
        records = sorted(self._records.values(), key=lambda record: record["createdAt"], reverse=True)
        return [self.shown(record) for record in records]

    def find(self, uid_or_key: str) -> dict[str, Any]:
        """Return a key's record by uid or by value."""
        for record in self._records.values():
            if uid_or_key in (record["uid"], self.value(record["uid"])):
                return record
        raise EngineError("api_key_not_found", f"API key `{uid_or_key}` not found.")

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create a key from a request body and return what to show."""
        for field in ("actions", "indexes", "expiresAt"):
            if field not in body:
                snake = "expires_at" if field == "expiresAt" else field
                raise EngineError(f"missing_api_key_{snake}", f"Missing field `{field}`")
        actions = body["actions"]
        if not isinstance(actions, list) or not all(_ACTIONS.match(str(action)) for action in actions):
            raise EngineError("invalid_api_key_actions", "Invalid value at `.actions`")
        uid = self._uid(body.get("uid"))
        now = timestamp()
        record = {
            "name": body.get("name"),
            "description": body.get("description"),
            "uid": uid,
            "actions": actions,
            "indexes": body["indexes"],
            "expiresAt": body["expiresAt"],
            "createdAt": now,
            "updatedAt": now,
        }
        self._store.put_record("keys", uid, record)
        self._records[uid] = record
        return self.shown(record)

    def _uid(self, given: Any) -> str:
        if given is None:
            return str(uuid.uuid4())
        try:
            uid = str(uuid.UUID(given))
        except (ValueError, TypeError, AttributeError):
            raise EngineError("invalid_api_key_uid", "Invalid value at `.uid`: not a UUID") from None
        if uid in self._records:
            message = f"`uid` field value `{uid}` is already an existing API key."
            raise EngineError("api_key_already_exists", message)
        return uid

    def change(self, uid_or_key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change a key's name or description."""
        record = self.find(uid_or_key)
        for field in body:
            if field not in ("name", "description"):
                raise EngineError("bad_request", f"The `{field}` field cannot be modified for the given resource.")
        record = {**record, **body, "updatedAt": timestamp()}
        self._store.put_record("keys", record["uid"], record)
        self._records[record["uid"]] = record
        return self.shown(record)

    def delete(self, uid_or_key: str) -> None:
        """Delete a key; requests with it are refused from now on."""
        uid = self.find(uid_or_key)["uid"]
        self._store.delete_record("keys", [uid])
        del self._records[uid]

    def check(self, authorization: str | None, action: str, index_uid: str | None) -> dict[str, Any] | None:
        """Let a request through or raise; returns the key's record, None for the master key."""
        if self.master_key is None:
            return None
        if not authorization or not authorization.startswith("Bearer "):
            message = "The Authorization header is missing. It must use the bearer authorization method."
            raise EngineError("missing_authorization_header", message)
        token = authorization.removeprefix("Bearer ").strip()
        if hmac.compare_digest(token.encode(), self.master_key.encode()):
            return None
        for record in self._records.values():
            if self.value(record["uid"]) == token and _allows(record, action, index_uid):
                return record
        raise EngineError("invalid_api_key", "The provided API key is invalid.")

    def check_record(self, record: Mapping[str, Any] | None, action: str, index_uid: str) -> None:
        """Raise when a key may not do something to an index that only the body names."""
        if record is not None and not _allows(record, action, index_uid):
            raise EngineError("invalid_api_key", "The provided API key is invalid.")

    def may_create_indexes(self, record: Mapping[str, Any] | None) -> bool:
        """Tell whether a write with this key may create a missing index."""
        return record is None or _allows(record, "indexes.create", None)


def _allows(record: Mapping[str, Any], action: str, index_uid: str | None) -> bool:
    expires = record["expiresAt"]
    if expires is not None and datetime.fromisoformat(expires) < datetime.now(UTC):
        return False
    group = action.partition(".")[0] + ".*"
    getters = action.endswith(".get") and "*.get" in record["actions"]
    if not getters and not {action, group, "*"} & set(record["actions"]):
        return False
    return index_uid is None or any(matches_pattern(pattern, index_uid) for pattern in record["indexes"])
