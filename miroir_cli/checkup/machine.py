"""What this machine tells of itself: the files beside the topology file, the disk under the state, the limits."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from miroir_cli.checkup.facts import Machine, SetAside, StateFiles
from miroir_cli.store.locks import file_system_of
from miroir_cli.store.sqlite.file import BESIDE

if TYPE_CHECKING:
    from miroir_cli.topology.file import Topology

OTHERS_READ = stat.S_IRGRP | stat.S_IROTH


def read_machine(topology: Topology) -> Machine:
    """The limits of this process, what runs it, and who may change the topology file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Machine(
        topology=str(topology.path),
        topology_writable=bool(_mode(topology.path) & stat.S_IWOTH),
        descriptors=None if hard == resource.RLIM_INFINITY else hard,
        python=sys.version_info[:2],
        system=platform.system(),
    )


def read_state_files(path: Path) -> StateFiles:
    """The state file, what lies beside it, and the disk that they are on."""
    present = [each for suffix in ("", *BESIDE) if (each := path.with_name(path.name + suffix)).is_file()]
    aside = [each for each in _siblings(path) if each.name.endswith(".old")]
    space = _space(path.parent)
    return StateFiles(
        open_to_others=tuple(str(each) for each in (*present, *aside) if _mode(each) & OTHERS_READ),
        log_bytes=_size(path.with_name(f"{path.name}-wal")),
        set_aside=tuple(SetAside(path=str(each), bytes=_size(each), at=_written(each)) for each in aside),
        free_bytes=space[0] if space else None,
        disk_bytes=space[1] if space else None,
        file_system=_file_system(path.parent),
    )


def _siblings(path: Path) -> list[Path]:
    try:
        return sorted(each for each in path.parent.iterdir() if each.name.startswith(f"{path.name}."))
    except OSError:
        return []


def _space(folder: Path) -> tuple[int, int] | None:
    """Bytes that are free for this user, and bytes in all, on the disk where the folder is or would be made."""
    for place in (folder, *folder.parents):
        try:
            found = shutil.disk_usage(place)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return found.free, found.total
    return None


def _file_system(folder: Path) -> str | None:
    try:
        return file_system_of(folder, mounts=Path("/proc/self/mounts").read_text()) or None
    except OSError:
        return None


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _written(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
