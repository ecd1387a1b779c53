"""The topology file being edited, with its comments kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import tomlkit
from tomlkit.items import AoT

from miroir_cli.errors import TopologyInvalid
from miroir_cli.model import Node, Secret
from miroir_cli.topology.example import node_values, render_node
from miroir_cli.topology.file import check_topology, no_such_node, parse_toml, read_text, unwrap
from miroir_cli.topology.save import write_whole
from miroir_cli.topology.table import SECRETS

if TYPE_CHECKING:
    from pathlib import Path

    from miroir_cli.topology.file import Topology

HEADER = re.compile(r"[ \t]*\[")
CLUSTER_HEADER = re.compile(r"""[ \t]*\[[ \t]*(cluster|"cluster"|'cluster')[ \t]*\]""")
NODES_HEADER = re.compile(r"""[ \t]*\[\[[ \t]*(nodes|"nodes"|'nodes')[ \t]*\]\]""")


class TopologyDocument:
    """A topology file being edited: comments, order and spacing stay as they were.

    Tables are added and taken out as lines of text, and every edit is read back: when the text says anything but
    what was wanted, because it is written in a way that is not understood here, `TopologyInvalid` says so.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self._read_text = text
        self._content = unwrap(path, parse_toml(path, text))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file to edit it. Raises `TopologyInvalid`."""
        return cls(path, read_text(path))

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
        """Give a node its weight. Raises `NotFound` with the likely one."""
        self.change_node(name, weight=float(weight))

    def save(self) -> Topology:
        """Check and write the file in one step: whatever happens, the old or the new content stands there whole.

        Raises `TopologyInvalid`, also when the file was changed or taken away since it was read.
        """
        topology = self.topology()
        if not self.path.exists() or read_text(self.path) != self._read_text:
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
            raise no_such_node(name, names, self.path)
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
            found = unwrap(self.path, parse_toml(self.path, text))
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
