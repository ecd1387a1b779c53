"""The topology file: finding it and reading it.

What the file may say is in `schema.py`, the commented text in `example.py`; it is edited in `document.py`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError

from miroir_cli.errors import NotFound, TopologyInvalid, known_instead
from miroir_cli.model import Node, group_of
from miroir_cli.topology.example import EXAMPLE, render_topology
from miroir_cli.topology.finding import NO_TOPOLOGY_HINT, find_topology, folder_beside, state_file
from miroir_cli.topology.keys import key_file_is_open, resolve_key
from miroir_cli.topology.save import write_whole
from miroir_cli.topology.schema import ClusterSettings, parse
from miroir_cli.topology.serve import ServeSettings
from miroir_cli.topology.state import StateSettings

__all__ = [
    "EXAMPLE",
    "ClusterSettings",
    "Topology",
    "check_topology",
    "find_topology",
    "key_file_is_open",
    "load_topology",
    "render_topology",
    "resolve_key",
    "write_whole",
]

LARGEST_FILE = 1024 * 1024
TOML_HINT = "texts need quotes, and a key stands only once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A topology file that was read and found right."""

    path: Path
    cluster: ClusterSettings
    nodes: tuple[Node, ...]
    state: StateSettings = StateSettings()
    serve: ServeSettings = ServeSettings()

    @property
    def state_path(self) -> Path:
        """The SQLite file of the state, relative to the topology file; only where `state.shared` is false."""
        assert not self.state.shared, "the state is in Redis"
        try:
            return state_file(self.path, self.state.url)
        except RuntimeError:
            raise TopologyInvalid(
                f"{self.path}: `state.url` names the home folder of a user that does not exist", hint="write its path"
            ) from None

    @property
    def state_place(self) -> str:
        """Where the state is, in words."""
        if self.state.shared:
            return f"the state in Redis at {self.state.address}"
        return f"state file `{self.state_path}`"

    @property
    def state_called(self) -> str:
        """What the state is called, for "the ..." and "an older copy of the ..."."""
        return "state in Redis" if self.state.shared else "state file"

    @property
    def state_kind(self) -> str:
        """What the state is in, for "another ..."."""
        return "database" if self.state.shared else "file"

    @property
    def local_folder(self) -> Path:
        """What this host keeps for itself: locks, and what it remembers of work that takes several commands."""
        return folder_beside(self.path, os.environ) if self.state.shared else self.state_path.parent

    @property
    def active_nodes(self) -> tuple[Node, ...]:
        """The nodes that take shards: all but the drained ones."""
        return tuple(node for node in self.nodes if not node.drained)

    def node(self, name: str) -> Node:
        """The node of that name. Raises `NotFound` with the likely one or those that there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise no_such_node(name, [str(node.name) for node in self.nodes], self.path)

    def groups(self) -> dict[str, tuple[Node, ...]]:
        """The replica groups, each with its nodes in the order of their names."""
        return group_of(self.nodes)


def no_such_node(name: str, names: Sequence[str], path: Path) -> NotFound:
    """The error for a name that no node has, with the likely one or those that there are."""
    return NotFound(f"node `{name}` is not in `{path}`", hint=known_instead(name, names, listing="miroir node list"))


def load_topology(path: Path) -> Topology:
    """Read and check a topology file. Raises `TopologyInvalid` naming the file and the key, or the line."""
    return check_topology(read_text(path), path)


def check_topology(text: str, path: Path) -> Topology:
    """The same for a text that is to be written to that path."""
    content = parse(unwrap(path, parse_toml(path, text)), source=str(path))
    return Topology(path=path, cluster=content.cluster, state=content.state, nodes=content.nodes, serve=content.serve)


def read_text(path: Path) -> str:
    """What the file says. Raises `TopologyInvalid` for one that cannot be a topology file."""
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


def parse_toml(path: Path, text: str) -> tomlkit.TOMLDocument:
    """The text as a document. Raises `TopologyInvalid` naming the line."""
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        line, reason = _what_is_wrong(error, text)
    where = f"topology file `{path}`" + ("" if line is None else f", line {line}")
    raise TopologyInvalid(f"{where}: not TOML ({reason})", hint=TOML_HINT)


def syntax_error(text: str) -> tuple[int | None, str] | None:
    """The line and the reason why a text is not TOML; None when it is."""
    try:
        tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        return _what_is_wrong(error, text)
    return None


def _what_is_wrong(error: TOMLKitError, text: str) -> tuple[int | None, str]:
    if isinstance(error, ParseError):
        line: int | None = error.line
        reason = str(error).removesuffix(f" at line {error.line} col {error.col}")
    else:
        line, reason = _line_of_error(text), str(error)
    return line, f"{reason[:1].lower()}{reason[1:]}".rstrip(".")


def _line_of_error(text: str) -> int | None:
    """Where the standard library's parser stops; tomlkit does not say it for a key that stands twice."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        return int(found.group(1)) if found else None
    return None


def unwrap(path: Path, document: tomlkit.TOMLDocument) -> dict[str, Any]:
    """The values of a document."""
    try:
        return dict(document.unwrap())
    except TOMLKitError as error:  # tables that are defined in pieces fail only here
        raise TopologyInvalid(f"topology file `{path}`: not TOML ({error})", hint="check its syntax") from None
