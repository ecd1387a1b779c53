"""What a handler gets and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import EngineError

if TYPE_CHECKING:
    from .index import Index
    from .node import Node
    from .tasks import Task

Result = tuple[int, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read and authorised; `key` is None for the master key or without one."""

    node: Node
    path: Mapping[str, Any]
    query: Mapping[str, str]
    body: bytes
    content_type: str
    key: Mapping[str, Any] | None

    def uid(self) -> str:
        """Return the index named in the path, known or not."""
        uid: str = self.path["index_uid"]
        return uid

    def index(self) -> Index:
        """Return the index named in the path or raise `index_not_found`."""
        return self.node.index(self.uid())

    def may_create(self) -> bool:
        """Tell whether this request may create a missing index."""
        return self.node.keys.may_create_indexes(self.key)

    def json(self) -> Any:
        """Decode the body, which must say that it is JSON."""
        if self.content_type != "application/json":
            known = "Accepted values for the Content-Type header are: `application/json`"
            if not self.content_type:
                raise EngineError("missing_content_type", f"A Content-Type header is missing. {known}")
            raise EngineError("invalid_content_type", f"The Content-Type `{self.content_type}` is invalid. {known}")
        if not self.body.strip():
            raise EngineError("missing_payload", "A json payload is missing.")
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = f"The json payload provided is malformed. `{error}`."
            raise EngineError("malformed_payload", message) from None

    def object(self) -> dict[str, Any]:
        """Decode the body, which must be an object."""
        value = self.json()
        if not isinstance(value, dict):
            raise EngineError("bad_request", "Invalid value type: expected an object")
        return value


@dataclass(frozen=True, slots=True)
class Entry:
    """One route: the action a key needs (None: open to all) and the handler."""

    method: str
    path: str
    action: str | None
    handler: Callable[[Call], Result]


def accepted(task: Task) -> Result:
    """Answer a write."""
    return 202, task.receipt()
