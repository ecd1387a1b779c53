"""What a topology file may say: every key with its type, checked one by one, all problems with their paths. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from miroir_cli.errors import TopologyInvalid
from miroir_cli.model import Node, NodeName, Secret, staying_groups
from miroir_cli.topology.capacity import count_of_active
from miroir_cli.topology.serve import ServeSettings
from miroir_cli.topology.state import StateSettings, read_state
from miroir_cli.topology.table import NO_WRITTEN_KEYS, Problem, Table, kind_of

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """The `[cluster]` table: defaults of new indexes and how writes and searches behave."""

    name: str
    shards: int = 24
    replicas: int = 1
    min_in_sync: int = 1
    partial: Literal["error", "allow"] = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Everything a topology file says. `positions`: the place of each node in the file, which counts those that cannot
    be read as well."""

    cluster: ClusterSettings
    state: StateSettings
    nodes: tuple[Node, ...]
    serve: ServeSettings
    default_key: Secret | None = None
    positions: tuple[tuple[int, Node], ...] = ()


def parse(found: Mapping[str, Any], *, source: str) -> Content:
    """The content of a topology file that was read as TOML. Raises `TopologyInvalid` naming the first key that is
    wrong."""
    content, problems = read(found)
    if problems:
        first, *others = problems
        more = f" (and {len(others)} more: `miroir config check` shows them)" if others else ""
        raise TopologyInvalid(f"{source}: {first.message}", hint=f"{first.hint}{more}")
    return content


def read(found: Mapping[str, Any]) -> tuple[Content, tuple[Problem, ...]]:
    """The content of a topology file, and all that is wrong with it; what is wrong is left out, or at its default."""
    problems: list[Problem] = []
    root = Table("", found, problems)
    root.known = ["cluster", "state", "defaults", "serve", "nodes"]
    root.end()
    if "cluster" not in found:
        root.fail("cluster", "is missing")
    cluster = _cluster(Table("cluster", found.get("cluster", {}), problems), given="cluster" in found)
    state = read_state(Table("state", found.get("state", {}), problems))
    defaults = Table("defaults", found.get("defaults", {}), problems)
    default_key = defaults.secret()
    defaults.end()
    nodes = _nodes(root, found.get("nodes", []), default_key)
    if nodes:
        _check_together(root, cluster, nodes)
    serve = _serve(Table("serve", found.get("serve", {}), problems))
    whole = tuple((position, node) for position, node in enumerate(nodes) if node is not None)
    content = Content(
        cluster=cluster,
        state=state,
        nodes=tuple(node for _, node in whole),
        serve=serve,
        default_key=default_key,
        positions=whole,
    )
    return content, tuple(problems)


def _cluster(table: Table, *, given: bool) -> ClusterSettings:
    name = table.text("name", required=given) or ""
    if name and not NAME.fullmatch(name):
        table.fail("name", f"is `{name}`, expected letters, digits, `.`, `_` and `-`")
    shards = table.whole("shards", 24)
    replicas = table.whole("replicas", 1, most=64)
    min_in_sync = table.whole("min_in_sync", 1, most=64)
    partial = table.text("partial", "error")
    table.end()
    if partial not in ("error", "allow"):
        table.fail("partial", f'is "{partial}", expected "error" or "allow"')
    return ClusterSettings(
        name=name,
        shards=shards,
        replicas=replicas,
        min_in_sync=min_in_sync,
        partial="allow" if partial == "allow" else "error",
    )


def _serve(table: Table) -> ServeSettings:
    usual = ServeSettings()
    host = table.text("host", usual.host)
    most = {"port": 65_535, "workers": 64, "body_limit_mb": 1000}
    whole = ("port", "workers", "in_flight", "queue", "body_limit_mb", "connections")
    numbers = {key: table.whole(key, getattr(usual, key), most=most.get(key, 1_000_000)) for key in whole}
    seconds = ("header_timeout", "body_timeout", "idle_timeout", "stop_timeout", "verify_every")
    times = {key: table.positive(key, getattr(usual, key)) for key in seconds}
    switches = ("adaptive", "hedge", "coalesce", "sessions", "heal", "access_log")
    flags = {key: table.flag(key, getattr(usual, key)) for key in switches}
    key = table.secret()
    admin = Table("serve.admin", table.inner("admin"), table.problems)
    admin_key = admin.secret()
    admin.end()
    table.end()
    return ServeSettings(
        host=host or usual.host,
        **numbers,  # type: ignore[arg-type]
        **times,  # type: ignore[arg-type]
        **flags,
        key=key,
        admin_key=admin_key,
    )


