"""The commented topology file: what `miroir init` writes, what the reference shows and what the tests parse."""

from __future__ import annotations

import json

from miroir_cli.model import Node, NodeName, Secret
from miroir_cli.topology.finding import DEFAULT_STATE
from miroir_cli.topology.state import is_server

CLUSTER = """\
# The cluster as it should be; `miroir status` shows what it is.

[cluster]
name = {name}
shards = {shards}                # slices of a new index, fixed for good; 8 x the most nodes a group will ever have
replicas = {replicas}               # copies of each shard within each group, each on a node of its own
min_in_sync = {min_in_sync}            # a write counts when this many copies have it
partial = {partial}          # or "allow": what a search does when no copy of a shard answers

[state]
url = {state}   # {state_comment}
{password}
[defaults]
# Where the nodes' key is; one of the three, here for all nodes or in a node for that one. Never the key itself.
{keys}
"""

NODE_COMMENTS = """
# One table for each node. Optional: group (default "main"; every group holds every shard, and a search asks one of
# them), zone (copies of a shard go to different zones), weight (share of the shards, default 1.0), drained (true: the
# node stays here and gets no shards), key_env, key_file, key_command.
"""

KEY_EXAMPLES = {
    "key_env": '"MIROIR_NODE_KEY"                 # an environment variable',
    "key_file": '"/run/secrets/node-key"          # a file with nothing else in it, relative to this file',
    "key_command": '"pass show search/node-key"   # the first line that a program prints; no shell',
}


def render_topology(
    *,
    name: str,
    nodes: tuple[Node, ...],
    shards: int = 24,
    replicas: int = 1,
    min_in_sync: int = 1,
    partial: str = "error",
    key_env: str | None = None,
    state_url: str = DEFAULT_STATE,
    password_env: str | None = None,
) -> str:
    """The text of a topology file. Values at their defaults are left out of the nodes; nothing is checked here."""
    lines = [
        f"key_env = {quoted(key_env)}" if key == "key_env" and key_env is not None else f"# {key} = {example}"
        for key, example in KEY_EXAMPLES.items()
    ]
    cluster = CLUSTER.format(
        name=quoted(name),
        shards=shards,
        replicas=replicas,
        min_in_sync=min_in_sync,
        partial=quoted(partial),
        state=quoted(state_url),
        state_comment="Redis, for several hosts" if is_server(state_url) else "relative to this file",
        password="" if password_env is None else f"password_env = {quoted(password_env)}\n",
        keys="\n".join(lines),
    )
    return cluster + NODE_COMMENTS + "\n".join(render_node(node) for node in nodes)


def render_node(node: Node, *, defaults: Secret | None = None) -> str:
    """A `[[nodes]]` table without what is a default, `defaults` being the key that all nodes have."""
    return "[[nodes]]\n" + "".join(f"{key} = {value}\n" for key, value in node_values(node, defaults).items())


def node_values(node: Node, defaults: Secret | None = None) -> dict[str, str]:
    """The keys of a node with their values as TOML."""
    values = {"name": quoted(node.name), "url": quoted(node.url)}
    if node.group != "main":
        values["group"] = quoted(node.group)
    if node.zone is not None:
        values["zone"] = quoted(node.zone)
    if node.weight != 1.0:
        values["weight"] = repr(float(node.weight))
    if node.drained:
        values["drained"] = "true"
    if node.key is not None and node.key != defaults:
        named = {"key_env": node.key.env, "key_file": node.key.file, "key_command": node.key.command}
        values.update({key: quoted(value) for key, value in named.items() if value is not None})
    return values


def quoted(text: str) -> str:
    """A TOML string. JSON's escapes are TOML's, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


EXAMPLE = render_topology(
    name="books",
    replicas=2,
    key_env="MIROIR_NODE_KEY",
    nodes=(
        Node(name=NodeName("n1"), url="http://10.0.0.1:7700", group="a", zone="eu-1"),
        Node(name=NodeName("n2"), url="http://10.0.0.2:7700", group="a", zone="eu-2", weight=2.0),
        Node(name=NodeName("n3"), url="http://10.0.1.1:7700", group="b", key=Secret(file="n3.key")),
        Node(name=NodeName("n4"), url="http://10.0.1.2:7700", group="b"),
        Node(name=NodeName("n5"), url="http://10.0.1.3:7700", group="b", drained=True),
    ),
)
"""A topology file with every key in it: two groups, each with two replicas of every shard on the nodes not drained."""
