"""The topology file: finding it, reading it, and editing it with its comments kept.

The only door to tomlkit. What the file may say is in `schema.py`, the commented text in `example.py`.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError
from tomlkit.items import AoT

from miroir_cli.errors import NotFound, TopologyInvalid
from miroir_cli.model import Node, Secret, group_of
from miroir_cli.topology.example import EXAMPLE, node_values, render_node, render_topology
from miroir_cli.topology.keys import key_file_is_open, resolve_key
from miroir_cli.topology.save import write_whole
from miroir_cli.topology.schema import SECRETS, ClusterSettings, parse

__all__ = [
    "EXAMPLE",
    "ClusterSettings",
    "Topology",
    "TopologyDocument",
    "check_topology",
    "find_topology",
    "key_file_is_open",
    "load_topology",
    "render_topology",
    "resolve_key",
    "write_whole",
]

LARGEST_FILE = 1024 * 1024
NO_TOPOLOGY_HINT = "run `miroir init` to write one, or name it with --topology"

HEADER = re.compile(r"[ \t]*\[")
CLUSTER_HEADER = re.compile(r"""[ \t]*\[[ \t]*(cluster|"cluster"|'cluster')[ \t]*\]""")
NODES_HEADER = re.compile(r"""[ \t]*\[\[[ \t]*(nodes|"nodes"|'nodes')[ \t]*\]\]""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A topology file that was read and found right."""

    path: Path
    cluster: ClusterSettings
    state_url: str
    nodes: tuple[Node, ...]

    @property
    def state_path(self) -> Path:
        """The SQLite file of the state, relative to the topology file."""
        written = self.state_url.removeprefix("sqlite:")
        if written.startswith("//"):
            written = "/" + written.lstrip("/")
        try:
            return (self.path.parent / Path(written).expanduser()).resolve()
        except RuntimeError:
            raise TopologyInvalid(
                f"{self.path}: `state.url` names the home folder of a user that does not exist", hint="write its path"
            ) from None

    @property
    def active_nodes(self) -> tuple[Node, ...]:
        """The nodes that take shards: all but the drained ones."""
        return tuple(node for node in self.nodes if not node.drained)

    def node(self, name: str) -> Node:
        """The node of that name. Raises `NotFound` with the likely one."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise _no_such_node(name, [str(node.name) for node in self.nodes], self.path)

    def groups(self) -> dict[str, tuple[Node, ...]]:
        """The replica groups, each with its nodes in the order of their names."""
        return group_of(self.nodes)


def find_topology(explicit: Path | None, environ: Mapping[str, str], *, folder: Path | None = None) -> Path:
    """The file to use: the named one, MIROIR_TOPOLOGY, ./miroir.toml, ~/.config/miroir/miroir.toml; the first given.

    A file that is named but not there is an error, not a reason to look further. Raises `TopologyInvalid`.
    """
    named = "" if explicit is not None else environ.get("MIROIR_TOPOLOGY", "")
    if explicit is not None or named:
        path = explicit if explicit is not None else Path(named)
        if path.exists() and not path.is_dir():
            return path
        what = "is a folder" if path.is_dir() else "does not exist"
        where = " (named by MIROIR_TOPOLOGY)" if named else ""
        raise TopologyInvalid(f"topology file `{path}` {what}{where}", hint=NO_TOPOLOGY_HINT)
    places = [(folder or Path()) / "miroir.toml"]
    if environ.get("XDG_CONFIG_HOME"):
        places.append(Path(environ["XDG_CONFIG_HOME"], "miroir", "miroir.toml"))
    elif environ.get("HOME"):
        places.append(Path(environ["HOME"], ".config", "miroir", "miroir.toml"))
    for path in places:
        if path.is_file():
            return path
    raise TopologyInvalid("no topology file: `miroir.toml` is not in this folder", hint=NO_TOPOLOGY_HINT)


