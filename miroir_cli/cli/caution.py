"""Which command asks before it changes something, and how: one table for the whole command tree.

The rule: a command asks when it can lose data, or copies or indexes documents for long. One that did neither before
it had a question goes on where there is no terminal, so that scripts need no `--yes` for it. What gives up data for
good asks for the name of what is given up. Everything else that changes the cluster is done without a question, and
all of it is in the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Caution(StrEnum):
    """What a command does before its first effect, from nothing at all to the most."""

    NONE = "none"
    """It changes nothing of a cluster: no question, no `--dry-run`, nothing in the journal."""
    ACTS = "acts"
    """It loses nothing and can be undone, or is exactly what was asked for: no question."""
    SHOWS = "shows"
    """On a terminal it shows the cluster and the plan and asks; off a terminal it goes on."""
    ASKS = "asks"
    """The same, and off a terminal it needs `--yes`."""
    NAMES = "names"
    """The name of what is given up has to be typed; off a terminal it needs `--yes`."""

    @property
    def changes(self) -> bool:
        return self is not Caution.NONE

    @property
    def may_ask(self) -> bool:
        return self in (Caution.SHOWS, Caution.ASKS, Caution.NAMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """When a command is that cautious (empty: always), and why."""

    caution: Caution
    when: str = ""
    why: str


NONE, ACTS, SHOWS, ASKS, NAMES = Caution

CHANGES: Final[dict[str, tuple[Case, ...]]] = {
    "init": (Case(caution=ACTS, why="writes one file, and replaces none without `--force`"),),
    "repair": (
        Case(caution=SHOWS, why="copies documents to stale replicas"),
        Case(caution=NAMES, when="`--accept-data-loss`", why="writes that a replica lacks are given up"),
    ),
    "node add": (Case(caution=ASKS, why="moves shards"),),
    "node drain": (Case(caution=ASKS, why="moves shards"),),
    "node remove": (
        Case(caution=ASKS, why="moves shards"),
        Case(caution=NAMES, when="`--force` gives up shards", why="their documents are nowhere else"),
    ),
    "node replace": (
        Case(caution=ASKS, why="moves shards"),
        Case(caution=NAMES, when="`--force` gives up shards", why="their documents are nowhere else"),
    ),
    "rebalance run": (Case(caution=ASKS, why="moves shards"),),
    "rebalance pause": (Case(caution=ACTS, why="`rebalance resume` undoes it"),),
    "rebalance resume": (Case(caution=ACTS, why="goes on with what was agreed to"),),
    "rebalance rate": (Case(caution=ACTS, why="can be set back"),),
    "rebalance cancel": (Case(caution=ASKS, why="deletes what is half copied"),),
    "tasks cancel": (
        Case(caution=ASKS, why="a replica misses a write, or a move begins again"),
        Case(caution=NAMES, when="`--accept-data-loss`", why="a part of a write is stored nowhere"),
    ),
    "index create": (Case(caution=SHOWS, why="the number of shards and the primary key are fixed for good"),),
    "index delete": (Case(caution=NAMES, why="all its documents are lost"),),
    "index swap": (Case(caution=ACTS, why="the same again undoes it"),),
    "index rename": (Case(caution=ACTS, why="can be renamed back"),),
    "alias create": (Case(caution=ACTS, why="`alias delete` undoes it"),),
    "alias flip": (Case(caution=ACTS, why="the same with the old index undoes it"),),
    "alias delete": (Case(caution=ACTS, why="its indexes stay, and it can be created again"),),
    "index unfreeze": (Case(caution=ACTS, why="sends the settings that the index has"),),
    "index settings set": (Case(caution=SHOWS, why="nodes may index all documents anew"),),
    "index settings reset": (Case(caution=SHOWS, why="nodes may index all documents anew"),),
    "import": (
        Case(caution=ACTS, why="the documents are in the files; `--dry-run` counts them first"),
        Case(caution=ASKS, when="`--from --delete`", why="deletes documents that the server does not have"),
    ),
    "export": (
        Case(caution=ACTS, why="writes a file, or documents that a server lacks"),
        Case(caution=ASKS, when="`--to --delete`", why="deletes documents of the server"),
    ),
    "backup create": (Case(caution=ACTS, why="adds a backup, and touches no other"),),
    "backup prune": (Case(caution=ASKS, why="deletes the backups that no rule keeps"),),
    "backup restore": (
        Case(caution=ACTS, why="creates indexes that are not there"),
        Case(caution=NAMES, when="`--replace`", why="all documents of the index that is there are lost"),
    ),
    "delete": (
        Case(caution=SHOWS, when="ids", why="deletes what was named one by one"),
        Case(caution=ASKS, when="`--filter`", why="deletes whatever matches"),
        Case(caution=NAMES, when="`--all`", why="all documents are lost"),
    ),
    "state recover": (
        Case(caution=ASKS, why="replaces the state file"),
        Case(caution=NAMES, when="a node or a shard is given up", why="what only it knew is lost"),
    ),
    "dev up": (Case(caution=ACTS, why="starts processes that `dev down` stops"),),
    "dev down": (Case(caution=ACTS, why="their data stays"),),
}
"""Every command that changes something, by its words. The others only read."""


ONLY_WITH: Final = {"export": "server"}
"""Commands that change something with one option alone, by the name of its parameter."""


def is_kept(words: str, parameters: Mapping[str, object]) -> bool:
    """Whether a command, such as `node add`, belongs into the journal as it was given."""
    needed = ONLY_WITH.get(words)
    return words in CHANGES and not parameters.get("dry_run") and (needed is None or bool(parameters.get(needed)))
