"""Record docs/pictures/*.svg: commands as a terminal shows them, on local nodes that are started for it.

    python docs/pictures.py [NAME...]

The nodes listen at the ports from 7701 on, in a folder that is gone afterwards. Times and rates are those of the day:
the pictures are not compared by any check.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from docs.picture import draw  # noqa: E402

FOLDER: Final = ROOT / "docs" / "pictures"
COLUMNS: Final = 92
LINES: Final = 26
BOOKS: Final = 60_000
WORDS: Final = (
    "night winter left hand darkness river glass city summer light stone garden paper north sea house".split()
)

HOME: Final = "\x1b[H"
REST_OF_SCREEN: Final = "\x1b[J"
MOVES: Final = re.compile(r"\x1b\[[0-9;?]*[A-HJKhl]")
"""What moves the cursor or clears: not for a still picture."""

BACK: Final = re.compile(r"(?:\r?\x1b\[2K(?:\x1b\[1A)?)+")
"""What a display of bars begins its next frame with."""


class Played:
    """A command on a terminal of its own, and what it has written there."""

    def __init__(self, line: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            line, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        os.set_blocking(self._master, False)
        self._written = b""

    def read(self) -> str:
        """All that was written until now."""
        try:
            while part := os.read(self._master, 100_000):
                self._written += part
        except OSError:  # nothing there now, or the other end is closed
            pass
        return self._written.decode(errors="ignore")

    def to_its_end(self) -> str:
        while self._process.poll() is None:
            self.read()
            time.sleep(0.05)
        return self.read()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()
        os.close(self._master)


class Scene:
    """A folder with a topology file, in which commands are played."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *words: str) -> None:
        """A command that is not shown."""
        subprocess.run(self._line(words), cwd=self.folder, env=self._environment(), check=True, capture_output=True)

    def shown(self, *words: str) -> str:
        """A command and all that it prints."""
        with self.playing(*words) as played:
            return prompt(words) + plain(played.to_its_end())

    @contextmanager
    def playing(self, *words: str, **more: str) -> Iterator[Played]:
        """A command on a terminal of its own; it is stopped in the end."""
        played = Played(self._line(words), self.folder, {**self._environment(), **more})
        try:
            yield played
        finally:
            played.close()

    @contextmanager
    def meanwhile(self, *words: str) -> Iterator[None]:
        """A command that goes on beside what is recorded, and is seen to its end afterwards."""
        process = subprocess.Popen(
            self._line(words),
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.wait()

    def _line(self, words: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "miroir_cli", *words]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MIROIR_", "NO_COLOR"))}
        return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "HOME": str(self.folder)}


def prompt(words: Sequence[str]) -> str:
    return f"$ miroir {' '.join(words)}\n"


def plain(written: str) -> str:
    """What was written, with colours alone."""
    return MOVES.sub("", written).replace("\r", "")


def pictures_of(written: str) -> list[str]:
    """The whole pictures of a display that is drawn in place."""
    return [plain(part) for part in written.split(HOME)[1:] if REST_OF_SCREEN in part]


def write_books(path: Path) -> None:
    chance = random.Random(7)
    with path.open("w") as file:
        for number in range(BOOKS):
            title = " ".join(chance.choices(WORDS, k=4)).capitalize()
            file.write(json.dumps({"id": number, "title": title, "year": 1900 + chance.randrange(120)}) + "\n")


# the scenes, in the order in which they are played


def importing(scene: Scene) -> str:
    """The bars of an import when more than half of it is done, and what it says in the end."""
    scene.run("index", "create", "books", "--primary-key", "id", "--shards", "24")
    words = ("import", "books", "books.ndjson")
    with scene.playing(*words, MIROIR_IMPORT_BATCH_BYTES="200000") as played:  # as in an import of many minutes
        written = played.to_its_end()
    frames = [plain(frame).rstrip() for frame in BACK.split(written) if "indexed" in frame]
    result = plain(BACK.split(written)[-1]).strip()
    return f"{prompt(words)}{frames[len(frames) * 2 // 3]}\n\n{result}\n"


def status(scene: Scene) -> str:
    return scene.shown("status", "--map")


def plan(scene: Scene) -> str:
    """What a fourth node would take, which the file names already."""
    file = scene.folder / "miroir.toml"
    before = file.read_text()
    file.write_text(f'{before}\n[[nodes]]\nname = "n4"\nurl = "http://127.0.0.1:7704"\n')
    shown = scene.shown("rebalance", "plan")
    file.write_text(before)
    return shown


def watching(scene: Scene) -> str:
    """The live picture in the middle of `node add`."""
    adding = ("node", "add", "n4=http://127.0.0.1:7704", "--yes", "--rate", "2500")
    words = ("status", "--watch", "--interval", "0.5")
    with scene.meanwhile(*adding), scene.playing(*words) as played:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.2)
            seen = pictures_of(played.read())
            if seen and re.search(r"\] +[45]\d%", seen[-1]):
                return prompt(("status", "--watch")) + seen[-1]
    raise SystemExit("the run was not seen half done")


def doctor(scene: Scene) -> str:
    """Two nodes are up, one is gone and has missed writes."""
    nodes = json.loads(
        subprocess.run(
            [sys.executable, "-m", "miroir_cli", "dev", "status", "--json"],
            cwd=scene.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        ).stdout
    )["nodes"]
    pid = next(node["pid"] for node in nodes if node["name"] == "n2")
    os.kill(pid, 15)
    (scene.folder / "more.ndjson").write_text('{"id": 1, "title": "Left hand of winter"}\n')
    scene.run("import", "books", "more.ndjson", "--retry-for", "1")
    return scene.shown("doctor")


SCENES: Final[dict[str, Callable[[Scene], str]]] = {
    "import": importing,
    "status": status,
    "rebalance-plan": plan,
    "status-watch": watching,
    "doctor": doctor,
}


def main(wanted: Sequence[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        scene = Scene(Path(name))
        write_books(scene.folder / "books.ndjson")
        scene.run("dev", "up", "--nodes", "3", "--engine", "embedded")
        try:
            scene.run("dev", "up", "--nodes", "4", "--engine", "embedded")
            for title, play in SCENES.items():
                shown = play(scene)
                if not wanted or title in wanted:
                    drawn = draw(shown.rstrip("\n"), title="miroir", width=COLUMNS, name=title)
                    (FOLDER / f"{title}.svg").write_text(drawn)
        finally:
            scene.run("dev", "down")


if __name__ == "__main__":
    main(sys.argv[1:])
