"""What the texts of ranking rules and sorts say, and what else of the settings decides about scores. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from miroir_cli.model import Json

ORDERED: Final = re.compile(r"^(?P<field>.+):(?P<direction>asc|desc)$", re.DOTALL)
"""A sort, or a ranking rule that orders by a field."""


def is_relevancy(rule: str) -> bool:
    """Whether a ranking rule is one of those whose place the nearness of vectors takes."""
    return rule != "sort" and ":" not in rule


def searchable(settings: Json) -> int | None:
    """The number of searchable attributes; None for all."""
    attributes = settings.get("searchableAttributes")
    return None if attributes is None or "*" in attributes else len(attributes)
