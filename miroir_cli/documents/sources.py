"""Where documents come from: files, standard input and pipes, plain or compressed, and what tells one content from
another."""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import os
import select
import stat
import sys
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast

import xxhash

from miroir_cli.errors import FILE_HINT, SourceInvalid

STANDARD_INPUT: Final = "-"
SAMPLE: Final = 64 * 1024
"""Bytes looked at to tell a format, and hashed at either end of a file for its fingerprint."""

MAGIC: Final = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd"}
COMPRESSED_SUFFIXES: Final = frozenset({".gz", ".gzip", ".bz2", ".zst", ".zstd"})


class SourceBroken(Exception):
    """The bytes of a source end or fail in the middle of it; the message says how."""


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Streamed(io.RawIOBase):
    """What can be read once only, such as standard input or a named pipe, read so that a thread that waits for it can
    be told to stop: it is as if there were no more."""

    def __init__(self, file: int, *, owned: bool) -> None:
        self._file = file
        self._owned = owned
        self.abandoned = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.abandoned:
            if select.select([self._file], [], [], 0.2)[0]:
                with suppress(BlockingIOError):
                    return os.readv(self._file, [buffer])
        return 0

    def close(self) -> None:
        if self._owned and not self.closed:
            os.close(self._file)
        super().close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One thing to read, found and readable: a file (`path`), something that is read once only (`streamed`), or what is
    in some other place and can be opened again and again (`opened`). `size` is in bytes as stored, None when it cannot
    be known; `digest` is its hash where somebody knows it already."""

    name: str
    path: Path | None = None
    size: int | None = None
    streamed: Streamed | None = None
    opened: Callable[[], BinaryIO] | None = None
    digest: str | None = None

    @property
    def rereadable(self) -> bool:
        return self.streamed is None

    def fingerprint(self) -> dict[str, str | int | None]:
        """What tells this content from another: name, size, and its hash or one of its first and last bytes."""
        if self.digest is not None:
            return {"name": self.name, "size": self.size, "hash": self.digest}
        if self.path is None:
            return {"name": self.name, "size": None, "hash": None}
        with self.path.open("rb") as file:
            digest = xxhash.xxh64(file.read(SAMPLE))
            if self.size is not None and self.size > SAMPLE:
                file.seek(-SAMPLE, os.SEEK_END)
                digest.update(file.read())
        return {"name": str(self.path.absolute()), "size": self.size, "hash": digest.hexdigest()}


class Stream:
    """The decompressed bytes of an input. `consumed` is how many stored bytes were read, for telling progress."""

    def __init__(self, source: Input) -> None:
        self._stored = _open_stored(source)
        self._counted = _Counted(self._stored)
        self.compression = next((name for magic, name in MAGIC.items() if self._stored.peek(4).startswith(magic)), None)
        self.seekable = self.compression is None and source.path is not None
        self._bytes = _decompress(self._counted, self.compression)

    @property
    def consumed(self) -> int:
        return self._counted.count

    def peek(self) -> bytes:
        """The next stored bytes, as many as come at once."""
        return self._stored.peek(SAMPLE)

    @property
    def file(self) -> BinaryIO:
        """The stored bytes as a seekable file, for formats that read from their end."""
        return cast("BinaryIO", self._stored)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end. Raises `SourceBroken`."""
        try:
            return self._bytes.read(size)
        except EOFError:
            raise SourceBroken(f"the {self.compression} data is cut off") from None
        except (gzip.BadGzipFile, zlib.error, SourceBroken) as error:
            raise SourceBroken(f"the {self.compression} data is damaged ({error})") from None
        except OSError as error:
            what = f"the {self.compression} data is damaged" if self.compression and not error.errno else "unreadable"
            raise SourceBroken(f"{what} ({error.strerror or error})") from None

    def skip(self, count: int) -> None:
        """Pass over the first `count` bytes."""
        if self.seekable:
            self._stored.seek(count)
            self._counted.count = count
            return
        while count > 0 and (block := self.read(min(count, 1 << 20))):
            count -= len(block)

    def close(self) -> None:
        self._stored.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def find_inputs(patterns: Sequence[str]) -> list[Input]:
    """The inputs that command line words name, in their order; words with `*`, `?` or `[` are expanded, sorted.

    Raises SourceInvalid for what does not exist, is no file, is empty or cannot be read.
    """
    inputs: list[Input] = []
    for pattern in patterns:
        if pattern == STANDARD_INPUT:
            streamed = Streamed(sys.stdin.fileno(), owned=False)
            inputs.append(Input(name="standard input", streamed=streamed))
        elif not os.path.lexists(pattern) and glob.has_magic(pattern):
            found = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
            if not found:
                raise SourceInvalid(f"no file matches `{pattern}`")
            inputs += map(_find_file, found)
        else:
            inputs.append(_find_file(pattern))
    once = [source.name for source in inputs if not source.rereadable]
    for name in once:
        if once.count(name) > 1:
            raise SourceInvalid(f"`{name}` can be read once only")
    return inputs


