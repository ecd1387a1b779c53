"""Compressing files of documents, hashing what is stored, and reading them back."""

from __future__ import annotations

import hashlib
import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

from miroir_cli.errors import UsageError

if TYPE_CHECKING:
    from miroir_cli.backup.target import Upload

ZSTD, GZIP = "zstd", "gzip"
SUFFIXES: Final = {ZSTD: ".ndjson.zst", GZIP: ".ndjson.gz"}
LEVEL: Final = 3


class Compressor(Protocol):
    def compress(self, content: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def best_compression() -> str:
    """zstd where Python or a package has it, else gzip, which is larger and slower."""
    return ZSTD if _zstd() is not None else GZIP


def usable(compression: str) -> str:
    """A compression that somebody asked for, if it can be had. Raises `UsageError`."""
    if compression == ZSTD and _zstd() is None:
        raise UsageError("zstd needs another package", hint="install it: `pip install 'miroir[zstd]'`")
    return compression


def _zstd() -> Any:
    """Python's own module from 3.14 on, or the package."""
    for name in ("compression.zstd", "zstandard"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


def _compressor(compression: str) -> Compressor:
    if compression == GZIP:
        return zlib.compressobj(6, zlib.DEFLATED, 31)
    module = _zstd()
    found = module.ZstdCompressor(level=LEVEL)
    return found.compressobj() if hasattr(found, "compressobj") else found  # type: ignore[no-any-return]


class Packed:
    """A file on its way to its place. `read` is what went in so far, `size` what was stored, with its hash. Blocks."""

    def __init__(self, upload: Upload, compression: str) -> None:
        self._upload = upload
        self._compressor = _compressor(compression)
        self._hash = hashlib.sha256()
        self.size = self.read = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, content: bytes) -> None:
        self.read += len(content)
        self._store(self._compressor.compress(content))

    def commit(self) -> None:
        self._store(self._compressor.flush())
        self._upload.commit()

    def abort(self) -> None:
        self._upload.abort()

    def _store(self, content: bytes) -> None:
        if content:
            self._hash.update(content)
            self.size += len(content)
            self._upload.write(content)
