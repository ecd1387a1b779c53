"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from miroir_cli.errors import TopologyInvalid


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step and make it last: temporary file beside it, fsync, rename, fsync of the folder.

    A link stays a link, mode and owner stay (the owner where permitted). Raises `TopologyInvalid` naming the reason.
    """
    try:
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        before = target.stat() if target.exists() else None
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
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
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its links go round in a circle"
        raise TopologyInvalid(
            f"`{path}` cannot be written: {reason}", hint="check the owner, the mode and the free space"
        ) from error
