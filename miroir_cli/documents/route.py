"""Which shard a document belongs to, and its line as a node gets it. Pure, and fast: every imported byte passes here.

Of a line only the primary key is decoded (and `_vectors`, `_geo` where there are any); the reserved field takes the
place of the opening brace in the original bytes. What is rare is looked for once in a whole chunk, and only a chunk
that may hold it is examined line by line. What is left to do for each line are calls into C over all of them.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec
import xxhash

from miroir_cli.documents.chunk import Chunk, Reject
from miroir_cli.documents.refusals import (
    KEY_TEXT,
    LONGEST_KEY,
    Pairs,
    geo_refused,
    key_refused,
    parse_pairs,
    reserved_field,
    vectors_refused,
)
from miroir_cli.model import RESERVED_PREFIX, SHARD_FIELD, ShardId, spell_shard

RESERVED: Final = RESERVED_PREFIX.encode()

HIDDEN: Final = re.compile(rb"\\u00(?:5[fF]|6[9dDfF]|72)")
"""A character of the reserved prefix written as an escape: the only way to hide a reserved name. Other names need no
look at all, the decoder knows them however they are spelled."""

UNUSUAL_NAME: Final = re.compile(r'[\\"\x00-\x1f]')
"""In a primary key's name: msgspec's structs have no such fields, so every line is read in full."""

FIRST_BYTE: Final = itemgetter(0)
REST: Final = itemgetter(slice(1, None))
OPENING_BRACE: Final = ord("{")
SAFE_INTEGER: Final = 2**63
DECODED: Final = 16 << 10
"""Bytes of text decoded at a time: what comes out, to be thrown away, then stays in a processor's cache."""

KEY_BYTES: Final = bytes(filter(lambda byte: KEY_TEXT.fullmatch(chr(byte)), range(128)))

JOINED_A_SHARD: Final = 16 << 10
"""Bytes of lines for each shard that are gathered before they are joined: while a processor's cache still has them, and
not so few that joining them costs more than it saves."""


def shard_of(key: str, shards: int) -> ShardId:
    """The shard of a primary key given as text: xxh64 of its UTF-8 bytes, seed 0, modulo the number of shards."""
    return ShardId(xxhash.xxh64_intdigest(key.encode()) % shards)


class Batch:
    """Routed documents of an index with a number of shards.

    `hashes`: those of all distinct primary keys. `size`: the bytes of the lines that the documents came in.
    """

    __slots__ = ("_counts", "_gathered", "_openings", "_pieces", "_waiting", "documents", "hashes", "rejects", "size")

    def __init__(self, shards: int) -> None:
        self._openings = [f'{{"{SHARD_FIELD}":"{spell_shard(ShardId(shard))}",'.encode() for shard in range(shards)]
        self._counts = [0] * shards
        self._pieces: list[list[bytes]] = [[] for _ in range(shards)]
        self._gathered: list[list[bytes]] = [[] for _ in range(shards)]
        self._waiting = 0
        self.hashes: set[int] = set()
        self.rejects: list[Reject] = []
        self.documents = 0
        self.size = 0

    def add(self, lines: Sequence[bytes], hashes: Sequence[int], *, size: int) -> None:
        """Add documents, each beginning with its brace and ending with a line break, and the hashes of their keys."""
        shards = len(self._gathered)
        gather = [gathered.append for gathered in self._gathered]
        for rest, hashed in zip(map(REST, lines), hashes, strict=True):
            gather[hashed % shards](rest)
        self.hashes.update(hashes)
        self.documents += len(lines)
        self.size += size
        self._waiting += size
        if self._waiting >= JOINED_A_SHARD * shards:
            self._join()

    def _join(self) -> None:
        """Make the lines gathered so far into pieces of payloads."""
        for shard, lines in enumerate(self._gathered):
            if lines:
                self._counts[shard] += len(lines)
                self._pieces[shard].append(self._openings[shard].join((b"", *lines)))
                lines.clear()
        self._waiting = 0

    @property
    def counts(self) -> Sequence[int]:
        """How many documents each shard gets, repeated ones counted as often as they came."""
        self._join()
        return self._counts

    def distinct(self) -> dict[ShardId, int]:
        """How many distinct documents each shard gets; shards without any are left out."""
        shards = len(self._gathered)
        if len(self.hashes) == self.documents:
            counts = Counter(dict(enumerate(self.counts)))
        else:
            counts = Counter(hashed % shards for hashed in self.hashes)
        return {ShardId(shard): counts[shard] for shard in range(shards) if counts[shard]}

    def payload(self, shards: Iterable[ShardId]) -> bytes:
        """The NDJSON body for a node that gets these shards, each document with the reserved field in front."""
        self._join()
        return b"".join([piece for shard in sorted(shards) for piece in self._pieces[shard]])

    def lines(self, shard: ShardId) -> list[bytes]:
        """A shard's documents as they came, each with its line break."""
        added = len(self._openings[shard])
        return [b"{%b\n" % line[added:] for line in self.payload((shard,)).split(b"\n")[:-1]]


