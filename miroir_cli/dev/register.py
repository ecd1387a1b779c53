"""`.miroir/dev/nodes.json`: the local nodes that `miroir dev up` made, and which process each of them is."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from miroir_cli.dev.engines import EngineKind  # noqa: TC001 - msgspec reads the annotation when it decodes
from miroir_cli.dev.process import LOOPBACK, Process, alive, listens
from miroir_cli.errors import Locked, StateCorrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """One local node. `process` is None when it was never started or was stopped on purpose."""

    name: str
    port: int
    engine: EngineKind
    process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def runs(self) -> bool:
        return self.process is not None and alive(self.process)

    @property
    def listens(self) -> bool:
        """Whether this node's own process has its port."""
        return self.process is not None and listens(self.process, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """What `nodes.json` holds, in the order in which the nodes were made."""

    nodes: tuple[LocalNode, ...] = ()

    def find(self, name: str) -> LocalNode | None:
        return next((node for node in self.nodes if node.name == name), None)

    def put(self, changed: LocalNode) -> Register:
        """The register with this node replaced, or added at the end."""
        if self.find(changed.name) is None:
            return Register(nodes=(*self.nodes, changed))
        return Register(nodes=tuple(changed if node.name == changed.name else node for node in self.nodes))


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDirectory:
    """`.miroir/dev` beside a topology file: the register, a lock, and for each node its data and its log."""

    path: Path

    @classmethod
    def beside(cls, topology: Path) -> LocalDirectory:
        return cls(path=topology.absolute().parent / ".miroir" / "dev")

    @property
    def file(self) -> Path:
        return self.path / "nodes.json"

    def data(self, name: str) -> Path:
        return self.path / name

    def log(self, name: str) -> Path:
        return self.path / f"{name}.log"

    def load(self) -> Register:
        """The register; an empty one when there is none. Raises StateCorrupt when it cannot be understood."""
        try:
            return msgspec.json.decode(self.file.read_bytes(), type=Register)
        except FileNotFoundError:
            return Register()
        except msgspec.DecodeError as error:
            raise StateCorrupt(
                f"`{self.file}` cannot be understood: {error}",
                hint="end by hand the nodes that still run, remove that file, then run `miroir dev up` again",
            ) from error

    def save(self, register: Register) -> None:
        """Replace the register in one step."""
        written = self.file.with_suffix(".new")
        written.write_bytes(msgspec.json.format(msgspec.json.encode(register)) + b"\n")
        written.replace(self.file)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other `miroir dev` commands from these nodes meanwhile; raises Locked when one is at it."""
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise Locked(
                f"another `miroir dev` command is at work in `{self.path}`",
                hint="wait for it, then run this again",
            ) from error
        finally:
            os.close(descriptor)

    def last_lines(self, name: str, count: int = 8) -> list[str]:
        """The end of a node's log, without empty lines."""
        try:
            with self.log(name).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return []
        return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
