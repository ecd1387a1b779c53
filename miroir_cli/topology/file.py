"""The topology file: finding it, reading it, editing it with its comments kept, and saving it whole or not at all.

The only door to tomlkit. What the file may say is in `schema.py`.
"""

from __future__ import annotations

import difflib
import os
import shlex
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import tomlkit
from tomlkit.exceptions import TOMLKitError

from miroir_cli.errors import AuthenticationFailed, NotFound, TopologyInvalid
from miroir_cli.model import Node, Secret, group_of
from miroir_cli.topology.schema import ClusterSettings, parse

LARGEST_FILE = 4 * 1024 * 1024
COMMAND_LIMIT = 10.0
"""Seconds for a key_command."""

NO_TOPOLOGY_HINT = "run `miroir init` to write one, or name it with --topology"


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
        return (self.path.parent / Path(written).expanduser()).resolve()

    def node(self, name: str) -> Node:
        """The node of that name. Raises `NotFound` with the likely one."""
        for node in self.nodes:
            if node.name == name:
                return node
        names = [str(node.name) for node in self.nodes]
        near = difflib.get_close_matches(name, names, n=1)
        raise NotFound(
            f"node `{name}` is not in `{self.path}`",
            hint=f"did you mean `{near[0]}`?" if near else f"known: {', '.join(names)}",
        )

    def groups(self) -> dict[str, tuple[Node, ...]]:
        return group_of(self.nodes)


def find_topology(explicit: Path | None, environ: Mapping[str, str], *, folder: Path | None = None) -> Path:
    """The file to use: the named one, MIROIR_TOPOLOGY, ./miroir.toml, ~/.config/miroir/miroir.toml; the first given."""
    if explicit is None and environ.get("MIROIR_TOPOLOGY"):
        explicit = Path(environ["MIROIR_TOPOLOGY"])
    if explicit is not None:
        if not explicit.is_file():
            what = "is a folder" if explicit.is_dir() else "does not exist"
            raise TopologyInvalid(f"topology file `{explicit}` {what}", hint=NO_TOPOLOGY_HINT)
        return explicit
    config = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".config")
    for path in ((folder or Path()) / "miroir.toml", config / "miroir" / "miroir.toml"):
        if path.is_file():
            return path
    raise TopologyInvalid("no topology file: `miroir.toml` is not in this folder", hint=NO_TOPOLOGY_HINT)


def load_topology(path: Path) -> Topology:
    """Read and check a topology file. Raises `TopologyInvalid` naming the file and the key."""
    return _check(path, _parse_toml(path, _read(path)))


def check_topology(text: str, path: Path) -> Topology:
    """The same for a text that is to be written to that path."""
    return _check(path, _parse_toml(path, text))


