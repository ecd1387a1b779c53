"""The clients' master key: the proxy's own, or the one that the nodes share; and whose keys a new cluster begins with.

Pure.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from miroir_cli.errors import AuthenticationFailed, MiroirError, NodeUnavailable
from miroir_cli.proxy.key_bodies import DEFAULTS
from miroir_cli.topology.keys import value_of

if TYPE_CHECKING:
    from miroir_cli.model import NodeName
    from miroir_cli.store.records import ApiKey


@dataclass(frozen=True, slots=True)
class Master:
    """The clients' master key (None: everything is open), and the nodes that have the same one."""

    key: str | None = field(repr=False)
    shared_by: tuple[NodeName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """What a node lets know of its keys: `master`, where the key in the topology file is its master key; `proof`: the
    uid and the value of one of its keys; `unguarded`: it has no master key at all."""

    master: str | None = field(default=None, repr=False)
    keys: tuple[ApiKey, ...] = ()
    proof: tuple[str, str] | None = field(default=None, repr=False)
    unguarded: bool = False


def judge_master(found: Mapping[NodeName, Introduction | MiroirError], own: str | None) -> Master:
    """The clients' master key: the proxy's `own` one, or that of the nodes when all that answer have the same.

    Raises the reason when there is neither.
    """
    answered = {name: each for name, each in found.items() if isinstance(each, Introduction)}
    if own is None:
        if not answered:
            error = next((each for each in found.values() if isinstance(each, MiroirError)), None)
            raise error or NodeUnavailable("no node answers", node="", sent=False)
        if all(each.unguarded for each in answered.values()):
            return Master(None)
        masters = {each.master for each in answered.values()}
        own = masters.pop() if len(masters) == 1 else None
    if own is None:
        raise AuthenticationFailed(
            "clients have no master key: the nodes do not share one, or the topology file holds other keys of theirs",
            hint="give the proxy its own with key_env, key_file or key_command in `[serve]` of the topology file",
        )
    key = own
    sharing = [
        name
        for name, each in answered.items()
        if each.proof is not None and hmac.compare_digest(value_of(each.proof[0], key), each.proof[1])
    ]
    return Master(key, tuple(sorted(sharing)))


def first_keys(found: Sequence[Introduction | MiroirError]) -> tuple[ApiKey, ...]:
    """The keys of all nodes, each once; of those that every node begins with only the first node's."""
    named = {name for name, _, _ in DEFAULTS}
    keys: dict[str, ApiKey] = {}
    seen: set[str] = set()
    for each in found:
        if not isinstance(each, Introduction):
            continue
        for key in each.keys:
            if key.name not in named or key.name not in seen:
                keys.setdefault(key.uid, key)
        seen |= {key.name for key in each.keys if key.name in named}
    return tuple(keys.values())
