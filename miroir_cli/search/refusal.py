"""What a node says when it refuses a request: whether it means the client's part or ours, and its words without ours.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from miroir_cli.errors import NodeRefusal
from miroir_cli.model import RESERVED_PREFIX, Json

_OWN = rf"{RESERVED_PREFIX}\w+"
_LISTED = re.compile(rf"`{_OWN}`, |, `{_OWN}`|(?<=`){_OWN}, |(?<=, ){_OWN}, |, {_OWN}(?=[`,])")
_ALONE = re.compile(rf"Available filterable attributes? patterns are: `{_OWN}(?:`?, `?{_OWN})*`\.")
_HIDING = re.compile(
    r"Available (?P<kind>sortable attributes|searchable attributes|facet-searchable attributes patterns|"
    r"(?<=distinct attribute\. Available )filterable attributes patterns) are: `(?P<names>[^`]*)`\."
)
"""The lists of which Meilisearch leaves out what is not displayed."""

_HIDE_NOTHING = ("invalid_document_sort",)
_HIDDEN = "<..hidden-attributes>"
_SETTINGS = {"sortable attributes": "sortableAttributes", "filterable attributes patterns": "filterableAttributes"}
_NONE_CONFIGURED = "This index does not have configured filterable attributes."
_NONE_OF = {
    "sortable attributes": "This index does not have configured sortable attributes.",
    "filterable attributes patterns": _NONE_CONFIGURED,
    "facet-searchable attributes patterns": "This index does not have configured facet-searchable attributes.",
}


def means_the_node(refusal: NodeRefusal) -> bool:
    """Whether the refusal tells about the node and not about the request: it lost the index, or the settings that
    miroir gave it. It cannot be relied on then."""
    if refusal.node_code == "index_not_found":
        return True
    return f"ttribute `{RESERVED_PREFIX}" in refusal.message


def in_the_clients_words(refusal: NodeRefusal, settings: Json | None = None) -> NodeRefusal:
    """The same refusal as a node with the user's `settings` would word it."""
    return NodeRefusal(
        clean_message(refusal.message, {} if refusal.node_code in _HIDE_NOTHING else settings or {}),
        status=refusal.status,
        node_code=refusal.node_code,
        node=refusal.node,
        error_type=refusal.error_type,
        retry_after=refusal.retry_after,
        hint=refusal.hint,
    )


def clean_message(message: str, settings: Json | None = None) -> str:
    """A node's message with names of miroir's own, and those that the user does not display, taken out of its lists."""
    if RESERVED_PREFIX in message:
        message = _LISTED.sub("", _ALONE.sub(_NONE_CONFIGURED, message))
    displayed = (settings or {}).get("displayedAttributes")
    if displayed is None or "*" in displayed:
        return message
    return _HIDING.sub(lambda match: _hide(match, frozenset(displayed), settings or {}), message)


def _hide(match: re.Match[str], displayed: frozenset[str], settings: Json) -> str:
    """A list of attributes as Meilisearch shows it: those displayed, and a word when there are more."""
    kind = match["kind"]
    listed = [name for name in match["names"].split(", ") if name and name != _HIDDEN]
    shown = [name for name in listed if name in displayed]
    if not shown:
        return _NONE_OF.get(kind, match[0])
    key = _SETTINGS.get(kind)
    configured = listed if key is None else list(_patterns(settings.get(key) or ()))
    more = any(name not in displayed for name in configured) or (key is None and _HIDDEN in match["names"])
    return f"Available {kind} are: `{', '.join([*shown, *([_HIDDEN] if more else [])])}`."


def _patterns(attributes: Iterable[Any]) -> Iterator[str]:
    for attribute in attributes:
        if isinstance(attribute, str):
            yield attribute
        else:
            yield from attribute["attributePatterns"]
