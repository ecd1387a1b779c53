"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from miroir_cli.errors import TopologyInvalid


def write_whole(path: Path, text: str) -> None:
    """Replace a file as `replaced` does, in a folder that is made if it is missing. Raises `TopologyInvalid` naming the
    reason."""
    try:
        path.resolve().parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as file:
            file.write(text.encode())
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its links go round in a circle"
        raise TopologyInvalid(
            f"`{path}` cannot be written: {reason}", hint="check the owner, the mode and the free space"
        ) from error


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of another one in one step, and for good, when the block ends well: temporary file
    beside it, fsync, rename, fsync of the folder. A link stays a link, mode and owner stay (the owner where permitted).

    Raises the system's `OSError`, and `RuntimeError` for links that go round in a circle.
    """
    target = path.resolve()
    before = target.stat() if target.exists() else None
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if before is not None and (before.st_uid, before.st_gid) != (os.getuid(), os.getgid()):
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), 0o644 if before is None else stat.S_IMODE(before.st_mode))
            file.flush()
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
