"""What a node answers to a write, and what it says it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miroir_cli.errors import MiroirError, NodeUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeVersion:
    """What a node says it is: `engine` is `meilisearch` or `miroir-embedded`."""

    package: str
    engine: str

    def at_least(self, major: int, minor: int) -> bool:
        return self.numbers >= (major, minor)

    @property
    def numbers(self) -> tuple[int, int]:
        parts = self.package.split(".")
        try:
            return int(parts[0]), int(parts[1])
        except (IndexError, ValueError):
            return (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """A sign of life. `clock`: the node's own time in seconds since 1970, cut to whole ones; None when it told none."""

    clock: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The node has the write in its queue."""

    task: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The write had no effect for certain. `status` is None when the node was not reached."""

    error: MiroirError
    status: int | None = None
    retry_after: float | None = None

    @property
    def temporary(self) -> bool:
        """Whether the same request can be accepted later."""
        return self.status is None or self.status in (408, 429, 503)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """The write may or may not be in the node's queue."""

    error: NodeUnavailable


Answer = Accepted | Refused | Unknown
