"""The files of one shard: written as its documents come, put right when some of them have changed meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from miroir_cli.backup.manifest import File
from miroir_cli.backup.packing import SUFFIXES, Packed
from miroir_cli.documents.sources import Input, SourceBroken, Stream
from miroir_cli.errors import BackupDamaged

if TYPE_CHECKING:
    from miroir_cli.backup.target import Target

FILE_BYTES: Final = 256 << 20
"""Bytes of documents after which a file ends."""

BLOCK: Final = 1 << 20


@dataclass(kw_only=True)
class _Piece:
    """A file with the keys of its lines, in their order; the documents of `dead` keys do not count any more."""

    name: str
    packed: Packed
    keys: list[str] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    ended: bool = False

    def described(self, folder: str) -> File:
        return File(
            name=self.name.removeprefix(f"{folder}/"),
            bytes=self.packed.size,
            documents=len(self.keys),
            sha256=self.packed.sha256,
        )


class Parts:
    """A sink (see `moment.Sink`) that writes files named `STEM-0000.ndjson.zst` and so on below a backup's folder."""

    def __init__(
        self, target: Target, folder: str, stem: str, *, compression: str, file_bytes: int = FILE_BYTES
    ) -> None:
        self._target = target
        self._folder = folder
        self._stem = stem
        self._compression = compression
        self._file_bytes = file_bytes
        self._pieces: list[_Piece] = []
        self._where: dict[str, _Piece] = {}
        self._number = 0

    async def begin(self) -> None:
        await asyncio.to_thread(self._remove_all)
        self._where.clear()

    async def add(self, documents: Mapping[str, bytes]) -> None:
        if documents:
            await asyncio.to_thread(self._add, documents)

    async def drop(self, keys: Set[str]) -> None:
        for key in keys:
            self._where.pop(key).dead.add(key)
        if self._pieces and not self._pieces[-1].ended:  # a key may come again, and is dead in one place only
            await asyncio.to_thread(self._end)

    async def finish(self) -> tuple[File, ...]:
        """All files, with the documents that count and no others."""
        return await asyncio.to_thread(self._finish)

    async def abandon(self) -> None:
        """Leave nothing half written."""
        await asyncio.to_thread(self._abort)

    # in threads

    def _add(self, documents: Mapping[str, bytes]) -> None:
        piece = self._pieces[-1] if self._pieces and not self._pieces[-1].ended else self._new()
        piece.packed.write(b"".join(document + b"\n" for document in documents.values()))
        piece.keys += documents
        self._where.update(dict.fromkeys(documents, piece))
        if piece.packed.read >= self._file_bytes:
            self._end()

    def _new(self) -> _Piece:
        name = f"{self._folder}/{self._stem}-{self._number:04}{SUFFIXES[self._compression]}"
        piece = _Piece(name=name, packed=Packed(self._target.create(name), self._compression))
        self._number += 1
        self._pieces.append(piece)
        return piece

    def _end(self) -> None:
        self._pieces[-1].packed.commit()
        self._pieces[-1].ended = True

    def _abort(self) -> None:
        if self._pieces and not self._pieces[-1].ended:
            self._pieces.pop().packed.abort()

    def _remove_all(self) -> None:
        self._abort()
        for piece in self._pieces:
            self._target.delete(piece.name)
        self._pieces.clear()

    def _finish(self) -> tuple[File, ...]:
        if self._pieces and not self._pieces[-1].ended:
            self._end()
        wrong, self._pieces = [piece for piece in self._pieces if piece.dead], [p for p in self._pieces if not p.dead]
        for piece in wrong:
            if len(piece.dead) < len(piece.keys):
                self._write_again(piece)
        for piece in wrong:
            self._target.delete(piece.name)
        return tuple(piece.described(self._folder) for piece in self._pieces)

    def _write_again(self, piece: _Piece) -> None:
        """The documents of a file that count, as another file."""
        new = self._new()
        source = Input(name=piece.name, opened=lambda: self._target.open(piece.name))
        waiting = []
        for key, line in zip(piece.keys, lines_of(source), strict=True):
            if key not in piece.dead:
                new.keys.append(key)
                waiting.append(line)
            if len(waiting) >= 1000:
                new.packed.write(b"".join(waiting))
                waiting.clear()
        new.packed.write(b"".join(waiting))
        self._end()


def lines_of(source: Input) -> Iterator[bytes]:
    """The lines of a file, each with its line break. Raises `BackupDamaged`. Blocks."""
    try:
        with Stream(source) as stream:
            rest = b""
            while block := stream.read(BLOCK):
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    yield line + b"\n"
            if rest:
                raise SourceBroken("the last line is cut off")
    except SourceBroken as error:
        raise BackupDamaged(f"`{source.name}` is damaged: {error}", hint="take another backup") from None
