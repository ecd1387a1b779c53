"""Which of the processes that serve a cluster does which of the work that is done once for all of them. Pure."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256

PEER = "serve.peer."
"""What the name of the lock begins with that a process holds as long as it serves: `serve.peer.<process>`."""

CHORE = "serve.chore."
"""What the name of the lock begins with that a process holds as long as it does a chore."""


def peers_of(locks: Collection[str]) -> list[str]:
    """The processes that serve, by the locks that are held."""
    return [name.removeprefix(PEER) for name in locks if name.startswith(PEER)]


def chosen(work: str, peers: Collection[str]) -> str | None:
    """Who is to do a piece of work: the same for everybody who knows the same peers, and with one more or less of them
    only the work of that one changes hands. None without peers.

    Source: rendezvous hashing (Thaler and Ravishankar 1998), as for the placement of shards.
    """
    return max(peers, key=lambda peer: sha256(f"{work}\0{peer}".encode()).digest(), default=None)
