"""Errors of the embedded node, in the shape Meilisearch gives them."""

from __future__ import annotations

from typing import Any

_STATUS = {
    "index_not_found": 404,
    "document_not_found": 404,
    "task_not_found": 404,
    "api_key_not_found": 404,
    "not_found": 404,
    "index_already_exists": 409,
    "api_key_already_exists": 409,
    "missing_authorization_header": 401,
    "missing_master_key": 401,
    "invalid_api_key": 403,
    "request_timeout": 408,
    "payload_too_large": 413,
    "invalid_content_type": 415,
    "missing_content_type": 415,
    "too_many_requests": 429,
    "internal": 500,
    "no_space_left_on_device": 422,
    "miroir_not_supported": 501,
    "too_many_search_requests": 503,
}
_SYSTEM = {"too_many_search_requests", "no_space_left_on_device"}
_AUTH = {"missing_authorization_header", "missing_master_key", "invalid_api_key"}


class EngineError(Exception):
    """A refusal: `code` decides the HTTP status and the error type."""

    def __init__(self, code: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or _STATUS.get(code, 400)

    def body(self) -> dict[str, Any]:
        """Return the JSON object clients see; also stored as the error of a failed task."""
        return error_body(self.code, self.message)


def error_body(code: str, message: str) -> dict[str, Any]:
    """Build the error object for a code; the type follows from the code."""
    if code in _AUTH:
        kind = "auth"
    elif code == "internal":
        kind = "internal"
    else:
        kind = "system" if code in _SYSTEM else "invalid_request"
    link = f"https://docs.meilisearch.com/errors#{code}"
    return {"message": message, "code": code, "type": kind, "link": link}


def index_not_found(uid: str) -> EngineError:
    """Say that an index does not exist."""
    return EngineError("index_not_found", f"Index `{uid}` not found.")


def not_supported(what: str) -> EngineError:
    """Refuse what Meilisearch can do and this node cannot."""
    return EngineError("miroir_not_supported", f"{what} is not supported by the embedded development node")
