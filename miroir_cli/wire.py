"""Errors as Meilisearch's clients know them: `{"message", "code", "type", "link"}` and a status.

Source of the codes, their statuses and types: Meilisearch's own list (https://docs.meilisearch.com/errors).
"""

from __future__ import annotations

import re

from miroir_cli.errors import (
    ApiError,
    AuthenticationFailed,
    DocumentNotFound,
    IndexNotFound,
    MiroirError,
    NodeRefusal,
    NodeUnavailable,
    SettingsInvalid,
)

STATUSES = {
    "api_key_already_exists": 409,
    "api_key_not_found": 404,
    "batch_not_found": 404,
    "document_not_found": 404,
    "index_already_exists": 409,
    "index_not_found": 404,
    "internal": 500,
    "invalid_api_key": 403,
    "invalid_content_type": 415,
    "missing_authorization_header": 401,
    "missing_content_type": 415,
    "missing_master_key": 401,
    "miroir_idempotency_key_reused": 409,
    "miroir_index_frozen": 423,
    "miroir_invalid_auth": 401,
    "miroir_not_supported": 501,
    "miroir_overloaded": 503,
    "miroir_settings_version_stale": 503,
    "not_found": 404,
    "payload_too_large": 413,
    "task_not_found": 404,
    "too_many_search_requests": 503,
    "webhook_not_found": 404,
}
"""Statuses of the codes that are not 400."""

AUTH = frozenset({"invalid_api_key", "missing_authorization_header", "missing_master_key", "miroir_invalid_auth"})
RETRY_AFTER = 1
"""Seconds after which a client may try again what is refused for a moment."""

_NAMED = re.compile(r"`([^`]*)`")


def status_of(error: MiroirError) -> int:
    """The HTTP status that a client gets for an error."""
    if isinstance(error, ApiError):
        return error.status or STATUSES.get(error.api_code, 400)
    if isinstance(error, NodeRefusal):
        return error.status
    if isinstance(error, AuthenticationFailed):  # a node refused the cluster's key: not the client's fault
        return 502
    return error.http_status


def wire_error(error: MiroirError) -> dict[str, str]:
    """The object that clients see, also as the error of a task."""
    if isinstance(error, ApiError):
        return _body(_told(error), error.api_code, _type_of(error.api_code, status_of(error)))
    if isinstance(error, NodeRefusal):
        return _body(error.message, error.node_code, error.error_type)
    if isinstance(error, IndexNotFound | DocumentNotFound):
        what = "Index" if isinstance(error, IndexNotFound) else "Document"
        named = _NAMED.search(error.message)
        return _body(f"{what} `{named[1] if named else ''}` not found.", error.code, "invalid_request")
    if isinstance(error, SettingsInvalid) and error.node_error is not None:
        said = error.node_error
        return _body(str(said.get("message")), str(said.get("code")), str(said.get("type")))
    return _body(_told(error), error.code, _type_of(error.code, status_of(error)))


def retry_after(error: MiroirError) -> int | None:
    """Seconds for the header `Retry-After`, where trying again helps."""
    if isinstance(error, NodeUnavailable | NodeRefusal) and error.retry_after is not None:
        return max(1, round(error.retry_after))
    return RETRY_AFTER if status_of(error) == 503 else None


def _told(error: MiroirError) -> str:
    return error.message if error.hint is None else f"{error.message} ({error.hint})"


def _type_of(code: str, status: int) -> str:
    if code in AUTH:
        return "auth"
    if code == "internal":
        return "internal"
    return "invalid_request" if status < 500 or status == 501 else "system"


def _body(message: str, code: str, kind: str) -> dict[str, str]:
    page = "docs/reference/errors.md" if code.startswith("miroir_") else "https://docs.meilisearch.com/errors"
    return {"message": message, "code": code, "type": kind, "link": f"{page}#{code}"}


def not_supported(what: str, reason: str) -> ApiError:
    """A refusal of what one Meilisearch can do and a cluster cannot, or not yet."""
    return ApiError("miroir_not_supported", f"{what} is not supported by miroir: {reason}")
