"""`miroir __complete KIND WORD...`: the values that a shell offers for a word, one a line with what they are.

Asked at every press of the tab key, so neither typer nor the topology's reader is touched, nothing is written, no node
is asked, a Redis that has the state is waited for a moment only, and whatever goes wrong is silence. The words are
those of the line so far: they may name a topology file.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")

LIMIT: Final = 0.08
LIMIT_VARIABLE: Final = "MIROIR_COMPLETION_LIMIT"
"""Seconds for Redis to answer: whoever presses a key waits for less than a tenth of one without noticing."""

Value = tuple[str, str]
"""A value, and a few words about it."""


def complete(arguments: Sequence[str]) -> int:
    """Print the values of a kind; always 0."""
    try:
        kind, *words = arguments
        lines = [f"{value}\t{_one_line(about)}\n" for value, about in KINDS[kind](words) if _is_a_name(value)]
        sys.stdout.write("".join(lines))
        sys.stdout.flush()
    except Exception:
        # Whoever presses a key has no use for an error, and would find it in the middle of the line.
        return 0
    return 0


def nodes(words: Sequence[str]) -> Iterator[Value]:
    """The nodes of the topology file."""
    _, content = _topology(words)
    for node in content["nodes"]:
        yield node["name"], str(node.get("url", "")).rpartition("@")[2]  # what stands before may be a password


def indexes(words: Sequence[str]) -> Iterable[Value]:
    """The indexes that the state knows, and the aliases, which are good for most that an index is."""
    return _kept(words, "indexes", "aliases")


def aliases(words: Sequence[str]) -> Iterable[Value]:
    """The aliases that the state knows."""
    return _kept(words, "aliases")


def entries(words: Sequence[str]) -> Iterable[Value]:
    """What the journal has: runs and commands, each the newest first."""
    return _kept(words, "runs", "commands")


def backups(words: Sequence[str]) -> Iterator[Value]:
    """The backups in the folder that the line has named, the newest first: their names begin with the time."""
    (*_, place) = (path for path in (Path(word).expanduser() for word in words) if path.is_dir())
    for folder in sorted(place.iterdir(), reverse=True):
        if (folder / "manifest.json").is_file():
            yield folder.name, "a backup"
        elif (folder / "begun.json").is_file():
            yield folder.name, "not finished"


KINDS: Final[dict[str, Callable[[Sequence[str]], Iterable[Value]]]] = {
    "indexes": indexes,
    "aliases": aliases,
    "nodes": nodes,
    "entries": entries,
    "backups": backups,
}


def _kept(words: Sequence[str], *kinds: str) -> Iterable[Value]:
    """What the state has of these kinds, be it in a file or in Redis."""
    from miroir_cli.topology.finding import DEFAULT_STATE, state_file

    path, content = _topology(words)
    state = content.get("state", {})
    url = state.get("url", DEFAULT_STATE)
    if url.startswith(("redis://", "rediss://")):
        from miroir_cli.store.redis.glance import glance as ask

        limit = float(os.environ.get(LIMIT_VARIABLE) or LIMIT)
        return ask(url, kinds, password=_password(path.parent, state), limit=limit)
    from miroir_cli.store.sqlite.glance import glance

    return glance(state_file(path, url), kinds)


def _password(base: Path, state: Mapping[str, Any]) -> str | None:
    """Redis's password. No command is run for it: it may take long, or ask somebody something."""
    if "password_env" in state:
        return os.environ[state["password_env"]].strip()
    if "password_file" in state:
        return (base / Path(state["password_file"]).expanduser()).read_text().strip()
    return None


def _topology(words: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """The topology file that the words or the environment name, and what it says."""
    from miroir_cli.topology.finding import find_topology

    path = find_topology(_named(words), os.environ)
    return path, tomllib.loads(path.read_text())


def _named(words: Sequence[str]) -> Path | None:
    """The value of the last `-t FILE`, `-tFILE`, `--topology FILE` or `--topology=FILE`, `=` being a word of its own in
    bash."""
    found = None
    for position, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--topology" or word == "-t":
            following = [each for each in words[position + 1 : position + 3] if each != "="]
            found = value if equals and value else next(iter(following), None)
        elif word.startswith("-t") and not word.startswith("--"):
            found = word[2:]
    return Path(found).expanduser() if found else None


def _is_a_name(value: str) -> bool:
    """Whether a value means nothing but itself to a shell: others are in no sound file, and a file may come from
    anybody."""
    return NAME.fullmatch(value) is not None


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
