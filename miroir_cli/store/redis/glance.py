"""A look into Redis that waits for a moment only, changes nothing and may find nothing.

For the shell's completions, as `store/sqlite/glance.py` is: what it says may be of two moments, and no other code
relies on it. It speaks Redis's protocol by itself, since the client for it takes longer to load than there is time.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from miroir_cli.store.redis.keys import key, listing

Rows = list[tuple[str, str]]

USUAL_PORT: Final = 6379
MOST: Final = 1_000
"""Indexes, and aliases; whoever has more types another letter before the next press of the key."""
NEWEST: Final = 50
"""Runs, and commands."""


def glance(url: str, kinds: Sequence[str], *, password: str | None, limit: float) -> Rows:
    """The values of these kinds with a few words about each; none when it takes longer than `limit` seconds, to find
    the host and to shake hands included, or when anything at all is wrong."""
    found: Rows = []

    def look() -> None:
        try:
            rows = _look(urlsplit(url), kinds, password, limit=limit)
        except Exception:
            return  # a thread has nobody to raise it for
        found.extend(rows)

    thread = Thread(target=look, daemon=True)  # nothing stops one that asks for the address of a host
    thread.start()
    thread.join(limit)
    return [] if thread.is_alive() else found


def _look(place: SplitResult, kinds: Sequence[str], password: str | None, *, limit: float) -> Rows:
    with socket.create_connection((place.hostname or "", place.port or USUAL_PORT), timeout=limit) as plain:
        with _wrapped(plain, place) as connection:
            line = _Line(connection)
            user = [] if place.username is None else [place.username]
            line.ask(
                [
                    *([] if password is None else [("AUTH", *user, password)]),
                    ("SELECT", place.path.strip("/") or "0"),
                ]
            )
            return [row for kind in kinds for row in KINDS[kind](line)]


def _wrapped(plain: socket.socket, place: SplitResult) -> socket.socket:
    if place.scheme != "rediss":
        return plain
    import ssl  # noqa: PLC0415 - takes as long to load as all the rest

    return ssl.create_default_context().wrap_socket(plain, server_hostname=place.hostname)


class _Line:
    """A connection on which several commands go out at once."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answers = connection.makefile("rb")

    def ask(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """The answers: texts, numbers, None or lists of them. Raises for what is refused."""
        self._connection.sendall(b"".join(map(_packed, commands)))
        return [self._answer() for _ in commands]

    def _answer(self) -> Any:
        first = self._answers.readline()
        kind, rest = first[:1], first[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self._answers.read(length + 2)[:-2].decode()
        if kind == b"*":
            return [self._answer() for _ in range(int(rest))]
        raise ConnectionError(first.decode(errors="replace"))


def _packed(words: Sequence[str]) -> bytes:
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


def _hashes(line: _Line, kind: str, ids: Sequence[str], *fields: str) -> list[tuple[str, Mapping[str, str]]]:
    """These fields of each record that there is; one that is not set is empty."""
    found = line.ask([("HMGET", key(kind, id), *fields) for id in ids])
    named = [dict(zip(fields, (value or "" for value in values), strict=True)) for values in found]
    return [(id, record) for id, record in zip(ids, named, strict=True) if any(record.values())]


def _indexes(line: _Line) -> Rows:
    (uids,) = line.ask([("ZRANGE", listing("indexes"), "0", str(MOST - 1))])
    found = _hashes(line, "indexes", uids, "state", "shards", "replicas")
    return [
        (uid, f"{record['shards']} shards, {record['replicas']} replicas")
        for uid, record in found
        if record["state"] == "active"
    ]


def _aliases(line: _Line) -> Rows:
    (names,) = line.ask([("ZRANGE", listing("aliases"), "0", str(MOST - 1))])
    found = _hashes(line, "aliases", names, "current_uid", "target_uids")
    targets = [record["current_uid"] or ", ".join(json.loads(record["target_uids"])) for _, record in found]
    return [(name, f"an alias of {target}") for (name, _), target in zip(found, targets, strict=True)]


def _runs(line: _Line) -> Rows:
    (ids,) = line.ask([("ZREVRANGE", listing("runs"), "0", str(NEWEST - 1))])
    found = _hashes(line, "runs", ids, "title", "state")
    return [(id, f"{record['title']}, {record['state']}") for id, record in found]


def _commands(line: _Line) -> Rows:
    (ids,) = line.ask([("ZREVRANGE", listing("commands"), "0", str(NEWEST - 1))])
    return [(f"c{id}", record["line"]) for id, record in _hashes(line, "commands", ids, "line")]


KINDS: Final[Mapping[str, Callable[[_Line], Rows]]] = {
    "indexes": _indexes,
    "aliases": _aliases,
    "runs": _runs,
    "commands": _commands,
}