def _no_such_node(name: str, names: Sequence[str], path: Path) -> NotFound:
    near = difflib.get_close_matches(name, names, n=1)
    return NotFound(
        f"node `{name}` is not in `{path}`",
        hint=f"did you mean `{near[0]}`?" if near else f"known: {', '.join(names)}",
    )


def load_topology(path: Path) -> Topology:
    """Read and check a topology file. Raises `TopologyInvalid` naming the file and the key, or the line."""
    return check_topology(_read(path), path)


def check_topology(text: str, path: Path) -> Topology:
    """The same for a text that is to be written to that path."""
    content = parse(_unwrap(path, _parse_toml(path, text)), source=str(path))
    return Topology(path=path, cluster=content.cluster, state_url=content.state_url, nodes=content.nodes)


def _read(path: Path) -> str:
    where = f"topology file `{path}`"
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise TopologyInvalid(f"{where} does not exist", hint=NO_TOPOLOGY_HINT) from None
    except IsADirectoryError:
        raise TopologyInvalid(f"{where} is a folder", hint=NO_TOPOLOGY_HINT) from None
    except OSError as error:
        raise TopologyInvalid(f"{where} cannot be read: {error.strerror}", hint="check its owner and mode") from error
    if len(content) > LARGEST_FILE:
        raise TopologyInvalid(f"{where} is larger than {LARGEST_FILE // 1024**2} MiB", hint="is it the right file?")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TopologyInvalid(f"{where}, line {line}: not UTF-8 text", hint="save it as UTF-8") from None
    if text.startswith("\ufeff"):
        raise TopologyInvalid(f"{where} begins with a byte order mark", hint="save it as UTF-8 without one (BOM)")
    if not text.strip():
        raise TopologyInvalid(f"{where} is empty", hint=NO_TOPOLOGY_HINT)
    return text


