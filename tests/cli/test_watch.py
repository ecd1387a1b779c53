"""`status --watch` on a terminal: drawn in place, resized, put back at the end; and elsewhere, plain."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from miroir_cli.cli.screen import ENTER, HOME, LEAVE
from miroir_cli.dev.engine.testing import Engine
from tests.cli.conftest import edit
from tests.conftest import Miroir, clean_environment

COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A process on a terminal of its own, and what it has written there."""

    def __init__(self, folder: Path, words: Sequence[str], *, columns: int, lines: int, term: str = "xterm") -> None:
        self._master, slave = os.openpty()
        self._resize(columns, lines)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "miroir_cli", *words],
            cwd=folder,
            env=clean_environment(HOME=os.fspath(folder), TERM=term),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        os.set_blocking(self._master, False)
        self.written = ""

    def _resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        self._resize(columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def read(self) -> str:
        try:
            while part := os.read(self._master, 100_000):
                self.written += part.decode()
        except OSError:  # nothing there now, or the other end is closed
            pass
        return self.written

    @property
    def picture(self) -> list[str]:
        """The lines of the newest whole picture."""
        last = self.read().rpartition("\x1b[J")[0].rpartition(HOME)[2]
        return COLOURS.sub("", last).replace("\r", "").split("\n")

    def shows(self, pattern: str, *, seconds: float = 30) -> bool:
        """Whether a line of the picture comes to match."""
        deadline = time.monotonic() + seconds
        while not any(re.search(pattern, line) for line in self.picture):
            if time.monotonic() > deadline or self.process.poll() is not None:
                return False
            time.sleep(0.05)
        return True

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.read()
        os.close(self._master)


@contextmanager
def terminal(folder: Path, *words: str, columns: int = 80, lines: int = 24, term: str = "xterm") -> Iterator[Terminal]:
    opened = Terminal(folder, words, columns=columns, lines=lines, term=term)
    try:
        yield opened
    finally:
        opened.close()


WATCH = ("status", "--watch", "--interval", "0.2")


def test_it_is_drawn_in_place_and_the_terminal_is_as_it_was_afterwards(stocked: Miroir, tmp_path: Path) -> None:
    with terminal(tmp_path, *WATCH) as seen:
        assert seen.shows(r"^cluster `test`, epoch \d+: 3 of 3 nodes up"), seen.picture
        assert seen.shows(r"^n1 +up +0 +\d+ +0 +4  now$"), seen.picture
        assert seen.shows("^books: 60 documents, 6 shards, 12 in sync$"), seen.picture
        assert seen.shows(r"^n2  [#.]{6}$")
        time.sleep(1)
        assert seen.read().count(ENTER) == 1 and LEAVE not in seen.written
        assert "\x1b[2J" not in seen.written, "cleared screens flicker"
        assert seen.written.count(HOME) > 3
        seen.process.send_signal(signal.SIGINT)
        assert seen.process.wait(timeout=20) == 130
        assert seen.read().count(LEAVE) == 1
        assert seen.written.partition(LEAVE)[2].strip() == "\x1b[1;31merror:\x1b[0m interrupted"


def test_it_is_drawn_anew_when_the_terminal_is_resized(stocked: Miroir, tmp_path: Path) -> None:
    with terminal(tmp_path, "status", "--watch", "--interval", "60", columns=120, lines=40) as seen:
        assert seen.shows(r"^cluster `test`"), seen.picture
        seen.resize(44, 12)
        deadline = time.monotonic() + 20
        while max(map(len, seen.picture)) > 44:
            assert time.monotonic() < deadline, seen.picture
            time.sleep(0.05)
        assert len(seen.picture) <= 12


def test_a_node_that_goes_a_run_and_a_new_node_are_seen(
    stocked: Miroir, engines: list[Engine], spare: Engine, tmp_path: Path
) -> None:
    with terminal(tmp_path, *WATCH, columns=120, lines=40) as seen:
        assert seen.shows(r"^n2 +up +0 +\d+ +0 +4  now$"), seen.picture
        engines[1].stop()
        assert seen.shows(r"^n2 +down +0 +\d+ +0 +4  (now|\d+ s ago)$"), "its last figures stay"
        assert seen.shows(r"^! node `n2` cannot be reached")
        assert seen.shows(r"^n2  .*\?"), seen.picture
        engines[1].start()
        assert seen.shows(r"^n2  [#.]{6}$")
        words = ["node", "add", f"n4={spare.url}", "--yes", "--rate", "1"]
        adding = subprocess.Popen(
            [sys.executable, "-m", "miroir_cli", *words],
            cwd=tmp_path,
            env=clean_environment(HOME=os.fspath(tmp_path)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with adding:
            assert seen.shows(r"^run 1: add node n4  \[[-#]{20}\] +\d+%  \d+ of \d+"), seen.picture
            assert seen.shows(r"^n4 +up +"), "the topology file was read again"
            assert seen.shows(r"^n4  .*>"), seen.picture
            assert seen.shows(r"> joining")
            adding.send_signal(signal.SIGKILL)
        assert seen.shows(r"^run 1: add node n4 .*%  interrupted, ")


@pytest.mark.parametrize("term", ["dumb"])
def test_a_terminal_that_cannot_be_drawn_on_gets_one_status_after_the_other(
    stocked: Miroir, tmp_path: Path, term: str
) -> None:
    with terminal(tmp_path, *WATCH, term=term) as seen:
        deadline = time.monotonic() + 30
        while seen.read().count("cluster `test`") < 2:
            assert time.monotonic() < deadline, seen.picture
            time.sleep(0.05)
        assert "\x1b" not in seen.written


def test_off_a_terminal_it_prints_one_status_after_the_other(stocked: Miroir, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "miroir_cli", *WATCH, "--map"],
        cwd=tmp_path,
        env=clean_environment(HOME=os.fspath(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip("\n") for _ in range(35)]
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 143
    assert sum(line.startswith("cluster `test`, epoch") for line in lines) >= 2
    assert "# in sync" in lines and not any("\x1b" in line for line in lines)


def test_the_map_is_printed_with_the_status(stocked: Miroir, engines: list[Engine], tmp_path: Path) -> None:
    assert "# in sync" not in stocked("status").out
    found = stocked("status", "--map").out
    grid = found[found.index("books: 60 documents, 6 shards, 12 in sync\n") :].splitlines()
    assert grid[1] == "    0"
    assert sum(line.count("#") for line in grid[2:5]) == 12
    assert grid[6] == "# in sync"
    engines[0].stop()
    away = stocked("status", "--map", env={"COLUMNS": "40"}).out
    assert "? its node does not answer" in away
    assert "placement" not in stocked("status", "--map", "--json").out


def test_a_file_that_is_being_edited_does_not_end_it(stocked: Miroir, tmp_path: Path) -> None:
    with terminal(tmp_path, *WATCH) as seen:
        assert seen.shows(r"^cluster `test`"), seen.picture
        edit(tmp_path, "[cluster]", "[cluster")
        time.sleep(0.6)
        before = seen.read().count(HOME)
        time.sleep(0.6)
        assert seen.process.poll() is None and seen.read().count(HOME) > before
        edit(tmp_path, '[cluster\nname = "test"', '[cluster]\nname = "test"')
        time.sleep(0.6)
        assert seen.process.poll() is None
