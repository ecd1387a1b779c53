"""What an answer of a node means, or that there is none: an error, or what became of a write. Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from miroir_cli.errors import AuthenticationFailed, MiroirError, NodeRefusal, NodeUnavailable
from miroir_cli.node.answers import Accepted, Answer, Refused, Unknown

if TYPE_CHECKING:
    from miroir_cli.model import Node
    from miroir_cli.node.connection import Response


def unavailable(node: Node, error: Exception, *, sent: bool) -> NodeUnavailable:
    """The error for a request that got no answer. `sent`: the node may have seen it."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | OSError):
        reason = f"cannot be reached at {node.url}"
    elif isinstance(error, httpx.TimeoutException):
        reason = "did not answer in time"
    elif isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        reason = f"has a url that cannot be used: {node.url}"
    else:
        reason = "closed the connection without an answer"
    return NodeUnavailable(f"node `{node.name}` {reason}", node=node.name, sent=sent)


def judge_write(node: Node, response: httpx.Response) -> Answer:
    """What a node says to a write: `Refused` only where it certainly had no effect."""
    if response.status_code == 202:
        try:
            task = msgspec.json.decode(response.content)["taskUid"]
        except (msgspec.DecodeError, KeyError, TypeError):
            task = None
        if isinstance(task, int):
            return Accepted(task=task)
    error = error_of(node, response)
    certain = response.status_code == 413 or (
        (400 <= response.status_code < 500 or response.status_code == 503) and error_body(response) is not None
    )
    if certain:
        return Refused(error=error, status=response.status_code, retry_after=_retry_after(response))
    return Unknown(
        error=NodeUnavailable(
            f"node `{node.name}` answered {response.status_code} without saying what it did",
            node=node.name,
            sent=True,
        )
    )


def error_of(node: Node, response: httpx.Response | Response) -> MiroirError:
    """The error that a node answers, or that its answer is."""
    body = error_body(response)
    message = body["message"] if body else f"status {response.status_code}"
    if response.status_code in (401, 403):
        return AuthenticationFailed(
            f"node `{node.name}` refused the key: {message}",
            hint=f"check the key of node `{node.name}` (key_env, key_file or key_command in the topology file)",
        )
    if body is None or response.status_code >= 500 or response.status_code in (408, 429):
        return NodeUnavailable(
            f"node `{node.name}` answered {response.status_code}: {message}",
            node=node.name,
            sent=True,
            retry_after=_retry_after(response),
        )
    return NodeRefusal(
        message,
        status=response.status_code,
        node_code=str(body["code"]),
        node=node.name,
        error_type=str(body.get("type", "invalid_request")),
        retry_after=_retry_after(response),
    )


def error_body(response: httpx.Response | Response) -> dict[str, Any] | None:
    """Meilisearch's error object, or None when the body is not one."""
    try:
        body = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        return None
    if isinstance(body, dict) and isinstance(body.get("message"), str) and isinstance(body.get("code"), str):
        return body
    return None


def clock(response: httpx.Response | Response) -> float | None:
    """The node's own time in seconds since 1970; None when it told none."""
    try:
        return parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None


def _retry_after(response: httpx.Response | Response) -> float | None:
    """Seconds."""
    try:
        return max(0.0, float(response.headers["retry-after"]))
    except (KeyError, ValueError):
        return None
