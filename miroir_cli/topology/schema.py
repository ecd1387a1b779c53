"""What a topology file may say: every key with its type, checked one by one with the path in the error. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

from miroir_cli.errors import TopologyInvalid
from miroir_cli.model import Node, NodeName, Secret, staying_groups
from miroir_cli.topology.capacity import count_of_active

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MOST_SHARDS = 65_536
HEAVIEST = 1_000_000
DEFAULT_STATE = "sqlite:.miroir/state.db"
SECRETS = ("key_env", "key_file", "key_command")
WRITTEN_KEYS = ("key", "api_key", "apikey", "master_key", "admin_key", "password", "secret", "token")
NO_WRITTEN_KEYS = "keep keys out of this file: use key_env, key_file or key_command"


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
    """Everything a topology file says."""

    cluster: ClusterSettings
    state_url: str
    nodes: tuple[Node, ...]


class _Table:
    """One table of the file with the path it stands at; reads its keys and remembers which exist."""

    def __init__(self, source: str, path: str, found: object) -> None:
        self.source = source
        self.path = path
        if not isinstance(found, Mapping):
            self.fail("", f"is {_kind(found)}, expected a table")
        self.found: Mapping[str, Any] = found
        self.known: list[str] = []

    def fail(self, key: str, problem: str, *, hint: str | None = None) -> NoReturn:
        where = ".".join(part for part in (self.path, key) if part)
        raise TopologyInvalid(f"{self.source}: `{where}` {problem}", hint=hint or "see `docs/reference/topology.md`")

    def text(self, key: str, default: str | None = None, *, required: bool = False) -> str | None:
        value = self._value(key, default, required=required)
        if value is not None and not isinstance(value, str):
            self.fail(key, f"is {_kind(value)}, expected a string")
        if isinstance(value, str) and not value.strip():
            self.fail(key, "is empty")
        return value

    def whole(self, key: str, default: int, *, most: int = MOST_SHARDS) -> int:
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(key, f"is {_kind(value)}, expected a whole number")
        if not 1 <= value <= most:
            self.fail(key, f"is {value}, expected 1 to {most}")
        return int(value)

    def positive(self, key: str, default: float) -> float:
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(key, f"is {_kind(value)}, expected a number")
        if not 0 < value <= HEAVIEST:
            self.fail(key, f"is {_kind(value)}, expected one above 0 and at most {HEAVIEST:,}")
        return float(value)

    def flag(self, key: str) -> bool:
        value = self._value(key, False)
        if not isinstance(value, bool):
            self.fail(key, f"is {_kind(value)}, expected true or false")
        return value

    def secret(self) -> Secret | None:
        given = {key: self.text(key) for key in SECRETS}
        named = [key for key, value in given.items() if value is not None]
        if len(named) > 1:
            self.fail(named[1], f"and `{named[0]}` are both given, expected one of them")
        if not named:
            return None
        if given["key_env"] is not None and not VARIABLE.fullmatch(given["key_env"]):
            self.fail("key_env", "is not the name of an environment variable", hint=NO_WRITTEN_KEYS)
        return Secret(env=given["key_env"], file=given["key_file"], command=given["key_command"])

    def _value(self, key: str, default: Any, *, required: bool = False) -> Any:
        self.known.append(key)
        if key not in self.found and required:
            near = difflib.get_close_matches(key, [name for name in self.found if name not in self.known], n=1)
            self.fail(key, "is missing", hint=f"`{near[0]}` may be meant for it" if near else None)
        return self.found.get(key, default)

    def end(self) -> None:
        """Every key that nobody asked for is an error."""
        for key in self.found:
            if key not in self.known:
                if key.lower().replace("-", "_") in WRITTEN_KEYS:
                    self.fail(key, "is a secret written into the file", hint=NO_WRITTEN_KEYS)
                near = difflib.get_close_matches(key, self.known, n=1, cutoff=0.5)
                hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(self.known)}"
                self.fail(key, "is not a key that miroir knows", hint=hint)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value:g}" if isinstance(value, float) or abs(value) < 1e9 else "a large number"
    names: dict[type, str] = {str: "a string", list: "a list", Mapping: "a table"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "a date or time")


def parse(found: Mapping[str, Any], *, source: str) -> Content:
    """The content of a topology file that was read as TOML. Raises `TopologyInvalid` naming the key."""
    root = _Table(source, "", found)
    root.known = ["cluster", "state", "defaults", "nodes"]
    root.end()
    if "cluster" not in found:
        root.fail("cluster", "is missing")
    cluster = _cluster(_Table(source, "cluster", found["cluster"]))
    state_url = _state(_Table(source, "state", found.get("state", {})))
    defaults = _Table(source, "defaults", found.get("defaults", {}))
    default_key = defaults.secret()
    defaults.end()
    tables = found.get("nodes", [])
    if not isinstance(tables, list):
        root.fail("nodes", f"is {_kind(tables)}, expected a list of tables", hint="write `[[nodes]]` above each node")
    if not tables:
        root.fail("nodes", "has no node", hint="add a [[nodes]] table with name and url")
    nodes = tuple(_node(_Table(source, f"nodes[{i}]", table), default_key) for i, table in enumerate(tables))
    _check_together(root, cluster, nodes)
    return Content(cluster=cluster, state_url=state_url, nodes=nodes)


def _cluster(table: _Table) -> ClusterSettings:
    name = table.text("name", required=True)
    assert name is not None
    if not NAME.fullmatch(name):
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


def _state(table: _Table) -> str:
    url = table.text("url", DEFAULT_STATE)
    table.end()
    assert url is not None
    scheme, _, rest = url.partition(":")
    default = f'use sqlite:PATH, the default is "{DEFAULT_STATE}"'
    if scheme in ("redis", "rediss"):
        table.fail("url", "names a Redis server, only sqlite is supported in this version", hint=default)
    if scheme != "sqlite":
        table.fail("url", "does not begin with `sqlite:`", hint=default)
    if not rest.strip("/ ") or rest == ":memory:" or rest.endswith("/"):
        table.fail("url", f"is `{url}`, which names no file", hint=default)
    return url


def _node(table: _Table, default_key: Secret | None) -> Node:
    name = table.text("name", required=True)
    url = table.text("url", required=True)
    group = table.text("group", "main")
    zone = table.text("zone")
    weight = table.positive("weight", 1.0)
    drained = table.flag("drained")
    key = table.secret()
    table.end()
    assert name is not None and url is not None and group is not None
    for key_name, value in (("name", name), ("group", group), ("zone", zone)):
        if value is not None and not NAME.fullmatch(value):
            table.fail(key_name, f"is `{value}`, expected letters, digits, `.`, `_` and `-`")
    _check_url(url, lambda problem, hint: table.fail("url", problem, hint=hint))
    return Node(
        name=NodeName(name),
        url=url.rstrip("/"),
        group=group,
        zone=zone,
        weight=weight,
        drained=drained,
        key=key or default_key,
    )


def _check_url(url: str, fail: Callable[[str, str | None], NoReturn]) -> None:
    """Refuse what is not the address of a server. What may hold a secret is not repeated in the error."""
    if "@" in url:
        fail("has a user or a password in it", NO_WRITTEN_KEYS)
    if "?" in url or "#" in url:
        fail("has a `?` or a `#` in it, expected http://HOST:PORT", None)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        fail(f"is `{url}`, which is not a url", "expected http://HOST:PORT")
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


def _check_together(root: _Table, cluster: ClusterSettings, nodes: tuple[Node, ...]) -> None:
    _distinct(root, nodes, "name", lambda node: node.name)
    _distinct(root, nodes, "url", lambda node: normal_url(node.url))
    groups = staying_groups(nodes)
    for group, members in groups.items():
        if cluster.replicas > sum(not node.drained for node in members):
            where = "the cluster" if len(members) == len(nodes) else f"group `{group}`"
            raise TopologyInvalid(
                f"{root.source}: `cluster.replicas` is {cluster.replicas}, {where} has {count_of_active(members)}",
                hint="add nodes, or lower replicas: each replica of a shard needs a node of its own",
            )
    copies = cluster.replicas * len(groups)
    if cluster.min_in_sync > copies:
        raise TopologyInvalid(
            f"{root.source}: `cluster.min_in_sync` is {cluster.min_in_sync}, each shard has {copies} replicas in all",
            hint="min_in_sync cannot be more than replicas x groups",
        )


def _distinct(root: _Table, nodes: Iterable[Node], key: str, value_of: Callable[[Node], object]) -> None:
    seen: dict[object, int] = {}
    for position, node in enumerate(nodes):
        value = value_of(node)
        if value in seen:
            shown = node.name if key == "name" else node.url
            root.fail(f"nodes[{position}].{key}", f"is `{shown}`, the same as `nodes[{seen[value]}].{key}`")
        seen[value] = position
