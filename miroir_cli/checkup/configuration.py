"""`check_configuration`: everything that is wrong with a topology file, in one go, and what it asks to be changed.

Without nodes: the file, the keys that it names, and the state file are read, and nothing is changed. A state in Redis
is read when nodes are asked too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from miroir_cli.checkup.catalogue import selected
from miroir_cli.checkup.config_rules import CHANGE_RULES, CONFIG_RULES, secrets_in_comments, values_wrong
from miroir_cli.checkup.examine import check_up, examine
from miroir_cli.checkup.facts import ConfigFacts, Facts, KeySource, NodeFacts, StateFacts
from miroir_cli.checkup.finding import Finding, error, worst_first
from miroir_cli.checkup.gather import look_at_serve, open_key_file, resolve_keys
from miroir_cli.checkup.key_rules import weakness
from miroir_cli.checkup.machine import read_machine, read_state_files
from miroir_cli.checkup.state import describe_state, opened_state
from miroir_cli.errors import MiroirError, TopologyInvalid
from miroir_cli.topology.file import TOML_HINT, Topology, parse_toml, read_text, syntax_error, unwrap
from miroir_cli.topology.keys import source_of
from miroir_cli.topology.lines import line_of, lines_of
from miroir_cli.topology.schema import Content, read

if TYPE_CHECKING:
    from pathlib import Path

    from miroir_cli.cluster import Patience
    from miroir_cli.model import Secret

OFFLINE = frozenset(
    {
        "cluster.margin",
        "cluster.zones",
        "key.file",
        "key.weak",
        "state.damaged",
        "state.network",
        "state.other-cluster",
        "state.too-new",
        "state.unreachable",
        "state.unreadable",
        "topology.writable",
    }
)
"""The doctor's checks that need no node to answer."""

ONLINE = selected(["node", "key"]) - OFFLINE

STATE_LIMIT = 5.0
"""Seconds for the look into the state file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A finding with its line in the file, where it has one."""

    finding: Finding
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport:
    """What was found, the worst first, then by line. `topology`: the file as it is read, unless it is wrong. `changes`:
    what it asks for and the cluster does not have yet."""

    path: Path
    findings: tuple[Located, ...]
    changes: tuple[Finding, ...] = ()
    topology: Topology | None = None


async def check_configuration(path: Path, *, online: bool = False, patience: Patience | None = None) -> ConfigReport:
    """Look at a topology file. `online`: ask its nodes as well. Raises for nothing that the file says."""
    try:
        text = await asyncio.to_thread(read_text, path)
    except TopologyInvalid as failure:
        found = error("file.unreadable", str(path), failure.message, failure.hint or "is it the right file?")
        return ConfigReport(path=path, findings=(Located(finding=found),))
    wrong = syntax_error(text)
    if wrong is not None:
        line, reason = wrong
        found = error("file.syntax", str(path), f"not TOML ({reason})", TOML_HINT)
        return ConfigReport(path=path, findings=(Located(finding=found, line=line),))
    content, problems = read(unwrap(path, parse_toml(path, text)))
    config = await _try_out(content, path)
    lines = lines_of(text)
    findings = [*values_wrong(problems), *(each for rule in CONFIG_RULES for each in rule(config))]
    located = [Located(finding=each, line=line_of(lines, each.where)) for each in findings]
    located += [Located(finding=each, line=line) for line, each in secrets_in_comments(text)]
    if problems:
        return ConfigReport(path=path, findings=_ordered(located))
    topology = Topology(
        path=path, cluster=content.cluster, state=content.state, nodes=content.nodes, serve=content.serve
    )
    facts = await _without_nodes(topology, config, online=online)
    located += [Located(finding=each) for each in examine(facts, checks=OFFLINE).findings]
    if online:
        report = await check_up(topology, patience=patience, checks=ONLINE)
        located += [Located(finding=each) for each in report.findings]
    changes = [each for rule in CHANGE_RULES for each in rule(facts)]
    located += [Located(finding=each) for each in changes if not each.check.startswith("change.")]
    return ConfigReport(
        path=path,
        findings=_ordered(located),
        changes=tuple(each for each in changes if each.check.startswith("change.")),
        topology=topology,
    )


def _ordered(located: Sequence[Located]) -> tuple[Located, ...]:
    """The worst first, then in the order of the file, what has no line at the end."""
    by_line = sorted(located, key=lambda each: (each.line is None, each.line or 0))
    ranks = {id(finding): rank for rank, finding in enumerate(worst_first([each.finding for each in by_line]))}
    return tuple(sorted(by_line, key=lambda each: ranks[id(each.finding)]))


async def _try_out(content: Content, path: Path) -> ConfigFacts:
    """Get every key from where the file says that it is."""
    named = dict(_sources(content))
    keys = await resolve_keys(set(named.values()), base=path.parent)
    sources = []
    for table, secret in named.items():
        key = keys[secret]
        source = KeySource(table=table, secret=secret, weak=weakness(key) if isinstance(key, str) else None)
        if isinstance(key, MiroirError):
            source = replace(source, problem=key.message, hint=key.hint)
        sources.append(source)
    return ConfigFacts(
        positions=content.positions,
        serve=content.serve,
        state=content.state,
        sources=tuple(sources),
        processors=os.cpu_count(),
    )


def _sources(content: Content) -> Iterable[tuple[str, Secret]]:
    if content.default_key is not None:
        yield "defaults", content.default_key
    if content.state.password is not None:
        yield "state", content.state.password
    for position, node in content.positions:
        if node.key is not None and node.key != content.default_key:
            yield f"nodes[{position}]", node.key
    if content.serve.key is not None:
        yield "serve", content.serve.key
    if content.serve.admin_key is not None:
        yield "serve.admin", content.serve.admin_key


async def _read_state(topology: Topology, *, online: bool) -> StateFacts:
    """What the state says; Redis is a server, and asked as the nodes are."""
    base = topology.path.parent
    if topology.state.shared and not online:
        return StateFacts(
            path=topology.state.address,
            in_redis=True,
            asked=False,
            open_password_file=open_key_file(topology.state.password, base),
        )
    async with opened_state(topology, limit=STATE_LIMIT) as state:
        reading = await state.read()
        described = describe_state(state, reading, reading, held=frozenset())
        files = None if state.path is None else await asyncio.to_thread(read_state_files, state.path)
    return replace(described, files=files, open_password_file=open_key_file(topology.state.password, base))


async def _without_nodes(topology: Topology, config: ConfigFacts, *, online: bool) -> Facts:
    """The facts of a check-up in which no node was asked."""
    weak = {source.secret: source.weak for source in config.sources}
    return Facts(
        cluster=topology.cluster,
        nodes=tuple(
            NodeFacts(
                node=node,
                open_key_file=open_key_file(node.key, topology.path.parent),
                key_source=source_of(node.key),
                weak_key=None if node.key is None else weak.get(node.key),
            )
            for node in topology.nodes
        ),
        state=await _read_state(topology, online=online),
        machine=await asyncio.to_thread(read_machine, topology),
        serve=await look_at_serve(topology),
    )