def _nodes(root: Table, tables: object, default_key: Secret | None) -> list[Node | None]:
    """The nodes in the order of the file, None for one that cannot be read."""
    if not isinstance(tables, list):
        root.fail("nodes", f"is {kind_of(tables)}, expected a list of tables", hint="write `[[nodes]]` above each node")
        return []
    if not tables:
        root.fail("nodes", "has no node", hint="add a [[nodes]] table with name and url")
    return [_node(Table(f"nodes[{i}]", table, root.problems), default_key) for i, table in enumerate(tables)]


def _node(table: Table, default_key: Secret | None) -> Node | None:
    before = len(table.problems)
    name = table.text("name", required=bool(table.found))
    url = table.text("url", required=bool(table.found))
    group = table.text("group", "main")
    zone = table.text("zone")
    weight = table.positive("weight", 1.0)
    drained = table.flag("drained")
    key = table.secret()
    table.end()
    for key_name, value in (("name", name), ("group", group), ("zone", zone)):
        if value is not None and not NAME.fullmatch(value):
            table.fail(key_name, f"is `{value}`, expected letters, digits, `.`, `_` and `-`")
    if url is not None:
        check_url(url, lambda problem, hint: table.fail("url", problem, hint=hint))
    if len(table.problems) > before or name is None or url is None or group is None:
        return None
    return Node(
        name=NodeName(name),
        url=url.rstrip("/"),
        group=group,
        zone=zone,
        weight=weight,
        drained=drained,
        key=key or default_key,
    )


def check_url(url: str, fail: Callable[[str, str | None], None]) -> None:
    """Refuse what is not the address of a server. What may hold a secret is not repeated in the error."""
    if "@" in url:
        fail("has a user or a password in it", NO_WRITTEN_KEYS)
        return
    if "?" in url or "#" in url:
        fail("has a `?` or a `#` in it, expected http://HOST:PORT", None)
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        fail(f"is `{url}`, which is not a url", "expected http://HOST:PORT")
        return
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or re.search(r"\s", url):
        near = f"did you mean `http://{url}`?" if "://" not in url and not re.search(r"\s", url) else None
        fail(f"is `{url}`, expected http://HOST:PORT or https://HOST:PORT", near)


def normal_url(url: str) -> tuple[str, str, int, str]:
    """What makes two urls the same server: scheme, host in lower case (loopback spelled one way), port, path.

    `localhost`, `127.0.0.1` and `[::1]` are taken for one host: two servers that share a port on them are possible,
    but one server named twice would hold both replicas of its shards.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower().rstrip(".")
    if host in ("localhost", "::1"):
        host = "127.0.0.1"
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, host, port, parts.path.rstrip("/")


def _check_together(root: Table, cluster: ClusterSettings, nodes: Sequence[Node | None]) -> None:
    """What keys say of each other. Numbers of copies are judged when `[cluster]` and all nodes could be read."""
    _distinct(root, nodes, "name", lambda node: node.name)
    _distinct(root, nodes, "url", lambda node: normal_url(node.url))
    whole = tuple(node for node in nodes if node is not None)
    if len(whole) < len(nodes) or any(problem.key.startswith("cluster") for problem in root.problems):
        return
    groups = staying_groups(whole)
    for group, members in groups.items():
        if cluster.replicas > sum(not node.drained for node in members):
            where = "the cluster" if len(members) == len(nodes) else f"group `{group}`"
            root.fail(
                "cluster.replicas",
                f"is {cluster.replicas}, {where} has {count_of_active(members)}",
                hint="add nodes, or lower replicas: each replica of a shard needs a node of its own",
            )
    copies = cluster.replicas * len(groups)
    if cluster.min_in_sync > copies:
        root.fail(
            "cluster.min_in_sync",
            f"is {cluster.min_in_sync}, each shard has {copies} replicas in all",
            hint="min_in_sync cannot be more than replicas x groups",
        )


def _distinct(root: Table, nodes: Iterable[Node | None], key: str, value_of: Callable[[Node], object]) -> None:
    seen: dict[object, int] = {}
    for position, node in enumerate(nodes):
        if node is None:
            continue
        value = value_of(node)
        if value in seen:
            shown = node.name if key == "name" else node.url
            root.fail(f"nodes[{position}].{key}", f"is `{shown}`, the same as `nodes[{seen[value]}].{key}`")
        seen.setdefault(value, position)
