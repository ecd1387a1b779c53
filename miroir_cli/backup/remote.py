"""Backups anywhere that fsspec reaches: `s3://bucket/folder`, `sftp://host/folder`, `memory://x`.

The one door to fsspec. Such places have no locks that outlast nothing but their holder, so that two hosts which back up
into the same one at once are not kept apart; two commands of one cluster are, by the cluster's own locks.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from miroir_cli.errors import BackupUnavailable, UsageError

if TYPE_CHECKING:
    from miroir_cli.backup.target import Upload


class RemoteTarget:
    """A folder of some file system that fsspec knows. `url` as it was given, without what may be a password."""

    def __init__(self, url: str) -> None:
        try:
            fsspec: Any = import_module("fsspec")
        except ImportError:
            raise UsageError(
                f"`{without_password(url)}` needs another package", hint="install it: `pip install 'miroir[remote]'`"
            ) from None
        self.url = without_password(url).rstrip("/")
        try:
            self._system, path = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"`{self.url}` cannot be opened: {error}", hint="is the package for it installed?"
            ) from error
        except Exception as error:
            raise BackupUnavailable(f"`{self.url}` cannot be opened: {error}") from error
        self._root = str(path).rstrip("/")

    def folders(self) -> list[str]:
        with self._translated("cannot be listed"):
            if not self._system.exists(self._root):
                return []
            found = self._system.ls(self._root, detail=True)
            return sorted(
                entry["name"].rstrip("/").rpartition("/")[2] for entry in found if entry["type"] == "directory"
            )

    def files(self, folder: str) -> list[str]:
        with self._translated("cannot be listed"):
            found = self._system.find(self._path(folder))
            return sorted(str(path)[str(path).index(f"{folder}/") :] for path in found)

    def read(self, name: str) -> bytes | None:
        with self._translated(f"`{name}` cannot be read"):
            try:
                return bytes(self._system.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def open(self, name: str) -> BinaryIO:
        with self._translated(f"`{name}` cannot be read"):
            return cast(
                "BinaryIO", io.BufferedReader(RemoteFile(self, name, self._system.open(self._path(name), "rb")))
            )

    def size(self, name: str) -> int | None:
        with self._translated(f"`{name}` cannot be read"):
            try:
                return int(self._system.size(self._path(name)))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Where a file shows up while it is written, its name does not: it gets it in the end."""
        temporary = f"{name}.new"
        with self._translated(f"`{name}` cannot be written"):
            self._system.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(self._path(temporary), content)
            self._system.mv(self._path(temporary), self._path(name))

    def create(self, name: str) -> Upload:
        with self._translated(f"`{name}` cannot be written"):
            self._system.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            return RemoteUpload(self, name, self._system.open(self._path(name), "wb"))

    def delete(self, name: str) -> None:
        with self._translated(f"`{name}` cannot be deleted"), suppress(FileNotFoundError):
            self._system.rm_file(self._path(name))

    def delete_folder(self, folder: str, *, first: str | None = None) -> None:
        if first is not None:
            self.delete(f"{folder}/{first}")
        with self._translated(f"`{folder}` cannot be deleted"):
            self._system.rm(self._path(folder), recursive=True)

    @contextmanager
    def locked(self, what: str) -> Iterator[None]:
        yield

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Whatever the many file systems raise, in miroir's words: each has errors of its own."""
        try:
            yield
        except FileNotFoundError as error:
            raise BackupUnavailable(f"`{self.url}`: {what}: no such file") from error
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise BackupUnavailable(f"`{self.url}`: {what}: {reason}") from error

    def translated(self, name: str, doing: str = "written") -> Any:
        return self._translated(f"`{name}` cannot be {doing}")


class RemoteFile(io.RawIOBase):
    """A file that is read; a connection that breaks is named as one."""

    def __init__(self, target: RemoteTarget, name: str, file: Any) -> None:
        self._target, self._name, self._file = target, name, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._target.translated(self._name, "read"):
            content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            with suppress(Exception):
                self._file.close()
        super().close()


class RemoteUpload:
    """A file that is written in place; nobody reads it before a journal or manifest names it."""

    def __init__(self, target: RemoteTarget, name: str, file: Any) -> None:
        self._target, self._name, self._file = target, name, file

    def write(self, content: bytes) -> None:
        with self._target.translated(self._name):
            self._file.write(content)

    def commit(self) -> None:
        with self._target.translated(self._name):
            self._file.close()

    def abort(self) -> None:
        with suppress(Exception):
            if hasattr(self._file, "discard"):
                self._file.discard()
            else:
                self._file.close()


def without_password(url: str) -> str:
    """`sftp://me:secret@host/x` as `sftp://me@host/x`."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}{slash}{path}"
