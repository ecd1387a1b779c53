"""How long sessions are remembered, and how many: the same in every store."""

from __future__ import annotations

from typing import Final

KEPT_FOR: Final = 15 * 60 * 1000
"""Milliseconds for which a session's write is remembered."""

MOST_KEPT: Final = 100_000

LOOK_EVERY: Final = 64
"""Writes of sessions after which a process sees to it that there are no more than that."""