def _parse_toml(path: Path, text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except ParseError as error:
        line: int | None = error.line
        reason = str(error).removesuffix(f" at line {error.line} col {error.col}")
    except TOMLKitError as error:
        line, reason = _line_of_error(text), str(error)
    where = f"topology file `{path}`" + ("" if line is None else f", line {line}")
    reason = f"{reason[:1].lower()}{reason[1:]}".rstrip(".")
    raise TopologyInvalid(f"{where}: not TOML ({reason})", hint="texts need quotes, and a key stands only once")


def _line_of_error(text: str) -> int | None:
    """Where the standard library's parser stops; tomlkit does not say it for a key that stands twice."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        return int(found.group(1)) if found else None
    return None


def _unwrap(path: Path, document: tomlkit.TOMLDocument) -> dict[str, Any]:
    try:
        return dict(document.unwrap())
    except TOMLKitError as error:  # tables that are defined in pieces fail only here
        raise TopologyInvalid(f"topology file `{path}`: not TOML ({error})", hint="check its syntax") from None


class TopologyDocument:
    """A topology file being edited: comments, order and spacing stay as they were.

    Tables are added and taken out as lines of text, and every edit is read back: when the text says anything but
    what was wanted, because it is written in a way that is not understood here, `TopologyInvalid` says so.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self._read_text = text
        self._content = _unwrap(path, _parse_toml(path, text))

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(path, _read(path))

    @property
    def changed(self) -> bool:
        """Whether it says anything else than the file."""
        return self.text != self._read_text

    def topology(self) -> Topology:
        """The edited content, checked."""
        return check_topology(self.text, self.path)

    def add_node(self, node: Node) -> None:
        """Add a node below the last one; options at their defaults are left out, also the key that all nodes have."""
        values = self._node_values(node)
        content = {**self._content, "nodes": [*self._content.get("nodes", []), values]}
        if self._has_inline_nodes():
            self._edit(content, lambda nodes: nodes.append(_inline(values)))
            return
        lines = self._lines()
        at = self._end_of_nodes(lines)
        before = [] if at == 0 or not lines[at - 1].strip() else ["\n"]
        if at and not lines[at - 1].endswith("\n"):
            before = ["\n", "\n"]
        after = ["\n"] if at < len(lines) else []
        added = [*before, *render_node(node, defaults=self._defaults()).splitlines(keepends=True), *after]
        self._replace(content, [*lines[:at], *self._as_written(added), *lines[at:]])

    def remove_node(self, name: str) -> None:
        """Take a node out, with the comments inside its table; those above and below stay.

        Raises `NotFound` with the likely one.
        """
        position = self._position(name)
        nodes = self._content["nodes"]
        content = {**self._content, "nodes": [*nodes[:position], *nodes[position + 1 :]]}
        if self._has_inline_nodes():
            self._edit(content, lambda nodes: nodes.pop(position))
            return
        lines = self._lines()
        start, end = self._table(lines, position)
        while end < len(lines) and not lines[end].strip():
            end += 1
        if len(nodes) == 1:
            content.pop("nodes")
        self._replace(content, [*lines[:start], *lines[end:]])

    def change_node(self, name: str, **keys: str | float | bool | None) -> None:
        """Set keys of a node; None takes a key out. Raises `NotFound` with the likely one."""
        self._change(self._position(name), keys)

    def replace_node(self, name: str, node: Node) -> None:
        """Make one node another: its table stays where it is with its comments, the keys that differ change.

        Raises `NotFound` with the likely one.
        """
        position = self._position(name)
        replaced = self.topology().nodes[position]
        before, after = self._node_values(replaced), self._node_values(node)
        obsolete = {*before, *(SECRETS if node.key != replaced.key else ())} - {*after}
        gone = {key: None for key in self._content["nodes"][position] if key in obsolete}
        self._change(position, {**gone, **{key: value for key, value in after.items() if before.get(key) != value}})

    def set_cluster(self, key: str, value: str | int) -> None:
        """Set a key of the `[cluster]` table, which is written at the top when it is missing."""
        before = self._content.get("cluster", {})
        content = {**self._content, "cluster": {**before, key: value}}
        lines = self._lines()
        start = next((number for number, line in enumerate(lines) if CLUSTER_HEADER.match(line)), None)
        if key in before or ("cluster" in self._content and start is None):
            document = tomlkit.parse(self.text)
            document["cluster"][key] = value
            self._replace(content, [tomlkit.dumps(document)], table="cluster")
            return
        added, end = [f"{key} = {tomlkit.item(value).as_string()}\n"], 0
        if start is None:
            added = ["[cluster]\n", *added, "\n"]
        else:
            end = _end_of_table(lines, start)
            added = added if lines[end - 1].endswith("\n") else ["\n", *added]
        self._replace(content, [*lines[:end], *self._as_written(added), *lines[end:]], table="cluster")

    def _change(self, position: int, keys: Mapping[str, str | float | bool | None]) -> None:
        for key, value in keys.items():
            nodes = [dict(node) for node in self._content["nodes"]]
            present = key in nodes[position]
            if value is None:
                nodes[position].pop(key, None)
            else:
                nodes[position][key] = value
            content = {**self._content, "nodes": nodes}
            if present or self._has_inline_nodes():
                self._edit(content, partial(_set, position, key, value))
            elif value is not None:
                lines = self._lines()
                _, end = self._table(lines, position)
                last = [] if lines[end - 1].endswith("\n") else ["\n"]
                added = [*last, f"{key} = {tomlkit.item(value).as_string()}\n"]
                self._replace(content, [*lines[:end], *self._as_written(added), *lines[end:]])

    def set_weight(self, name: str, weight: float) -> None:
        self.change_node(name, weight=float(weight))

    def save(self) -> Topology:
        """Check and write the file in one step: whatever happens, the old or the new content stands there whole.

        Raises `TopologyInvalid`, also when the file was changed or taken away since it was read.
        """
        topology = self.topology()
        if not self.path.exists() or _read(self.path) != self._read_text:
            raise TopologyInvalid(
                f"topology file `{self.path}` was changed by somebody else meanwhile", hint="run the command again"
            )
        if self.changed:
            write_whole(self.path, self.text)
            self._read_text = self.text
        return topology

    # -- the text

    def _position(self, name: str) -> int:
        """Where a node stands. Several edits may make something valid out of what one alone would not: nothing else
        is checked here."""
        names = [str(node.get("name")) for node in self._content.get("nodes", [])]
        if name not in names:
            raise _no_such_node(name, names, self.path)
        return names.index(name)

    def _defaults(self) -> Secret:
        """The key that all nodes have that name none of their own."""
        written = self._content.get("defaults", {})
        return Secret(env=written.get("key_env"), file=written.get("key_file"), command=written.get("key_command"))

    def _node_values(self, node: Node) -> dict[str, Any]:
        """The keys of a node that are not at their defaults."""
        return _values(node_values(node, self._defaults()))

    def _lines(self) -> list[str]:
        return self.text.splitlines(keepends=True)

    def _as_written(self, lines: list[str]) -> list[str]:
        """Lines with the ends that the file has."""
        return [line.replace("\n", "\r\n") for line in lines] if "\r\n" in self.text else lines

    def _has_inline_nodes(self) -> bool:
        nodes = tomlkit.parse(self.text).get("nodes")
        return nodes is not None and not isinstance(nodes, AoT)

    def _table(self, lines: list[str], position: int) -> tuple[int, int]:
        """The lines of a node from its header to after its last key."""
        starts = [number for number, line in enumerate(lines) if NODES_HEADER.match(line)]
        if position >= len(starts):
            raise self._not_understood()
        return starts[position], _end_of_table(lines, starts[position])

    def _end_of_nodes(self, lines: list[str]) -> int:
        """Where another node goes: after the last one, above the comment of the table that follows it."""
        starts = [number for number, line in enumerate(lines) if NODES_HEADER.match(line)]
        if not starts:
            return len(lines)
        end = next((n for n in range(starts[-1] + 1, len(lines)) if HEADER.match(lines[n])), len(lines))
        if end < len(lines):
            while lines[end - 1].lstrip().startswith("#"):
                end -= 1
        return end

    def _edit(self, content: dict[str, Any], change: Callable[[Any], object]) -> None:
        document = tomlkit.parse(self.text)
        change(document["nodes"])
        self._replace(content, [tomlkit.dumps(document)])

    def _replace(self, content: dict[str, Any], lines: list[str], *, table: str = "nodes") -> None:
        text = "".join(lines)
        try:
            found = _unwrap(self.path, _parse_toml(self.path, text))
        except TopologyInvalid:
            raise self._not_understood(table) from None
        if found != content:
            raise self._not_understood(table)
        self.text, self._content = text, content

    def _not_understood(self, table: str = "nodes") -> TopologyInvalid:
        return TopologyInvalid(
            f"`{table}` in `{self.path}` is written in a way that cannot be edited here",
            hint="edit the file by hand, then run `miroir rebalance run`",
        )


def _end_of_table(lines: list[str], start: int) -> int:
    """Where another key of the table goes whose header is at `start`: after its last key."""
    end = next((number for number in range(start + 1, len(lines)) if HEADER.match(lines[number])), len(lines))
    while end > start + 1 and _is_blank_or_comment(lines[end - 1]):
        end -= 1
    return end


def _is_blank_or_comment(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _values(written: Mapping[str, str]) -> dict[str, Any]:
    """The values of lines `key = value`."""
    return dict(tomlkit.parse("".join(f"{key} = {value}\n" for key, value in written.items())).unwrap())


def _inline(values: Mapping[str, Any]) -> Any:
    table = tomlkit.inline_table()
    table.update(values)
    return table


def _set(position: int, key: str, value: str | float | bool | None, nodes: Any) -> None:
    if value is None:
        nodes[position].pop(key, None)
    else:
        nodes[position][key] = value
