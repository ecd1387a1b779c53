"""Which part of the ranked hits a client wants, and how many of them every node must send for it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.indexes.settings import DEFAULT_MAX_TOTAL_HITS

if TYPE_CHECKING:
    from miroir_cli.model import Json

DEFAULT_LIMIT = 20
_WORD = 2**64
"""Meilisearch counts in unsigned 64-bit numbers, and lets sums and products wrap around."""

GEO_MARGIN = 20
"""Hits asked beyond the window when sorting by distance: positions closer than 1 m are one rank, and where a rank
begins depends on the hits at hand, so the last ones of a node's list may belong elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Hits `skip` to `skip + take` of the first `needed`; `echo` is what the answer says about it.

    `pages`: asked with `page` or `hitsPerPage`, which makes the nodes count exhaustively. `ends_all`: it ends where
    `maxTotalHits` ends all results.
    """

    skip: int
    take: int
    needed: int
    pages: bool
    echo: Mapping[str, int]
    ends_all: bool = False

    @property
    def counts_everything(self) -> bool:
        """Whether one node that has everything looks at every document to count what reaches a threshold.

        For pages it stops at `maxTotalHits` hits, and it holds all up to the page's end: `bucket_sort.rs` and
        `federated/perform.rs` of Meilisearch 1.50.
        """
        return self.pages and not self.ends_all

    def for_nodes(self, *, more: int, share: float = 1.0) -> dict[str, int]:
        """The pagination that a node is asked for: `more` hits beyond the window, or only as many of its first ones as
        it is likely to have with a `share` of all documents."""
        count = enough(self.needed, share) + more if self.needed else 0
        return {"page": 1, "hitsPerPage": count} if self.pages else {"offset": 0, "limit": count}

    def totals(self, found: int) -> dict[str, int]:
        """The pagination part of the answer, in Meilisearch's order of keys."""
        if not self.pages:
            return {**self.echo, "estimatedTotalHits": found}
        per_page = self.echo["hitsPerPage"]
        return {**self.echo, "totalPages": -(-found // per_page) if per_page else 0, "totalHits": found}


def enough(needed: int, share: float) -> int:
    """How many of the first `needed` hits a node with this share of the documents has, all but certainly no more.

    The hash of its key puts a document on a node whatever its rank: the number is binomial, and 3 standard deviations
    above its mean are exceeded about once in a thousand times.
    """
    return min(needed, math.ceil(needed * share + 3 * math.sqrt(needed * share * (1 - share))))


def max_total_hits(settings: Json) -> int:
    found = (settings.get("pagination") or {}).get("maxTotalHits")
    return DEFAULT_MAX_TOTAL_HITS if found is None else int(found)


def make_window(request: Json, settings: Json) -> Window | None:
    """The window of a request; None when one of its numbers is not one, which is for a node to say."""
    page, per_page = request.get("page"), request.get("hitsPerPage")
    limit, offset = request.get("limit", DEFAULT_LIMIT), request.get("offset", 0)
    if not all(map(is_size, (limit, offset, *(value for value in (page, per_page) if value is not None)))):
        return None
    at_most = max_total_hits(settings)
    if page is None and per_page is None:
        needed = min((limit + offset) % _WORD, at_most)
        return Window(skip=offset, take=limit, needed=needed, pages=False, echo={"limit": limit, "offset": offset})
    size = DEFAULT_LIMIT if per_page is None else per_page
    number = 1 if page is None else page
    needed = min(size * number % _WORD, at_most)
    return Window(
        skip=max(number - 1, 0) * size,
        take=size if number else 0,
        needed=needed,
        pages=True,
        echo={"hitsPerPage": size, "page": number},
        ends_all=needed == at_most,
    )


def is_size(value: Any) -> bool:
    """Whether a JSON value is a count that Meilisearch takes."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _WORD
