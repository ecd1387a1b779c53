"""The stage of the demo: real `miroir` commands, typed and run in a directory of their own that is gone afterwards."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from miroir_cli.dev.engines import BINARY_VARIABLE, PACKAGE_ROOT
from miroir_cli.dev.nodes import down
from miroir_cli.errors import Interrupted, MiroirError

TYPING: Final = 0.6
"""Seconds that typing a command takes at most, however long it is."""
KEYSTROKE: Final = 0.02
PATIENCE: Final = 20.0
"""Seconds that an interrupted command gets to clear up before it is killed."""
WIDEST: Final = 88
BOLD, DIM, PLAIN_TEXT = "1", "2", ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the demo plays."""

    directory: Path
    out: TextIO
    environ: Mapping[str, str]
    plain: bool

    @property
    def topology(self) -> Path:
        return self.directory / "miroir.toml"

    @property
    def animated(self) -> bool:
        """Whether commands are typed letter by letter."""
        return not self.plain and self.out.isatty()

    def tell(self, text: str, *, style: str = BOLD) -> None:
        """A paragraph for the person who watches, after an empty line."""
        self.out.write("\n")
        for line in textwrap.wrap(text, width=self._width()):
            self.out.write(f"{self._paint(line, style)}\n")
        self.out.flush()

    async def run(self, *words: str, statuses: tuple[int, ...] = (0,)) -> None:
        """Type a `miroir` command and let it run in sight. Raises MiroirError for another exit status."""
        await self.type(shlex.join(["miroir", *words]))
        relayed = asyncio.subprocess.PIPE if self.plain else None
        process = await self._start(
            words, stdout=relayed or self.out.fileno(), stderr=asyncio.subprocess.STDOUT if relayed else None
        )
        async with _ended(process):
            while process.stdout is not None and (line := await process.stdout.readline()):
                self.out.write(line.decode(errors="replace"))
                self.out.flush()
        _expect(process, words, statuses)

    async def ask(self, *words: str) -> Any:
        """Run a `miroir` command out of sight and return its JSON document. Raises MiroirError when it fails."""
        process = await self._start([*words, "--json"], stdout=asyncio.subprocess.PIPE)
        async with _ended(process):
            output, _ = await process.communicate()
        _expect(process, words, (0,))
        return msgspec.json.decode(output)

    async def type(self, line: str) -> None:
        """Show a command line as if somebody typed it."""
        self.out.write(f"\n{self._paint('$', DIM)} ")
        pause = min(KEYSTROKE, TYPING / len(line)) if self.animated else 0
        for part in broken(line, self._width() - 2) if self.out.isatty() else [line]:
            for letter in part:
                self.out.write(letter)
                self.out.flush()
                if pause:
                    await asyncio.sleep(pause)
        self.out.write("\n")
        self.out.flush()

    async def _start(
        self, words: Sequence[str], *, stdout: int, stderr: int | None = None
    ) -> asyncio.subprocess.Process:
        """In a process group of its own: a Ctrl-C of the terminal is the demo's to handle."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "miroir_cli", *words),
            cwd=self.directory,
            env=self.environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            process_group=0,
        )

    def _width(self) -> int:
        return min(shutil.get_terminal_size().columns, WIDEST)

    def _paint(self, text: str, style: str) -> str:
        if self.plain or not style or not self.out.isatty() or self.environ.get("NO_COLOR"):
            return text
        return f"\x1b[{style}m{text}\x1b[0m"


@asynccontextmanager
async def stage(*, keep: bool, plain: bool, out: TextIO, environ: Mapping[str, str]) -> AsyncIterator[Stage]:
    """A new directory to play in. In the end its nodes are stopped and it is removed, unless it is to be kept:
    after an error, Ctrl-C, SIGTERM or a closed terminal as well, which raise Interrupted."""
    with _stoppable():
        directory = Path(tempfile.mkdtemp(prefix="miroir-demo-"))
        played = Stage(directory=directory, out=out, environ=_environ(environ, plain=plain), plain=plain)
        try:
            yield played
        finally:
            if not keep:
                try:
                    await down(played.topology)
                finally:
                    await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a cancellation, that into Interrupted; ignores later ones."""
    received: list[int] = []
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def stop(number: int) -> None:
        if not received:
            received.append(number)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    except asyncio.CancelledError:
        if not received:
            raise
        raise Interrupted("the demo was interrupted", signal_number=received[0]) from None


@asynccontextmanager
async def _ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """Waits for a command's end; when the demo is interrupted it gets time to clear up (`dev up` stops nodes)."""
    try:
        yield
        await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), PATIENCE)
            except TimeoutError:
                process.kill()
                await process.wait()


def _expect(process: asyncio.subprocess.Process, words: Sequence[str], statuses: tuple[int, ...]) -> None:
    if process.returncode not in statuses:
        raise MiroirError(f"`{shlex.join(['miroir', *words])}` ended with exit status {process.returncode}")


def _environ(environ: Mapping[str, str], *, plain: bool) -> dict[str, str]:
    """What the commands get: nothing that leads them to another cluster or changes what they print."""
    kept = {name: value for name, value in environ.items() if name == BINARY_VARIABLE or not name.startswith("MIROIR_")}
    roots = [str(PACKAGE_ROOT), *filter(None, [environ.get("PYTHONPATH")])]
    kept["PYTHONPATH"] = os.pathsep.join(roots)
    if plain:
        kept |= {"NO_COLOR": "1", "COLUMNS": str(shutil.get_terminal_size().columns)}
    return kept


def broken(line: str, width: int) -> list[str]:
    """A command line in parts that fit into `width`, continued as the shell wants it.

    Words stay whole, and an option on the line of its value; a part that is too long by itself stays so.
    """
    groups: list[str] = []
    for word in shlex.split(line):
        if groups and groups[-1].startswith("--") and " " not in groups[-1] and not word.startswith("--"):
            groups[-1] += f" {shlex.quote(word)}"
        else:
            groups.append(shlex.quote(word))
    parts = groups[:1]
    for group in groups[1:]:
        if len(parts[-1]) + len(group) + 3 > width:
            parts[-1] += " \\\n"
            parts.append(f"    {group}")
        else:
            parts[-1] += f" {group}"
    return parts
