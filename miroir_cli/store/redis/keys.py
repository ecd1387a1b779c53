"""The names of keys: `miroir:<kind>:<id>`, and `miroir:<kind>:_index` for what there is of a kind.

Nothing ever looks for keys (SCAN, KEYS): whatever is listed has a sorted set that names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from miroir_cli.model import Index

CLUSTER: Final = "miroir:cluster"


def key(kind: str, *id: object) -> str:
    """The key of one record. No id makes it a listing: one that begins with `_` gets a second one (an index may be
    called `_index`)."""
    return ":".join(("miroir", kind, *map(_escaped, id)))


def listing(kind: str, *of: object) -> str:
    """The sorted set that names the records of a kind, or those `of` something."""
    return f"{key(kind, *of)}:_index"


def content_key(index: Index) -> str:
    """What an index is, whatever it is called: the same before and after a swap or a rename, and no other index's ever.

    What is written for an index and grows with its use is kept under this id and stays where it is when names change:
    its intents, the tasks known of it and its changes. What is small is kept under its uid and moves (`names.py`).
    """
    return f"{index.stored_as}@{index.created_at}"


def content_of(fields: Mapping[str, str]) -> str:
    """The same from the hash of an index."""
    return f"{fields['stored_as']}@{fields['created_at']}"


def _escaped(id: object) -> str:
    text = str(id)
    return f"_{text}" if text.startswith("_") else text
