"""`check_up`: gather the facts, apply every rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from miroir_cli.checkup.catalogue import selected
from miroir_cli.checkup.finding import worst_first
from miroir_cli.checkup.gather import gather
from miroir_cli.checkup.index_rules import INDEX_RULES
from miroir_cli.checkup.key_rules import KEY_RULES
from miroir_cli.checkup.layout_rules import LAYOUT_RULES
from miroir_cli.checkup.limit_rules import LIMIT_RULES
from miroir_cli.checkup.machine_rules import MACHINE_RULES
from miroir_cli.checkup.node_rules import NODE_RULES
from miroir_cli.checkup.redis_rules import REDIS_RULES
from miroir_cli.checkup.run_rules import RUN_RULES
from miroir_cli.checkup.state_rules import STATE_RULES

if TYPE_CHECKING:
    from miroir_cli.checkup.facts import Facts
    from miroir_cli.checkup.finding import Finding
    from miroir_cli.cluster import Patience
    from miroir_cli.topology.file import Topology

Rule = Callable[["Facts"], Iterable["Finding"]]

EVERYTHING = selected()

RULES: tuple[Rule, ...] = (
    *STATE_RULES,
    *REDIS_RULES,
    *MACHINE_RULES,
    *NODE_RULES,
    *KEY_RULES,
    *INDEX_RULES,
    *LAYOUT_RULES,
    *LIMIT_RULES,
    *RUN_RULES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found, the worst first; `checked` is the number of checks that were applied."""

    findings: tuple[Finding, ...]
    checked: int


async def check_up(
    topology: Topology, *, patience: Patience | None = None, checks: frozenset[str] = EVERYTHING
) -> Report:
    """Look at everything, change nothing, and say what is wrong, as far as these `checks` go. Raises for nothing that
    a node or the state does."""
    return examine(await gather(topology, patience=patience), checks=checks)


def examine(facts: Facts, *, checks: frozenset[str] = EVERYTHING) -> Report:
    """Apply every rule and keep what the `checks` find. Pure."""
    found = [finding for rule in RULES for finding in rule(facts) if finding.check in checks]
    return Report(findings=worst_first(found), checked=len(checks))