class Key:
    """Stands for the primary key's value while a line is decoded."""


class Vectors:
    """Stands for `_vectors`."""


class Geo:
    """Stands for `_geo`."""


class Router:
    """Routes raw documents of one index.

    `geo`: the index checks `_geo` (it is filterable or sortable). `embedders`: its embedders with their dimensions
    where known; vectors of other names are only checked for their outer shape, as Meilisearch does.
    """

    def __init__(
        self,
        *,
        primary_key: str,
        shards: int,
        geo: bool = False,
        embedders: Mapping[str, int | None] | None = None,
    ) -> None:
        self.primary_key = primary_key
        self.shards = shards
        self.geo = geo
        self.embedders = embedders or {}
        self._unusual = UNUSUAL_NAME.search(primary_key) is not None
        self._keys: list[object] = []
        self._encode = msgspec.json.Encoder().encode
        self._any = self._decoder(geo=geo, key_required=False)
        self._sound = self._decoder(geo=geo, key_required=True)

    def _decoder(self, *, geo: bool, key_required: bool) -> msgspec.json.Decoder[Any]:
        optional = {"default": msgspec.UNSET}
        fields: list[Any] = [("vectors", Vectors, msgspec.field(name="_vectors", **optional))]
        if geo:
            fields.append(("geo", Geo, msgspec.field(name="_geo", **optional)))
        if not self._unusual:
            name = {"name": self.primary_key} if key_required else {"name": self.primary_key, **optional}
            fields.insert(0, ("key", Key, msgspec.field(**name)))
        document = msgspec.defstruct("Document", fields, gc=False)
        found, embedders = self._keys.append, self.embedders
        key, vectors, place = Key(), Vectors(), Geo()

        def see(kind: type, value: Any) -> Any:
            # Called for every occurrence of a name, so that a repeated primary key is seen as well.
            if kind is Key:
                found(value)
                return key
            refused = geo_refused(value) if kind is Geo else vectors_refused(value, embedders)
            if refused:
                raise _Refused(refused)
            return place if kind is Geo else vectors

        return msgspec.json.Decoder(document, dec_hook=see)

    def route(self, chunk: Chunk, into: Batch) -> None:
        """Add a chunk's documents to a batch; what cannot be imported becomes a reject of the batch."""
        into.rejects.extend(chunk.rejects)
        lines: Sequence[bytes] = chunk.lines
        keys = self._sound_keys(chunk)
        if keys is None:
            keys, lines = [], []
            for line, number in zip(chunk.lines, chunk.numbers, strict=True):
                if (key := self._examine(line, number, into)) is not None:
                    keys.append(key)
                    lines.append(line.lstrip())
        into.add(lines, list(map(xxhash.xxh64_intdigest, keys)), size=len(chunk.data))

    def _sound_keys(self, chunk: Chunk) -> list[bytes] | None:
        """The text of every line's key, when each line is a document with exactly one and nothing is in doubt."""
        if not self._may_be_sound(chunk):
            return None
        self._keys.clear()
        try:
            deque(map(self._sound.decode, chunk.lines), maxlen=0)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, _Refused):
            return None
        keys: list[Any] = self._keys
        kinds = set(map(type, keys))
        if len(keys) != len(chunk.lines) or set(map(FIRST_BYTE, chunk.lines)) != {OPENING_BRACE}:
            return None
        if kinds == {int} and min(keys) > 0 and max(keys) < SAFE_INTEGER:
            return self._encode(keys)[1:-1].split(b",")  # a third of the time of `b"%d" % key`
        return _key_texts(keys) if kinds == {str} else None

    def _may_be_sound(self, chunk: Chunk) -> bool:
        """Whether nothing in the chunk calls for a second look: reserved names, hidden names, broken UTF-8."""
        data = chunk.data
        # One byte is found many times as fast as a word, and a word from the end more than twice as fast as by `in`.
        if self._unusual or (b"_" in data and data.rfind(RESERVED) >= 0):
            return False
        if chunk.encoded:
            return True
        if b"\\" in data and data.rfind(b"\\u00") >= 0 and HIDDEN.search(data):
            return False
        return data.isascii() or is_utf8(data)

    def _examine(self, line: bytes, number: int, into: Batch) -> bytes | None:
        """The text of the key of one line of a doubtful chunk; None, with a reject if there is a line, without one."""
        line = line.removesuffix(b"\n")
        if not line or line.isspace():
            return None
        try:
            if not (line.isascii() or is_utf8(line)):
                raise _Refused("not valid UTF-8")
            self._keys.clear()
            self._any.decode(line)
            if self._unusual or RESERVED in line or HIDDEN.search(line) or self._keys == [0]:
                self._keys[:] = self._exact_keys(line)
            if len(self._keys) != 1:
                often = f"occurs {len(self._keys)} times" if self._keys else "is missing"
                raise _Refused(f"primary key `{self.primary_key}` {often}")
            if refused := key_refused(self.primary_key, self._keys[0]):
                raise _Refused(refused)
        except (msgspec.MsgspecError, ValueError, RecursionError, _Refused) as error:
            into.rejects.append(Reject(line=number, reason=_reason(error), document=line))
            return None
        return str(self._keys[0]).encode()

    def shard_of_line(self, line: bytes) -> ShardId | None:
        """The shard that a single line belongs to; None for one that is refused."""
        key = self._examine(line, 0, Batch(0))
        return None if key is None else ShardId(xxhash.xxh64_intdigest(key) % self.shards)

    def keys(self, batch: Batch, shard: ShardId) -> list[str]:
        """The primary keys of a batch's documents of a shard, as text."""
        found = [self._examine(line, 0, Batch(0)) for line in batch.lines(shard)]
        return [key.decode() for key in found if key is not None]

    def halves(self, batch: Batch, shards: Iterable[ShardId]) -> tuple[Batch, Batch]:
        """These shards of a batch as two, the earlier documents of each shard and the later ones."""
        earlier, later = Batch(self.shards), Batch(self.shards)
        odd = 0
        for shard in shards:
            lines = batch.lines(shard)
            middle = (len(lines) + odd) // 2
            odd ^= len(lines) & 1  # of shards with a single document, every other one goes to the first half
            for half, part in ((earlier, lines[:middle]), (later, lines[middle:])):
                half.add(part, list(map(self._hash, part)), size=sum(map(len, part)))
        return earlier, later

    def _hash(self, line: bytes) -> int:
        """The hash of the key of a line that was found to be sound."""
        key = self._examine(line, 0, Batch(0))
        assert key is not None
        return xxhash.xxh64_intdigest(key)

    def _exact_keys(self, line: bytes) -> list[object]:
        """All the primary keys of a line, from a full reading of it. It may have no reserved names."""
        document = parse_pairs(line)
        assert isinstance(document, Pairs)
        if reserved := reserved_field(document):
            raise _Refused(f"the field `{reserved}` is reserved: no name may begin with `{RESERVED_PREFIX}`")
        return [value for name, value in document if name == self.primary_key]


class _Refused(Exception):
    """A document that cannot be imported, with the reason."""


def _reason(error: Exception) -> str:
    if isinstance(error, _Refused):
        return str(error)
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, msgspec.ValidationError):
        return "not a JSON object"
    return f"malformed JSON: {str(error).removeprefix('JSON is malformed: ')}"


def _key_texts(keys: Sequence[str]) -> list[bytes] | None:
    """Keys as bytes; None when one of them is none that Meilisearch accepts."""
    joined = "\n".join(keys).encode()
    texts = joined.split(b"\n")
    if joined.translate(None, KEY_BYTES) != b"\n" * (len(keys) - 1):
        return None
    return texts if all(texts) and max(map(len, texts)) <= LONGEST_KEY else None


def is_utf8(data: bytes) -> bool:
    """Whether bytes are text, found without making it."""
    view = memoryview(data)
    place = 0
    try:
        while place < len(view):
            end = place + DECODED
            place += codecs.utf_8_decode(view[place:end], "strict", end >= len(view))[1]
    except UnicodeDecodeError:
        return False
    return True
