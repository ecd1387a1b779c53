"""Naming the documents of batches that nodes took and did not store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from miroir_cli.documents.chunk import Reject
from miroir_cli.documents.journal import span_of
from miroir_cli.documents.refusals import thoroughly_refused

if TYPE_CHECKING:
    from miroir_cli.documents.batches import Cutter
    from miroir_cli.model import ShardId
    from miroir_cli.store.records import BatchRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Shards of a batch that were not stored, with a node's reason; with `line` only that document."""

    shards: frozenset[ShardId]
    documents: int
    reason: str
    line: bytes | None = None


def describe(record: BatchRecord, failure: Failure, *, name: str) -> str:
    """`books.ndjson, lines 1-2000: 660 documents were not stored: ...`"""
    documents = f"{failure.documents:,} document{'s' if failure.documents != 1 else ''}"
    were = "were" if failure.documents != 1 else "was"
    return f"{name}, lines {record.first_line}-{record.last_line}: {documents} {were} not stored: {failure.reason}"


def find_failed(cutter: Cutter, record: BatchRecord, failure: Failure) -> list[Reject]:
    """The lines of a failure, read again from their source. Blocks.

    A line that a node certainly refuses has that as its reason: it probably took the others with it.
    """
    found: list[Reject] = []
    for chunk in cutter.again(span_of(record)):
        for number, line in zip(chunk.numbers, chunk.lines, strict=True):
            shard = cutter.router.shard_of_line(line)
            if shard is None or shard not in failure.shards:
                continue
            if failure.line is not None and line.lstrip() != failure.line:
                continue
            reason = thoroughly_refused(line) or failure.reason
            found.append(Reject(line=number, reason=reason, document=line.removesuffix(b"\n")))
    return found
