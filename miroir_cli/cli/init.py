"""`miroir init`: write the topology file, once the nodes in it have answered."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.console import Console, Next, run
from miroir_cli.cli.options import SAFETY, DryRun
from miroir_cli.cli.table import Column, counted
from miroir_cli.errors import MiroirError, Refused, UsageError
from miroir_cli.model import Node, NodeName, group_of

if TYPE_CHECKING:
    from miroir_cli.node.answers import NodeVersion
    from miroir_cli.topology.file import Topology

app = typer.Typer()

DEFAULT_FILE = Path("miroir.toml")
VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
NODE_HINT = "such as `--node n1=http://10.0.0.1:7700` or `--node n1=http://10.0.0.1:7700,group=a,zone=eu-1`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the topology file is to say; None where nobody said anything."""

    nodes: tuple[Node, ...]
    name: str | None
    shards: int | None
    replicas: int | None
    key_env: str | None
    state: str | None = None
    password_env: str | None = None


@app.command()
def init(
    ctx: typer.Context,
    node: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=URL", help="A node; `,group=G`, `,zone=Z` and `,weight=W` may follow. Repeat it."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The cluster's name (otherwise that of this folder).")
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(min=1, metavar="S", help="Shards of a new index (otherwise 8 for each node, at least 24)."),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(min=1, metavar="R", help="Copies of each shard in each group (otherwise 2 where possible)."),
    ] = None,
    key_env: Annotated[
        str | None, typer.Option(metavar="VAR", help="The environment variable that holds the nodes' key.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the state is kept: `sqlite:PATH` here, or `redis://HOST:PORT/0` for several hosts.",
        ),
    ] = None,
    password_env: Annotated[
        str | None, typer.Option(metavar="VAR", help="The environment variable that holds Redis's password.")
    ] = None,
    no_check: Annotated[bool, typer.Option("--no-check", help="Do not ask the nodes.", rich_help_panel=SAFETY)] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is there.", rich_help_panel=SAFETY)
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Write a topology file, after asking the nodes if they answer.

    The file, `miroir.toml` or what `--topology` names, is the one description of the cluster: edit it, keep it under
    version control. Keys are never written into it, only where to find them. On a terminal it asks for what was not
    given. The nodes are not changed.

    Examples:
      miroir init --node n1=http://127.0.0.1:7701 --node n2=http://127.0.0.1:7702 --node n3=http://127.0.0.1:7703
      miroir init --node n1=http://127.0.0.1:7701 --key-env MIROIR_NODE_KEY --dry-run       # print it
      miroir init --node n1=http://10.0.0.1:7700,zone=eu-1 --node n2=http://10.0.0.2:7700,zone=eu-2 --no-check
      miroir init --node n1=http://10.0.0.1:7700 --state redis://10.0.0.9:6379/0 --no-check
    """

    async def command(console: Console) -> None:
        from miroir_cli.topology.file import check_topology, render_topology, write_whole
        from miroir_cli.topology.finding import DEFAULT_STATE

        path = console.options.topology or DEFAULT_FILE
        if path.exists() and not (force or dry_run):
            raise Refused(
                f"`{path}` is there already", hint="name another file with `-t`, or replace it with `--force`"
            )
        wanted = Wanted(
            nodes=tuple(parse_node(text) for text in node or ()),
            name=name,
            shards=shards,
            replicas=replicas,
            key_env=key_env,
            state=state,
            password_env=password_env,
        )
        wanted = complete(wanted if wanted.nodes else ask(console, wanted), folder=path.absolute().parent.name)
        text = render_topology(
            name=wanted.name or "",
            nodes=wanted.nodes,
            shards=wanted.shards or 1,
            replicas=wanted.replicas or 1,
            key_env=wanted.key_env,
            state_url=wanted.state or DEFAULT_STATE,
            password_env=wanted.password_env,
        )
        topology = check_topology(text, path)
        versions = {} if no_check else await check_nodes(console, topology)
        if not dry_run:
            write_whole(path, text)
        result = document(topology, versions, written=not dry_run)
        create = Next(command="miroir index create UID --primary-key FIELD", purpose="to make the first index")
        console.show(
            result,
            lambda: show_result(console, result, text if dry_run else None),
            next=() if dry_run else [create],
        )

    run(ctx, command, when_interrupted="nothing was written")


def parse_node(text: str) -> Node:
    """`NAME=URL[,group=G][,zone=Z][,weight=W]` as a node. Raises `UsageError` saying what is wrong with it."""
    first, *options = text.split(",")
    name, equals, url = first.partition("=")
    if not equals or not name.strip() or not url.strip():
        raise UsageError(f"`{text}` is not NAME=URL", hint=NODE_HINT)
    found: dict[str, str] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key not in ("group", "zone", "weight") or not value:
            raise UsageError(f"`{option}` in `{text}` is not group=, zone= or weight=", hint=NODE_HINT)
        found[key] = value
    try:
        weight = float(found.get("weight", 1))
    except ValueError:
        raise UsageError(f"the weight in `{text}` is not a number", hint=NODE_HINT) from None
    return Node(
        name=NodeName(name.strip()),
        url=url.strip(),
        group=found.get("group", "main"),
        zone=found.get("zone"),
        weight=weight,
    )


def ask(console: Console, wanted: Wanted) -> Wanted:
    """Ask for what the command line left open. Off a terminal that is an error naming `--node`."""
    if not console.interactive:
        raise UsageError("no node given, and nobody to ask (no terminal)", hint=NODE_HINT)
    name = wanted.name or console.ask("Name of the cluster", default=folder_name(Path.cwd().name), option="--name")
    console.say("The nodes, one after the other; an empty line ends the list.")
    nodes: list[Node] = []
    while True:
        number = len(nodes) + 1
        line = console.ask(f"Url of node n{number}", default="" if nodes else None, option="--node")
        if not line:
            break
        nodes.append(parse_node(line if re.match(r"^[\w.-]+=", line) else f"n{number}={line}"))
    asked = replace(wanted, name=name, nodes=tuple(nodes))
    usual = complete(asked, folder="")
    replicas = wanted.replicas or whole(
        console.ask("Copies of each shard", default=str(usual.replicas), option="--replicas")
    )
    key_env = wanted.key_env or console.ask(
        "Environment variable with the nodes' key (empty: they have none)", default="", option="--key-env"
    )
    return replace(asked, replicas=replicas, key_env=key_env or None)


def complete(wanted: Wanted, *, folder: str) -> Wanted:
    """Fill in the usual values of what was left open."""
    for variable in (wanted.key_env, wanted.password_env):
        if variable is not None and not VARIABLE.match(variable):
            raise UsageError(f"`{variable}` is not the name of an environment variable")
    if wanted.state is not None:
        _check_state(wanted.state)
    groups = group_of(wanted.nodes).values()
    smallest = min((len(members) for members in groups), default=1)
    largest = max((len(members) for members in groups), default=1)
    return replace(
        wanted,
        name=wanted.name or folder_name(folder),
        shards=wanted.shards or max(24, 8 * largest),
        replicas=wanted.replicas or min(2, smallest),
    )


def _check_state(url: str) -> None:
    from miroir_cli.topology.state import check_state_url

    def fail(problem: str, hint: str) -> None:
        raise UsageError(f"`--state` {problem}", hint=hint)

    check_state_url(url, fail)


def folder_name(folder: str) -> str:
    """A folder's name as a cluster's: other characters become `-`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder).strip("-.")[:64] or "miroir"