def _find_file(name: str) -> Input:
    path = Path(name)
    if path.is_dir():
        raise SourceInvalid(f"`{name}` is a directory", hint=f"name its files: `{name.rstrip('/')}/*.ndjson`")
    try:
        if _is_streamed(path.stat().st_mode):  # a pipe waits for its writer, which must not see it closed again
            return Input(name=name, streamed=Streamed(os.open(path, os.O_RDONLY | os.O_NONBLOCK), owned=True))
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size if path.is_file() else None
    except OSError as error:
        raise SourceInvalid(f"cannot read `{name}`: {(error.strerror or str(error)).lower()}", hint=FILE_HINT) from None
    if size == 0:
        raise SourceInvalid(f"`{name}` is empty")
    return Input(name=name, path=path, size=size)


def _is_streamed(mode: int) -> bool:
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _open_stored(source: Input) -> io.BufferedReader:
    if source.opened is not None:
        return io.BufferedReader(cast("io.RawIOBase", source.opened()), SAMPLE)
    if source.path is None:
        assert source.streamed is not None
        return io.BufferedReader(source.streamed, SAMPLE)
    try:
        return io.BufferedReader(io.FileIO(source.path, "rb"), SAMPLE)
    except OSError as error:
        raise SourceInvalid(
            f"cannot read `{source.name}`: {(error.strerror or str(error)).lower()}", hint=FILE_HINT
        ) from None


class _Counted:
    """A file that counts what is read from it."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.count += len(block)
        return block

    def seekable(self) -> bool:
        return False

    def readable(self) -> bool:
        return True


def _decompress(stored: _Counted, compression: str | None) -> Readable:
    if compression == "gzip":
        return gzip.GzipFile(fileobj=cast("BinaryIO", stored), mode="rb")
    if compression == "bzip2":
        return bz2.BZ2File(cast("BinaryIO", stored))
    if compression == "zstd":
        return _Zstd(stored)
    return stored


def _zstd_reader() -> tuple[Callable[[], Any], type[Exception]]:
    """What reads one frame, and the error that it raises: Python's own from 3.14 on, or a package's."""
    try:
        module = import_module("compression.zstd")
    except ImportError:
        pass
    else:
        return module.ZstdDecompressor, module.ZstdError
    try:
        module = import_module("zstandard")
    except ImportError:
        raise SourceInvalid(
            "zstd needs another package", hint="install it: `pip install 'miroir[zstd]'`, or decompress the file"
        ) from None
    return module.ZstdDecompressor().decompressobj, module.ZstdError


class _Zstd:
    """Zstandard frames, one after the other, with an error when the last one is not whole."""

    def __init__(self, stored: _Counted) -> None:
        self._new, self._error = _zstd_reader()
        self._stored = stored
        self._frame: Any = None
        self._ready = bytearray()

    def read(self, size: int = -1) -> bytes:
        while len(self._ready) < size and self._more():
            pass
        block = bytes(self._ready[:size])
        del self._ready[:size]
        return block

    def _more(self) -> bool:
        packed = self._stored.read(SAMPLE)
        if not packed:
            if self._frame is not None:
                raise EOFError
            return False
        while packed:
            self._frame = self._frame or self._new()
            try:
                self._ready += self._frame.decompress(packed)
            except self._error as error:
                raise SourceBroken(str(error)) from None
            if not self._frame.eof:
                break
            packed, self._frame = self._frame.unused_data, None
        return True
