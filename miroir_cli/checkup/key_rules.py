"""What can be wrong with keys: the nodes', those of `[serve]`, and the files that they are in. Pure.

The rules see no key, only what was said of it when it was looked at.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from miroir_cli.checkup.finding import Finding, info, quoted, warning
from miroir_cli.topology.serve import ServeSettings

if TYPE_CHECKING:
    from miroir_cli.checkup.facts import Facts, NodeFacts

SHORTEST = 16
"""Bytes that Meilisearch asks of a master key in production."""

FEWEST_LETTERS = 6
WELL_KNOWN = ("asamplemasterkey", "masterkey", "master_key", "yourmasterkey", "your_master_key", "changeme", "secret")

HOST = re.compile(r"https?://(?:\[([^\]]*)\]|([^:/]*))")

NEW_KEY = "make a new one, such as with `openssl rand -hex 32`, give it to the servers (--master-key) and put it where "


def weakness(key: str) -> str | None:
    """Why a key is easily guessed; None for one that is not."""
    size = len(key.encode())
    if size < SHORTEST:
        return f"has {size} bytes, fewer than the {SHORTEST} that Meilisearch asks for in production"
    bare = key.lower().replace("-", "_")
    if bare in WELL_KNOWN or bare.replace("_", "") in WELL_KNOWN:
        return "is one from the examples of documentation"
    if len(set(key)) < FEWEST_LETTERS:
        return f"has {len(set(key))} different characters only"
    return None


def is_loopback(url: str) -> bool:
    """Whether nobody but this machine can reach a url."""
    host = HOST.match(url)
    return host is not None and is_loopback_host(host.group(1) or host.group(2))


def is_loopback_host(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def key_files_open(facts: Facts) -> Iterator[Finding]:
    files: dict[str, list[str]] = {}
    for node in facts.nodes:
        if node.open_key_file is not None:
            files.setdefault(node.open_key_file, []).append(f"`{node.name}`")
    for path in facts.serve.open_key_files if facts.serve is not None else ():
        files.setdefault(path, []).append("`[serve]`")
    if facts.state.open_password_file is not None:
        files.setdefault(facts.state.open_password_file, []).append("`[state]`")
    for path, users in files.items():
        yield warning(
            "key.file",
            path,
            f"key file `{path}` of {', '.join(users)} can be read by other users of this machine",
            f"run `chmod 600 {shlex.quote(path)}`",
        )


def keys_weak(facts: Facts) -> Iterator[Finding]:
    """Keys that are easily guessed, those from one source together."""
    found: dict[tuple[str, str], list[str]] = {}
    for node in facts.nodes:
        if node.weak_key is not None:
            found.setdefault((node.key_source or "", node.weak_key), []).append(node.name)
    for (source, why), names in found.items():
        yield warning("key.weak", source, f"the key of {quoted(names)} ({source}) {why}", f"{NEW_KEY}{source} says")
    for source, why in facts.serve.weak_keys if facts.serve is not None else ():
        yield warning(
            "key.weak",
            source,
            f"the key of `[serve]` ({source}) {why}",
            f"make a new one, such as with `openssl rand -hex 32`, and put it where {source} says",
        )


def nodes_unguarded(facts: Facts) -> Iterator[Finding]:
    """Nodes without a master key that others can reach, or beside nodes that have one."""
    guarded = [node for node in facts.nodes if node.trouble is None and not node.unguarded]
    for node in facts.nodes:
        if node.trouble is not None or not node.unguarded:
            continue
        if not is_loopback(node.node.url):
            why = "whoever reaches it can read, change and delete everything"
        elif guarded:
            why = f"others have one ({quoted(each.name for each in guarded)})"
        else:
            continue
        yield warning(
            "key.none",
            node.name,
            f"node `{node.name}` at {node.node.url} has no master key: {why}",
            "start it with --master-key, and say in the topology file where that is (key_env, key_file, key_command)",
        )


def master_keys_differ(facts: Facts) -> Iterator[Finding]:
    """Nodes that do not share the master key give one API key different values, and a proxy without a key of its own
    refuses all clients over them."""
    masters = _masters(facts)
    if len(masters) > 1:
        first, *others = masters.values()
        serves = facts.serve is not None and facts.serve.settings != ServeSettings()
        without = facts.serve is not None and facts.serve.settings.key is None
        yield (warning if serves and without else info)(
            "key.master",
            facts.cluster.name,
            f"the nodes do not share a master key: that of {quoted(each.name for each in sum(others, []))} is not that "
            f"of `{first[0].name}`, or the topology file has another key of theirs"
            + ("; `miroir serve` refuses all clients so" if serves and without else ""),
            "give them one master key, or `miroir serve` its own with key_env, key_file or key_command in `[serve]`",
        )


def keys_apart(facts: Facts) -> Iterator[Finding]:
    """API keys that only some of the nodes with one master key have: a client of these is refused by the others."""
    for master, nodes in _masters(facts).items():
        if master is None:
            continue
        everything = {key for node in nodes for key in node.api_keys}
        for key in sorted(everything):
            without = [node.name for node in nodes if key not in node.api_keys]
            if without:
                yield info(
                    "key.apart",
                    key,
                    f"API key `{key}` was made on some nodes only: {quoted(without)} "
                    f"{'does' if len(without) == 1 else 'do'} not have it",
                    "make keys through `miroir serve` (`POST /keys` with this `uid`): it gives them to all nodes",
                )


def _masters(facts: Facts) -> dict[str | None, list[NodeFacts]]:
    """The nodes that answer and have keys, by what tells their master keys from one another."""
    masters: dict[str | None, list[NodeFacts]] = {}
    for node in facts.nodes:
        if node.trouble is None and node.key_proof is not None:
            masters.setdefault(node.master, []).append(node)
    return masters


def serve_keys(facts: Facts) -> Iterator[Finding]:
    """Keys of `[serve]` that cannot be had here: the proxy does not start without them."""
    for name, message, hint in facts.serve.key_problems if facts.serve is not None else ():
        yield warning(
            "serve.key",
            name,
            f"`miroir serve` would not start here, for the key of `{name}` cannot be had: {message}",
            hint or f"check key_env, key_file or key_command in `{name}`",
        )


def serve_open(facts: Facts) -> Iterator[Finding]:
    """A proxy that others can reach, of which no client needs a key."""
    serve = facts.serve
    if serve is None or serve.settings.key is not None or is_loopback_host(serve.settings.host):
        return
    answering = [node for node in facts.nodes if node.trouble is None]
    if answering and all(node.unguarded for node in answering):
        yield warning(
            "serve.open",
            "serve",
            f"`miroir serve` would listen on {serve.settings.host} and let everybody in: neither `[serve]` nor a node "
            "has a master key",
            "name a key in `[serve]` (key_env, key_file or key_command), or listen on 127.0.0.1 (`serve.host`)",
        )


KEY_RULES = (
    key_files_open,
    keys_weak,
    nodes_unguarded,
    master_keys_differ,
    keys_apart,
    serve_keys,
    serve_open,
)
