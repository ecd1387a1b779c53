"""What a node says when it refuses a request: whether it means the client's part or ours, and its words without ours.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from miroir_cli.errors import IndexNotFound, MiroirError, NodeRefusal
from miroir_cli.model import RESERVED_PREFIX, Json
from miroir_cli.node.wording import clean_message

if TYPE_CHECKING:
    from miroir_cli.model import Index

_HIDE_NOTHING = ("invalid_document_sort",)


def means_the_node(refusal: NodeRefusal) -> bool:
    """Whether the refusal tells about the node and not about the request: it lost the index, or the settings that
    miroir gave it. It cannot be relied on then."""
    if refusal.node_code == "index_not_found":
        return True
    return f"ttribute `{RESERVED_PREFIX}" in refusal.message


def in_the_clients_words(
    refusal: NodeRefusal, index: Index | None = None, *, settings: Json | None = None
) -> NodeRefusal:
    """The same refusal as a node would word it that has the index under the name and with the settings of the user.
    `settings` takes the place of the latter."""
    known = settings if settings is not None else index.settings if index is not None else {}
    message = clean_message(refusal.message, {} if refusal.node_code in _HIDE_NOTHING else known)
    return NodeRefusal(
        message if index is None else index.worded(message),
        status=refusal.status,
        node_code=refusal.node_code,
        node=refusal.node,
        error_type=refusal.error_type,
        retry_after=refusal.retry_after,
        hint=refusal.hint,
    )


def inside(error: MiroirError, uid: str, where: str, *, note: str = "") -> MiroirError:
    """An error about an index that a part of a request names, as Meilisearch words it: ``Inside `where`: ...``.

    An index that is not found is the request's fault there, not the address's.
    """
    if isinstance(error, IndexNotFound):
        error = NodeRefusal(
            f"Index `{uid}` not found.", status=400, node_code="index_not_found", node="", hint=error.hint
        )
    error.message = f"Inside `{where}`: {error.message}{note}"
    error.args = (error.message,)
    return error
