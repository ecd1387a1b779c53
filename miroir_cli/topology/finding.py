"""Where the topology file is, and the state beside it: all that is needed before the file is read in earnest.

Loads next to nothing: the shell asks on every press of the tab key (`cli/complete.py`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from miroir_cli.errors import TopologyInvalid

DEFAULT_STATE: Final = "sqlite:.miroir/state.db"
NO_TOPOLOGY_HINT: Final = "run `miroir init` to write one, or name it with --topology"


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


def state_file(topology: Path, url: str) -> Path:
    """The SQLite file that `[state] url` names, relative to the topology file.

    Raises `RuntimeError` for the home folder of a user that does not exist.
    """
    written = url.removeprefix("sqlite:")
    if written.startswith("//"):
        written = "/" + written.lstrip("/")
    return (topology.parent / Path(written).expanduser()).resolve()


def folder_beside(topology: Path, environ: Mapping[str, str]) -> Path:
    """What this host keeps for itself where the state is in Redis: `.miroir` beside the topology file.

    Where that cannot be written, as in /etc under systemd, a folder for this file in STATE_DIRECTORY, which systemd
    names for a unit, or else in XDG_STATE_HOME or ~/.local/state.
    """
    beside = topology.parent.resolve() / ".miroir"
    if _writable(beside) or (not beside.exists() and _writable(beside.parent)):
        return beside
    name = hashlib.sha256(os.fsencode(topology.resolve())).hexdigest()[:12]
    if environ.get("STATE_DIRECTORY"):
        return Path(environ["STATE_DIRECTORY"].partition(":")[0], name)
    if environ.get("XDG_STATE_HOME"):
        return Path(environ["XDG_STATE_HOME"], "miroir", name)
    return Path(environ["HOME"], ".local", "state", "miroir", name) if environ.get("HOME") else beside


def _writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
