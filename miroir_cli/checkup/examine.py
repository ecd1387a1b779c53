"""`check_up`: gather the facts, apply every rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from miroir_cli.checkup.finding import worst_first
from miroir_cli.checkup.gather import gather
from miroir_cli.checkup.index_rules import INDEX_RULES
from miroir_cli.checkup.node_rules import NODE_RULES
from miroir_cli.checkup.state_rules import STATE_RULES

if TYPE_CHECKING:
    from miroir_cli.checkup.facts import Facts
    from miroir_cli.checkup.finding import Finding
    from miroir_cli.cluster import Patience
    from miroir_cli.topology.file import Topology

Rule = Callable[["Facts"], Iterable["Finding"]]

RULES: tuple[Rule, ...] = (*STATE_RULES, *NODE_RULES, *INDEX_RULES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found, the worst first; `checked` is the number of rules that were applied."""

    findings: tuple[Finding, ...]
    checked: int


async def check_up(topology: Topology, *, patience: Patience | None = None) -> Report:
    """Look at everything, change nothing, and say what is wrong. Raises for nothing that a node or the state does."""
    return examine(await gather(topology, patience=patience))


def examine(facts: Facts) -> Report:
    """Apply every rule. Pure."""
    found = [finding for rule in RULES for finding in rule(facts)]
    return Report(findings=worst_first(found), checked=len(RULES))
