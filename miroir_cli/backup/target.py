"""Where backups are kept: a local folder, or anything that fsspec knows (`remote.py`)."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from miroir_cli.errors import BackupUnavailable, Locked, UsageError

LOCK = ".lock"


class Upload(Protocol):
    """A file on its way: it is there, whole, once `commit` has returned, and not before."""

    def write(self, content: bytes) -> None: ...

    def commit(self) -> None: ...

    def abort(self) -> None: ...


class Target(Protocol):
    """A place for backups. All methods block, and raise `BackupUnavailable` when the place does not do what it should;
    names are paths with `/` below it."""

    url: str

    def folders(self) -> list[str]:
        """The names of all folders in it; none when it does not exist yet."""

    def files(self, folder: str) -> list[str]:
        """The names of all files in a folder, however deep; unfinished ones too."""

    def read(self, name: str) -> bytes | None:
        """A small file; None when there is none."""

    def open(self, name: str) -> BinaryIO:
        """A file to read."""

    def size(self, name: str) -> int | None:
        """The bytes of a file; None when there is none."""

    def write(self, name: str, content: bytes) -> None:
        """A small file, whole or not at all."""

    def create(self, name: str) -> Upload:
        """A file to write."""

    def delete(self, name: str) -> None:
        """A file; it may be gone."""

    def delete_folder(self, folder: str, *, first: str | None = None) -> None:
        """A folder with all its files, this one `first`; of a link elsewhere the link alone."""

    @contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """Alone in this place, as far as the place can tell; raises `Locked` at once when somebody else is."""


def open_target(url: str) -> Target:
    """The place that a word on the command line names: a folder, or a URL for fsspec."""
    if "://" not in url:
        return LocalTarget(Path(url))
    from miroir_cli.backup.remote import RemoteTarget  # noqa: PLC0415 - an extra that most do without

    return RemoteTarget(url)


@contextmanager
def translated(url: str, what: str) -> Iterator[None]:
    """The system's errors in miroir's words."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        hint = "free some space, then run the same command again" if "space" in reason else None
        raise BackupUnavailable(
            f"`{url}`: {what}: {reason}", hint=hint or "check that it exists, its owner and its mode"
        ) from error


class LocalTarget:
    """A folder of this host. Files are written beside their names, flushed to the disk and renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = str(folder)

    def folders(self) -> list[str]:
        if not self.folder.exists():
            return []
        with translated(self.url, "cannot be listed"):
            return sorted(entry.name for entry in os.scandir(self.folder) if entry.is_dir())

    def files(self, folder: str) -> list[str]:
        with translated(self.url, "cannot be listed"):
            found = [path for path in (self.folder / folder).rglob("*") if path.is_file()]
            return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def read(self, name: str) -> bytes | None:
        with translated(self.url, f"`{name}` cannot be read"):
            try:
                return (self.folder / name).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def open(self, name: str) -> BinaryIO:
        with translated(self.url, f"`{name}` cannot be read"):
            return (self.folder / name).open("rb")

    def size(self, name: str) -> int | None:
        with translated(self.url, f"`{name}` cannot be read"):
            try:
                return (self.folder / name).stat().st_size
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        upload = self.create(name)
        try:
            upload.write(content)
            upload.commit()
        except BaseException:
            upload.abort()
            raise

    def create(self, name: str) -> Upload:
        with translated(self.url, f"`{name}` cannot be written"):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            return LocalUpload(self.url, name, path)

    def delete(self, name: str) -> None:
        with translated(self.url, f"`{name}` cannot be deleted"):
            (self.folder / name).unlink(missing_ok=True)

    def delete_folder(self, folder: str, *, first: str | None = None) -> None:
        path = self.folder / folder
        with translated(self.url, f"`{folder}` cannot be deleted"):
            if path.is_symlink():
                path.unlink()
                return
            if first is not None:
                (path / first).unlink(missing_ok=True)
            shutil.rmtree(path)

    @contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """The kernel frees the lock when its holder dies."""
        with translated(self.url, "cannot be written"):
            self.folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(file, 500, 0).decode(errors="replace").strip()
                by = f"by {owner}" if owner else "by another process"
                raise Locked(f"`{self.url}` is in use {by}", hint="run the command again when it has ended") from None
            except OSError as error:
                raise UsageError(f"`{self.url}` cannot be locked: {error.strerror}") from error
            with suppress(OSError):  # on a full disk nobody is told who it is
                os.ftruncate(file, 0)
                os.pwrite(file, f"process {os.getpid()} (`{what}`)".encode(), 0)
            yield
            with suppress(OSError):
                os.ftruncate(file, 0)
        finally:
            os.close(file)


class LocalUpload:
    """A temporary file beside the one that it becomes."""

    def __init__(self, url: str, name: str, path: Path) -> None:
        self._url, self._name, self._path = url, name, path
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        self._temporary = Path(temporary)
        self._file: IO[bytes] = os.fdopen(descriptor, "wb")

    def write(self, content: bytes) -> None:
        with self._translated():
            self._file.write(content)

    def commit(self) -> None:
        with self._translated():
            os.fchmod(self._file.fileno(), 0o640)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._temporary, self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def abort(self) -> None:
        with suppress(OSError):  # what it still holds may not fit the disk
            self._file.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._url, f"`{self._name}` cannot be written")
