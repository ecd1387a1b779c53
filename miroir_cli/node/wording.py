"""A node's words without what only miroir has put there.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from miroir_cli.model import RESERVED_PREFIX, Json

if TYPE_CHECKING:
    from miroir_cli.model import Index

_OWN = rf"{RESERVED_PREFIX}\w+"
_LISTED = re.compile(rf"`{_OWN}`, |, `{_OWN}`|(?<=`){_OWN}, |(?<=, ){_OWN}, |, {_OWN}(?=[`,])")
_ALONE = re.compile(rf"Available filterable attributes? patterns are: `{_OWN}(?:`?, `?{_OWN})*`\.")
_HIDING = re.compile(
    r"Available (?P<kind>sortable attributes|searchable attributes|facet-searchable attributes patterns|"
    r"(?<=distinct attribute\. Available )filterable attributes patterns) are: `(?P<names>[^`]*)`\."
)
"""The lists of which Meilisearch leaves out what is not displayed."""

_NUMBERED = re.compile(r"(?P<before>\b(?:in|before|matche[sd]) rule #)(?P<number>\d+)(?=\W|$)")
"""Rules of `filterableAttributes` by their number, of which miroir's own is the first."""

_HIDDEN = "<..hidden-attributes>"
_SETTINGS = {"sortable attributes": "sortableAttributes", "filterable attributes patterns": "filterableAttributes"}
_NONE_CONFIGURED = "This index does not have configured filterable attributes."
_NONE_OF = {
    "sortable attributes": "This index does not have configured sortable attributes.",
    "filterable attributes patterns": _NONE_CONFIGURED,
    "facet-searchable attributes patterns": "This index does not have configured facet-searchable attributes.",
}


def for_users(message: str, index: Index) -> str:
    """What a node says of an index, with the name that clients know it by and without names of miroir's own.

    Once only: the numbers of rules would be corrected twice.
    """
    return index.worded(clean_message(message))


def clean_message(message: str, settings: Json | None = None) -> str:
    """A node's message with names of miroir's own, and those that the user does not display, taken out of its lists."""
    if RESERVED_PREFIX in message:
        message = _LISTED.sub("", _ALONE.sub(_NONE_CONFIGURED, message))
    if "`filterableAttributes`" in message or "filterableAttributes," in message:
        message = _NUMBERED.sub(lambda match: f"{match['before']}{max(int(match['number']) - 1, 0)}", message)
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
