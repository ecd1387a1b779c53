"""Scripts that Redis runs by itself, each at one moment: sent once, named by their hash from then on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from miroir_cli.store.redis.fields import Command

Argument = str | int | float


class Script:
    """A script. Whatever it reads or writes is in `keys` (`KEYS`), what it needs to know in `arguments` (`ARGV`)."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def by_hash(self, keys: Iterable[str], arguments: Iterable[Argument]) -> Command:
        """The command that runs it where it is known; a server that was started since does not know it."""
        keys = tuple(keys)
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)

    def whole(self, keys: Iterable[str], arguments: Iterable[Argument]) -> Command:
        """The command that runs it, and makes it known."""
        keys = tuple(keys)
        return ("EVAL", self.text, len(keys), *keys, *arguments)
