"""What can be wrong with the topology file alone, and what it asks for that the state does not have yet. Pure.

A finding about a key says in `where` which one, as errors spell it: `nodes[1].key_env`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from miroir_cli.checkup.finding import Finding, Severity, error, info, quoted, several, warning
from miroir_cli.checkup.index_rules import misplaced
from miroir_cli.checkup.key_rules import is_loopback, is_loopback_host
from miroir_cli.model import ReplicaState
from miroir_cli.topology.table import NO_WRITTEN_KEYS, NO_WRITTEN_PASSWORDS

if TYPE_CHECKING:
    from miroir_cli.checkup.facts import ConfigFacts, Facts
    from miroir_cli.model import NodeName
    from miroir_cli.topology.table import Problem

SECRET_WORDS = r"(?:master|admin|api|private|access)[_-]?key|password|passwd|passphrase|secret|token"
WRITTEN = re.compile(rf"#.*\b(?:{SECRET_WORDS})\b\s*[=:]\s*[\"']?(?!\s)[^\s\"'#,]{{8,}}", re.IGNORECASE)
IN_ARGUMENT = re.compile(rf"(?:^|[-_.])(?:{SECRET_WORDS}|key)[=:].{{4,}}", re.IGNORECASE)
LONG_WORD = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+=]{24,}")
PRINTERS = ("echo", "printf")

APPLY = "run `miroir rebalance run` to do it; `miroir rebalance plan` shows it before"


def values_wrong(problems: Iterable[Problem]) -> Iterator[Finding]:
    """What the reader of the file has found."""
    for problem in problems:
        check = "file.secret" if problem.hint in (NO_WRITTEN_KEYS, NO_WRITTEN_PASSWORDS) else "file.value"
        yield error(check, problem.key, problem.message, problem.hint)


def secrets_in_comments(text: str) -> Iterator[tuple[int, Finding]]:
    """Comments that look as if a key was left in them, with their lines."""
    for number, line in enumerate(text.splitlines(), 1):
        if WRITTEN.search(line):
            finding = warning(
                "file.secret",
                f"line {number}",
                "a comment looks as if it held a secret",
                f"take it out, and make another key if others have seen the file; {NO_WRITTEN_KEYS}",
            )
            yield number, finding


def secrets_in_commands(config: ConfigFacts) -> Iterator[Finding]:
    for source in config.sources:
        command = source.secret.command
        if command is not None and _shows_a_secret(command):
            yield warning(
                "file.secret",
                f"{source.table}.{source.kind}",
                f"`{source.table}.{source.kind}` looks as if it held a secret itself",
                "let the program read it from where only you can: everybody sees arguments of processes, and this file",
            )


def _shows_a_secret(command: str) -> bool:
    try:
        program, *arguments = shlex.split(command)
    except ValueError:
        return False
    return program.rpartition("/")[2] in PRINTERS or any(
        IN_ARGUMENT.search(argument) or LONG_WORD.fullmatch(argument) for argument in arguments
    )


def keys_out_of_reach(config: ConfigFacts) -> Iterator[Finding]:
    """Sources of keys that give none here; one finding for each source, whoever names it."""
    for source in config.sources:
        if source.problem is not None:
            yield warning(
                "file.key",
                f"{source.table}.{source.kind}",
                f"the {source.secret.what} of `{source.table}` cannot be had here: {source.problem}",
                source.hint or f"check {source.kind}",
            )


def keys_in_plain_text(config: ConfigFacts) -> Iterator[Finding]:
    bare = [
        (position, node)
        for position, node in config.positions
        if node.key is not None and node.url.startswith("http://") and not is_loopback(node.url)
    ]
    if bare:
        yield info(
            "file.plain",
            f"nodes[{bare[0][0]}].url",
            f"keys and documents go to {quoted(node.name for _, node in bare)} unencrypted (`http://`)",
            "give the servers certificates and write `https://`, unless the network between is yours alone",
        )


def state_in_plain_text(config: ConfigFacts) -> Iterator[Finding]:
    if config.state.url.startswith("redis://") and not is_loopback_host(config.state.host):
        what = "its password and the state" if config.state.password is not None else "the state"
        yield info(
            "file.plain",
            "state.url",
            f"{what} go to Redis unencrypted (`redis://`)",
            "give Redis a certificate and write `rediss://`, unless the network between is yours alone",
        )


def keys_shared_with_admin(config: ConfigFacts) -> Iterator[Finding]:
    admin = config.serve.admin_key
    if admin is None:
        return
    users = ["`[serve]`"] if admin == config.serve.key else []
    users += ["the nodes"] if any(node.key == admin for _, node in config.positions) else []
    if users:
        yield info(
            "file.one-key",
            "serve.admin",
            f"the admin API has the key of {' and '.join(users)}: who may search everything may change the cluster",
            "give `[serve.admin]` a key of its own",
        )


def proxy_open(config: ConfigFacts) -> Iterator[Finding]:
    """A proxy that others can reach, where the file names no key at all."""
    serve = config.serve
    if serve.key is None and not is_loopback_host(serve.host) and not any(node.key for _, node in config.positions):
        yield warning(
            "file.open",
            "serve.host",
            f"`miroir serve` would listen on {serve.host}, and the file names no key for anybody",
            "name a key in `[serve]` or `[defaults]` (key_env, key_file or key_command), or listen on 127.0.0.1",
        )


def too_many_workers(config: ConfigFacts) -> Iterator[Finding]:
    if config.processors is not None and config.serve.workers > config.processors:
        yield info(
            "file.workers",
            "serve.workers",
            f"`serve.workers` is {config.serve.workers}, this machine has {several(config.processors, 'processor')}",
            "as many workers as processors is most",
        )


CONFIG_RULES = (
    secrets_in_commands,
    keys_out_of_reach,
    keys_in_plain_text,
    state_in_plain_text,
    keys_shared_with_admin,
    proxy_open,
    too_many_workers,
)


# What the file asks for and the state does not have yet


def changes_unknown(facts: Facts) -> Iterator[Finding]:
    if not facts.state.asked:
        yield info(
            "change.unknown",
            facts.state.path,
            "what the cluster does not have yet was not looked for: its state is in Redis, which was not asked",
            "run `miroir config check --online`",
        )


def nodes_added(facts: Facts) -> Iterator[Finding]:
    if facts.state.cluster is None:
        return
    for node in facts.nodes:
        if node.name not in facts.state.members:
            yield info("change.added", node.name, f"node `{node.name}` is new: it has no shards yet", APPLY)


def nodes_removed(facts: Facts) -> Iterator[Finding]:
    named = {node.name for node in facts.nodes}
    held = _held(facts)
    for name in sorted(set(facts.state.members) - named):
        what = f"its {several(held[name], 'replica')} go to the others" if held.get(name) else "it holds nothing"
        yield info("change.removed", name, f"node `{name}` is no longer in the file: {what}", APPLY)


def nodes_drained(facts: Facts) -> Iterator[Finding]:
    held = _held(facts)
    for node in facts.nodes:
        if node.node.drained and held.get(node.name):
            count = several(held[node.name], "replica")
            yield info("change.drained", node.name, f"node `{node.name}` is to be drained and holds {count}", APPLY)


def urls_changed(facts: Facts) -> Iterator[Finding]:
    for node in facts.nodes:
        member = facts.state.members.get(node.name)
        if member is not None and member.url.rstrip("/") != node.node.url:
            yield info(
                "change.url",
                node.name,
                f"node `{node.name}` was at {member.url} and is at {node.node.url} now",
                "nothing to do: the next write makes sure that the same disk answers there",
            )


def replicas_changed(facts: Facts) -> Iterator[Finding]:
    for index in facts.state.indexes:
        uid, wanted = index.map.index.uid, index.map.index.replicas_wanted(facts.cluster.replicas)
        if wanted != index.map.index.replicas:
            yield info(
                "change.replicas",
                uid,
                f"index `{uid}` has {several(index.map.index.replicas, 'replica')} of each shard in each group, the "
                f"file asks for {wanted}",
                APPLY,
            )


def shards_to_move(facts: Facts) -> Iterator[Finding]:
    """Indexes of which the placement is not what the file asks: other nodes, weights, zones or groups."""
    for finding in misplaced(facts):
        if finding.severity is Severity.ERROR:
            yield finding
        else:
            yield replace(finding, severity=Severity.INFO, check="change.placement", hint=APPLY)


def _held(facts: Facts) -> Mapping[NodeName, int]:
    held: dict[NodeName, int] = {}
    for index in facts.state.indexes:
        for replica in index.map.replicas:
            if replica.state is not ReplicaState.LEAVING:
                held[replica.node] = held.get(replica.node, 0) + 1
    return held


CHANGE_RULES = (
    changes_unknown,
    nodes_added,
    nodes_removed,
    nodes_drained,
    urls_changed,
    replicas_changed,
    shards_to_move,
)
