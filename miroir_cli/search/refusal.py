"""What a node says when it refuses a request: whether it means the client's part or ours, and its words without ours.

Pure.
"""

from __future__ import annotations

import re

from miroir_cli.errors import NodeRefusal
from miroir_cli.model import SHARD_FIELD

_LISTED = re.compile(rf"`{SHARD_FIELD}`, |, `{SHARD_FIELD}`|(?<=`){SHARD_FIELD}, |, {SHARD_FIELD}(?=[`,])")
_ALONE = re.compile(rf"Available filterable attributes? patterns are: `{SHARD_FIELD}`\.")
_NONE_CONFIGURED = "This index does not have configured filterable attributes."


def means_the_node(refusal: NodeRefusal) -> bool:
    """Whether the refusal tells about the node and not about the request: it lost the index, or the settings that
    miroir gave it. It cannot be relied on then."""
    if refusal.node_code == "index_not_found":
        return True
    return f"ttribute `{SHARD_FIELD}`" in refusal.message


def in_the_clients_words(refusal: NodeRefusal) -> NodeRefusal:
    """The same refusal without miroir's own names in the message."""
    return NodeRefusal(
        clean_message(refusal.message),
        status=refusal.status,
        node_code=refusal.node_code,
        node=refusal.node,
        error_type=refusal.error_type,
        retry_after=refusal.retry_after,
        hint=refusal.hint,
    )


def clean_message(message: str) -> str:
    """A node's message with the shard marker taken out of its lists of attributes."""
    if SHARD_FIELD not in message:
        return message
    return _LISTED.sub("", _ALONE.sub(_NONE_CONFIGURED, message))
