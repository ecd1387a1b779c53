"""Which program a local node runs: a real Meilisearch where there is one, else the embedded node."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from miroir_cli.dev.process import LOOPBACK
from miroir_cli.errors import NodeUnsupported, NotFound

BINARY_VARIABLE = "MIROIR_MEILISEARCH"
VERSION_TIMEOUT = 20.0
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


INDEXING_MEMORY = "200MiB"
"""What a local Meilisearch may use to index. Its default is two thirds of the machine for each node, and it clears a
share of that for every batch however small: half a second of processor time on a machine of 24 GiB."""


EXACT_NEIGHBOURS = {
    "MEILI_EXPERIMENTAL_HNSW_LINEAR_BELOW_RATIO": "1",
    "MEILI_EXPERIMENTAL_HNSW_LINEAR_BELOW": str(2**32),
}
"""Variables that make a Meilisearch compare a vector with all others instead of looking along its graph, which misses
some: only so do several nodes find together what one finds."""


class EngineChoice(StrEnum):
    """What `--engine` takes."""

    AUTO = "auto"
    MEILISEARCH = "meilisearch"
    EMBEDDED = "embedded"


class StateChoice(StrEnum):
    """What `--state` takes."""

    SQLITE = "sqlite"
    REDIS = "redis"


class EngineKind(StrEnum):
    """What a local node runs, spelled as it calls itself in `/version`."""

    MEILISEARCH = "meilisearch"
    EMBEDDED = "miroir-embedded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A program that can run nodes here. `said` tells a person which it is and why."""

    kind: EngineKind
    program: Path
    said: str

    def command(self, *, port: int, directory: Path) -> list[str]:
        """The command of a node on loopback that keeps everything it writes below `directory`."""
        if self.kind is EngineKind.EMBEDDED:
            module = ["-P", "-m", "miroir_cli.dev.engine"]
            return [str(self.program), *module, "--port", str(port), "--data", str(directory / "embedded")]
        return [
            str(self.program),
            "--no-analytics",
            "--max-indexing-memory",
            INDEXING_MEMORY,
            *("--env", "development"),
            *("--log-level", "WARN"),
            *("--http-addr", f"{LOOPBACK}:{port}"),
            *("--db-path", str(directory / "data.ms")),
            *("--dump-dir", str(directory / "dumps")),
            *("--snapshot-dir", str(directory / "snapshots")),
            *("--config-file-path", str(directory / "config.toml")),
        ]

    def prepare(self, directory: Path) -> None:
        """Make the node's directory, with an empty configuration so that none lying about is taken."""
        directory.mkdir(parents=True, exist_ok=True)
        if self.kind is EngineKind.MEILISEARCH:
            (directory / "config.toml").write_text("# everything is said on the command line\n")

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The caller's environment without what would change the node (`MEILI_*`), and with exact vector search."""
        kept = {name: value for name, value in environ.items() if not name.startswith("MEILI_")} | EXACT_NEIGHBOURS
        if self.kind is EngineKind.EMBEDDED:
            kept["PYTHONPATH"] = os.pathsep.join([str(PACKAGE_ROOT), *filter(None, [environ.get("PYTHONPATH")])])
        return kept


def find_engine(choice: EngineChoice, environ: Mapping[str, str]) -> Engine:
    """The engine to use.

    `auto` takes the binary that `MIROIR_MEILISEARCH` names, else `meilisearch` on the PATH, else the embedded
    node. Raises NotFound when a named or demanded binary is not there, NodeUnsupported when it does not run.
    """
    if choice is EngineChoice.EMBEDDED:
        return _embedded("the embedded node, for development only")
    binary = _binary(environ)
    if binary is not None:
        return Engine(kind=EngineKind.MEILISEARCH, program=binary, said=f"{_version(binary)} ({binary})")
    if choice is EngineChoice.MEILISEARCH:
        raise NotFound(
            "no `meilisearch` on the PATH",
            hint=f"install Meilisearch, name its binary in {BINARY_VARIABLE}, or use `--engine embedded`",
        )
    return _embedded("the embedded node, for development only: there is no `meilisearch` on the PATH")


def _embedded(said: str) -> Engine:
    return Engine(kind=EngineKind.EMBEDDED, program=Path(sys.executable), said=said)


def _binary(environ: Mapping[str, str]) -> Path | None:
    named = environ.get(BINARY_VARIABLE)
    found = shutil.which(named or "meilisearch", path=environ.get("PATH", os.defpath))
    if named and found is None:
        raise NotFound(
            f"{BINARY_VARIABLE} names `{named}`, which is not a program",
            hint=f"correct {BINARY_VARIABLE}, or unset it",
        )
    return Path(found).absolute() if found else None


def _version(binary: Path) -> str:
    """What the binary calls itself, such as `meilisearch 1.50.0`."""
    try:
        answer = subprocess.run(
            [binary, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NodeUnsupported(
            f"`{binary}` does not run: {error}", hint="use another binary, or `--engine embedded`"
        ) from error
    name, _, number = answer.stdout.strip().partition(" ")
    if name != "meilisearch" or not number:
        raise NodeUnsupported(
            f"`{binary}` is not Meilisearch: `--version` says `{answer.stdout.strip()[:60]}`",
            hint="use another binary, or `--engine embedded`",
        )
    return f"Meilisearch {number}"