def _read(path: Path) -> str:
    try:
        if path.is_dir():
            raise TopologyInvalid(f"topology file `{path}` is a folder", hint=NO_TOPOLOGY_HINT)
        if path.stat().st_size > LARGEST_FILE:
            raise TopologyInvalid(f"topology file `{path}` is larger than {LARGEST_FILE // 1024**2} MiB")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise TopologyInvalid(f"topology file `{path}` does not exist", hint=NO_TOPOLOGY_HINT) from None
    except OSError as error:
        raise TopologyInvalid(f"topology file `{path}` cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TopologyInvalid(f"topology file `{path}` is not UTF-8 text (byte {error.start})") from error


def _parse_toml(path: Path, text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise TopologyInvalid(f"topology file `{path}` is not TOML: {error}") from error


def _check(path: Path, document: tomlkit.TOMLDocument) -> Topology:
    if not document:
        raise TopologyInvalid(f"topology file `{path}` is empty", hint=NO_TOPOLOGY_HINT)
    content = parse(document.unwrap(), source=str(path))
    return Topology(path=path, cluster=content.cluster, state_url=content.state_url, nodes=content.nodes)


class TopologyDocument:
    """A topology file being edited: comments, order and unknown spacing stay as they were."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._read_text = text
        self._document = _parse_toml(path, text)

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(path, _read(path))

    @property
    def text(self) -> str:
        return tomlkit.dumps(self._document)

    def topology(self) -> Topology:
        """The edited content, checked."""
        return _check(self.path, self._document)

    def add_node(self, node: Node) -> None:
        """Append a node; options at their defaults are left out."""
        table = tomlkit.table()
        for key, value in _node_keys(node).items():
            table[key] = value
        nodes = self._document.get("nodes")
        if nodes is None:
            nodes = self._document["nodes"] = tomlkit.aot()
        nodes.append(table)

    def remove_node(self, name: str) -> None:
        """Take a node out. Raises `NotFound` with the likely one."""
        self.topology().node(name)
        nodes: Any = self._document["nodes"]
        for position, table in enumerate(nodes):
            if table.get("name") == name:
                del nodes[position]
                return

    def change_node(self, name: str, **keys: Any) -> None:
        """Set keys of a node; None takes a key out."""
        self.topology().node(name)
        nodes: Any = self._document["nodes"]
        table = next(table for table in nodes if table.get("name") == name)
        for key, value in keys.items():
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value

    def save(self) -> Topology:
        """Check and write the file in one step: whatever happens, the old or the new content stands there whole.

        Raises `TopologyInvalid` when somebody else changed the file since it was read.
        """
        topology = self.topology()
        if self.path.exists() and _read(self.path) != self._read_text:
            raise TopologyInvalid(
                f"topology file `{self.path}` was changed by somebody else meanwhile", hint="run the command again"
            )
        write_whole(self.path, self.text)
        self._read_text = self.text
        return topology


def _node_keys(node: Node) -> dict[str, Any]:
    keys: dict[str, Any] = {"name": str(node.name), "url": node.url}
    if node.group != "main":
        keys["group"] = node.group
    if node.zone is not None:
        keys["zone"] = node.zone
    if node.weight != 1.0:
        keys["weight"] = node.weight
    if node.key is not None:
        named = {"key_env": node.key.env, "key_file": node.key.file, "key_command": node.key.command}
        keys.update({key: value for key, value in named.items() if value is not None})
    return keys


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step and make it last: temporary file beside it, fsync, rename. A link stays a link."""
    target = path.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise TopologyInvalid(
            f"`{path}` cannot be written: {error.strerror}", hint="check the owner, the mode and the free space"
        ) from error


def resolve_key(secret: Secret | None, *, base: Path, environ: Mapping[str, str] | None = None) -> str | None:
    """The key itself, from where the topology file says; None where it names nothing.

    Paths and commands are relative to `base`. Raises `AuthenticationFailed` saying what is missing, never the value.
    """
    if secret is None:
        return None
    if secret.env is not None:
        value = (os.environ if environ is None else environ).get(secret.env, "").strip()
        if not value:
            raise AuthenticationFailed(
                f"environment variable `{secret.env}` is not set", hint="export it, or change key_env"
            )
        return value
    if secret.file is not None:
        return _key_from_file(base / Path(secret.file).expanduser())
    assert secret.command is not None
    return _key_from_command(secret.command, base)


def _key_from_file(path: Path) -> str:
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise AuthenticationFailed(f"key file `{path}` cannot be read: {reason}", hint="check key_file") from None
    if not value:
        raise AuthenticationFailed(f"key file `{path}` is empty", hint="check key_file")
    return value


def key_file_is_open(secret: Secret | None, *, base: Path) -> bool:
    """Whether other users of this machine can read the key file."""
    if secret is None or secret.file is None:
        return False
    try:
        return bool((base / Path(secret.file).expanduser()).stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False


def _key_from_command(command: str, base: Path) -> str:
    try:
        done = subprocess.run(
            shlex.split(command),
            cwd=base,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT,
            check=False,
        )
    except (OSError, ValueError, IndexError) as error:
        raise AuthenticationFailed(
            f"key_command `{command}` cannot be run: {getattr(error, 'strerror', None) or 'badly quoted'}"
        ) from None
    except subprocess.TimeoutExpired:
        raise AuthenticationFailed(f"key_command `{command}` took more than {COMMAND_LIMIT:g} s") from None
    value = done.stdout.strip().partition("\n")[0].strip()
    if done.returncode != 0 or not value:
        problem = f"ended with status {done.returncode}" if done.returncode else "printed nothing"
        raise AuthenticationFailed(f"key_command `{command}` {problem}", hint="run it by hand to see why")
    return value


EXAMPLE = """\
# The cluster as it should be. `miroir status` shows what it is.

[cluster]
name = "{name}"
shards = {shards}                 # slices of a new index; 8 x the most nodes a group will ever have
replicas = {replicas}                # copies of each shard within each group
min_in_sync = 1             # a write counts when this many copies have it
partial = "error"           # or "allow": what a search does when no copy of a shard answers

[state]
url = "sqlite:.miroir/state.db"   # relative to this file

[defaults]
{key}
"""


def render_topology(
    *,
    name: str,
    nodes: tuple[Node, ...],
    shards: int = 24,
    replicas: int = 1,
    key_env: str | None = None,
) -> str:
    """The commented file that `miroir init` writes."""
    key = f'key_env = "{key_env}"' if key_env else '# key_env = "MIROIR_NODE_KEY"   # or key_file, key_command'
    document = TopologyDocument(
        Path("miroir.toml"), EXAMPLE.format(name=name, shards=shards, replicas=replicas, key=key)
    )
    for node in nodes:
        document.add_node(node)
    return document.text