def whole(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"`{text}` is not a whole number above 0")
    return int(text)


async def check_nodes(console: Console, topology: Topology) -> Mapping[str, NodeVersion]:
    """Ask every node what it is. Raises the error of the first one that is not fit, the others' are warnings."""
    import asyncio

    from miroir_cli.node.client import NodeClient
    from miroir_cli.node.fleet import Fleet
    from miroir_cli.topology.file import resolve_key

    secrets = {node.key for node in topology.nodes}
    keys = {
        secret: await asyncio.to_thread(resolve_key, secret, base=topology.path.absolute().parent) for secret in secrets
    }
    fleet = Fleet(NodeClient(node, key=keys[node.key]) for node in topology.nodes)
    try:
        found = await fleet.each(lambda client: client.version())
    finally:
        await fleet.close()
    errors = [answer for answer in found.values() if isinstance(answer, MiroirError)]
    for error in errors[1:]:
        console.warn(error.message)
    if errors:
        first = errors[0]
        if first.exit_status == 5:
            first.hint = "start it and try again, or write the file without asking: `--no-check`"
        raise first
    return {str(name): answer for name, answer in found.items() if not isinstance(answer, MiroirError)}


def document(topology: Topology, versions: Mapping[str, NodeVersion], *, written: bool) -> dict[str, Any]:
    """The JSON document of `init`. `version` and `engine` are null when the nodes were not asked."""

    def described(node: Node) -> dict[str, Any]:
        version = versions.get(str(node.name))
        return {
            "name": node.name,
            "url": node.url,
            "group": node.group,
            "zone": node.zone,
            "version": version.package if version else None,
            "engine": version.engine if version else None,
        }

    return {
        "topology": str(topology.path),
        "cluster": topology.cluster.name,
        "shards": topology.cluster.shards,
        "replicas": topology.cluster.replicas,
        "nodes": [described(node) for node in topology.nodes],
        "written": written,
    }


def show_result(console: Console, result: Mapping[str, Any], text: str | None) -> None:
    if text is not None:
        console.print_verbatim(text.rstrip("\n"))
        return
    nodes: Sequence[Mapping[str, Any]] = result["nodes"]
    console.print(
        f"wrote `{result['topology']}`: cluster `{result['cluster']}`, {len(nodes)} nodes, "
        f"{counted(result['shards'], 'shard')}, {counted(result['replicas'], 'replica')} of each"
    )
    console.table(
        [
            Column(name="node", name_like=True),
            Column(name="url"),
            Column(name="version", optional=True),
            Column(name="group", optional=True, varies=True),
        ],
        [(node["name"], node["url"], _version(node), node["group"]) for node in nodes],
    )
    if any(node["engine"] not in (None, "meilisearch") for node in nodes):
        console.warn("embedded development nodes are not made for production")
    if os.environ.get("MIROIR_TOPOLOGY") is None and result["topology"] != str(DEFAULT_FILE):
        console.say(f"name it from now on: `-t {result['topology']}`, or MIROIR_TOPOLOGY")


def _version(node: Mapping[str, Any]) -> str | None:
    if node["engine"] in (None, "meilisearch"):
        return node["version"] or "not asked"
    return f"{node['version']} ({node['engine'].removeprefix('miroir-')})"
