"""docs/reference/memory.md: what the state takes in Redis's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.memory_kinds import KINDS


def memory_lines(table: Callable[[Sequence[str], Sequence[tuple[str, ...]]], list[str]]) -> list[str]:
    """The page; `table` makes lines of Markdown of headings and rows."""
    named = {kind.fill: kind for kind in KINDS}
    sessions, writes, keys = named["sessions"], named["intents"], named["idempotency"]
    many = {
        "sessions": sessions.bytes(100_000, 100_000 * 72),
        "keys": keys.bytes(100_000, 100_000 * 36),
        "writes": writes.bytes(10_000, 0),
    }
    megabytes = {name: f"{size / 1e6:.0f} MB" for name, size in many.items()}
    return [
        "# Memory of Redis",
        "",
        "How much memory the state takes when it is in Redis. Documents are not in it. Records of a kind take",
        "",
        "```text",
        "bytes = number × fixed + characters of what varies",
        "```",
        "",
        "with these figures, measured with Redis 7.0 (`python -m benchmarks.memory`). A test holds them to a tenth.",
        "",
        *table(
            ["one", "fixed", "what varies", "how many are kept"],
            [(kind.of, f"{kind.fixed:,}", kind.beside, kind.until) for kind in KINDS],
        ),
        f"For instance: 100,000 sessions with ids of 36 characters take {megabytes['sessions']}, as many idempotency",
        f"keys {megabytes['keys']}, and the last 10,000 writes of an index of 24 shards {megabytes['writes']}.",
        "",
        "The server itself takes about 2 MB, and some memory is lost between records. While Redis rewrites its log it",
        "may need the whole a second time: set `maxmemory` to one and a half times what the formula says or more, and",
        "give the machine twice that. A full Redis refuses writes (`maxmemory-policy noeviction`) and forgets nothing.",
    ]
