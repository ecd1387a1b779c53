"""What is taken out of an answer before it is compared, byte by byte: what no two servers have in common."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MOMENT: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z"
UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One rule: what is put in the place of every match of `pattern`, and why it cannot be equal."""

    reason: str
    pattern: re.Pattern[str]
    replacement: str


def _rule(pattern: str, replacement: str, reason: str) -> Removal:
    return Removal(reason=reason, pattern=re.compile(pattern), replacement=replacement)


MOMENTS = "enqueuedAt|startedAt|finishedAt|createdAt|updatedAt|lastUpdate|lastUpdatedAt"
SIZES = "databaseSize|usedDatabaseSize|rawDocumentDbSize|avgDocumentSize"

REMOVALS: Final = {
    "moments": _rule(rf'"({MOMENTS})":"{MOMENT}"', r'"\1":"<moment>"', "when something happened"),
    "durations": _rule(r'"duration":"P[^"]*"', '"duration":"<duration>"', "how long a task took"),
    "processing time": _rule(r'"processingTimeMs":\d+', '"processingTimeMs":<ms>', "how long a search took"),
    "request ids": _rule(rf'"requestUid":"{UUID}"', '"requestUid":"<uuid>"', "drawn for every search"),
    "batches": _rule(r'"batchUid":(?:\d+|null)', '"batchUid":<batch>', "every node batches its tasks by itself"),
    "dump names": _rule(r'"dumpUid":"\d{8}-\d{9}"', '"dumpUid":"<dump>"', "a dump is named after its moment"),
    "sizes on disk": _rule(rf'"({SIZES})":\d+', r'"\1":<bytes>', "several nodes take more room than one"),
    "sizes after compaction": _rule(
        r'"(pre|post)CompactionSize":"[^"]*"', r'"\1CompactionSize":"<size>"', "several nodes take more room than one"
    ),
    "uids in filters": _rule(
        r'"originalFilter":"\?uids=\d+"', '"originalFilter":"?uids=<task>"', "a filter tells the uid that was asked for"
    ),
    "drawn webhooks": _rule(rf"the webhook `(?!00000000){UUID}`", "the webhook `<uuid>`", "drawn for every webhook"),
    "drawn keys": _rule(
        rf'"key":"[0-9a-f]{{64}}","uid":"(?!00000000){UUID}"',
        '"key":"<key>","uid":"<uuid>"',
        "the uid of a key that names none is drawn, and its value follows from it",
    ),
}
"""The rules by name. Uids in the corpus that begin with eight zeros are its own, and are compared."""


def comparable(body: str) -> str:
    """A body without what the rules take out."""
    for removal in REMOVALS.values():
        body = removal.pattern.sub(removal.replacement, body)
    return body
