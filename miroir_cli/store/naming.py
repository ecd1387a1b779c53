"""What indexes are called: free names, and which name takes the place of which. Pure."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any

from miroir_cli.model import IndexUid, StoredUid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from miroir_cli.store.records import Renaming

LONGEST_STEM = 380


def free_among(taken: Container[str], uid: str) -> StoredUid:
    """The name of a new index on the nodes where these are taken: its uid, or that with a number."""
    name, number = StoredUid(uid), 1
    while name in taken:
        number += 1
        name = StoredUid(f"{uid[:LONGEST_STEM]}-{number}")
    return name


def followers(renaming: Renaming) -> dict[IndexUid, IndexUid]:
    """Which name follows each."""
    return {**dict(renaming.pairs), **{second: first for first, second in renaming.pairs}}


def renamed_swaps(details: Mapping[str, Any], follows: Mapping[IndexUid, IndexUid]) -> dict[str, Any]:
    """The details of a client's swap as they are told once indexes have other names."""
    return {
        **details,
        "swaps": [
            {**swap, "indexes": [follows.get(IndexUid(uid), uid) for uid in swap["indexes"]]}
            for swap in details["swaps"]
        ],
    }
