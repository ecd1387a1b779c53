"""How commands run and speak: the one event loop, results, talk, questions. Their ends: `ending.py`.

Results go to standard output, everything else to standard error. With `--json` standard output holds exactly
one JSON document: the result, or `{"error": {"code", "message", "hint"}}` when there is none.

A command is a short function that hands an async function to `run`:

    @app.command()
    def locate(ctx: typer.Context, index: ..., document: ...) -> None:
        \"\"\"Say on which nodes a document lives.\"\"\"

        async def command(console: Console) -> None:
            from miroir_cli.documents.read import locate_document

            async with console.cluster() as cluster:
                found = await locate_document(cluster, index, document)
            console.show(found, lambda: console.table(["shard", "node"], found.rows()))

        run(ctx, command)
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from miroir_cli.cli.failure import harmless, one_line
from miroir_cli.cli.global_options import Options, ProgressForm
from miroir_cli.cli.interruption import interruptible
from miroir_cli.cli.prose import terminal_width, wrapped
from miroir_cli.cli.streams import log_to_stderr, paint, to_stderr
from miroir_cli.errors import FILE_HINT, Interrupted, UsageError

if TYPE_CHECKING:
    from miroir_cli.cli.progress import Progress
    from miroir_cli.cli.record import Recorder
    from miroir_cli.cli.table import Cell, Column
    from miroir_cli.cli.textfile import Job
    from miroir_cli.cluster import Cluster, Site
    from miroir_cli.topology.file import Topology

Result = TypeVar("Result")

LONGEST_COMMAND = 200
"""Characters of a command line that runs and locks keep to say who it was."""

LONGEST_LINE = 4_000
"""Characters of it that the journal keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """A command that is the natural next step, and what it is for: `miroir repair`, `to bring them up to date`.

    Words in capitals stand for what the person knows.
    """

    command: str
    purpose: str


class Console:
    """One command's standard streams and global options; `typed` are the words of its line, `words` is the command's
    name in it, such as `rebalance run`."""

    def __init__(self, options: Options, *, typed: Sequence[str] = ()) -> None:
        self.options = options
        self._typed = tuple(typed)
        self.words = ""
        self._answered = False
        self._next: tuple[Next, ...] = ()
        self._aside = False
        self._recorder: Recorder | None = None
        self._tells = False
        self._muted = False
        self.job: Job | None = None

    @property
    def options(self) -> Options:
        return self._options

    @options.setter
    def options(self, options: Options) -> None:
        self._options = options
        if options.no_color:
            os.environ["NO_COLOR"] = "1"
        if options.verbose:
            log_to_stderr(options.verbose)

    def set_option(self, name: str, value: object) -> None:
        """Replace one global option by name (it stood after the command's name)."""
        if name == "progress":
            value = ProgressForm(str(value))
        self.options = replace(self._options, **{name: value})  # type: ignore[arg-type]

    @cached_property
    def line(self) -> str:
        """The command line as it was typed, without secrets."""
        from miroir_cli.secrecy import command_line, secrets_of

        return command_line(["miroir", *self._typed], known=secrets_of(os.environ))[:LONGEST_LINE]

    @property
    def command(self) -> str:
        """As much of it as runs and locks keep to say who it was."""
        return self.line[:LONGEST_COMMAND]

    @property
    def json(self) -> bool:
        return self._options.json

    @property
    def answered(self) -> bool:
        """Whether the JSON document of this command was printed already."""
        return self._answered

    @property
    def interactive(self) -> bool:
        """Whether somebody can answer a question: standard input and standard error are terminals."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    # Results, on standard output

    def show(self, value: object, render: Callable[[], object], *, next: Sequence[Next] = ()) -> None:
        """The command's result: `value` as the JSON document with `--json`, else what `render` prints.

        `next` are the steps to take then: the document has their commands under that name, people are told when the
        command has ended and no error's hint says more.
        """
        self._next = tuple(next)
        if self.job is not None:
            self.job.result = value
        if not self.json:
            with self._telling(muted=False):
                render()
            return
        self.document(with_next(value, next))
        if self._recorder is not None:
            with self._telling(muted=True):
                render()  # its first line goes into the journal

    @contextmanager
    def _telling(self, *, muted: bool) -> Iterator[None]:
        before = self._tells, self._muted
        self._tells, self._muted = True, muted
        try:
            yield
        finally:
            self._tells, self._muted = before

    def document(self, value: object) -> None:
        """Print the command's one JSON document: dataclasses, mappings and msgspec's other types."""
        import msgspec

        encoded = msgspec.json.encode(value)
        if sys.stdout.isatty():
            encoded = msgspec.json.format(encoded, indent=2)
        self._answered = True
        self._write_bytes(encoded + b"\n")

    def event(self, value: object) -> None:
        """Print one line of a JSON Lines stream, at once."""
        import msgspec

        self._answered = True
        self._write_bytes(msgspec.json.encode(value) + b"\n")

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is printed inside is no result: it goes to standard error, also with `--json`."""
        before, self._aside = self._aside, True
        try:
            with redirect_stdout(sys.stderr):
                yield
        finally:
            self._aside = before

    def print(self, text: str = "") -> None:
        """Print a sentence for people on standard output, broken between words (nothing with `--json`)."""
        if self._tells and not self._aside and self._recorder is not None:
            self._recorder.result = self._recorder.result or text.strip() or None
        self.print_verbatim(wrapped(harmless(text), terminal_width()))

    def print_verbatim(self, text: str) -> None:
        """Print a text as it is on standard output (nothing with `--json`)."""
        if not self._muted and (self._aside or not self.json):
            sys.stdout.write(f"{text}\n")

    def painted(self, text: str, style: str) -> str:
        """`text` in an ANSI style when standard output is a terminal that wants colours."""
        return paint(text, style, stream=sys.stdout)

    def print_json(self, value: object) -> None:
        """Print a value as indented JSON (nothing with `--json`, which prints its own document)."""
        import msgspec

        self.print_verbatim(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())

    def table(
        self,
        columns: Sequence[Column | str],
        rows: Iterable[Sequence[Cell]],
        *,
        title: str | None = None,
        told: bool = True,
    ) -> list[str]:
        """Print a table on standard output (nothing with `--json`); fits a terminal, is whole in a pipe.

        Returns the names of columns that had no room; they are `told` below the table.
        """
        from miroir_cli.cli.table import print_table

        shown = not self._muted and (self._aside or not self.json)
        return print_table(columns, rows, title=title, told=told) if shown else []

    def clear(self) -> None:
        """Begin at the top of a terminal; elsewhere what comes follows what was."""
        if sys.stdout.isatty():
            sys.stdout.write("\x1b[H\x1b[2J")

    # Talk, on standard error

    def say(self, text: str) -> None:
        """Tell what happens (nothing with `-q`)."""
        if not self._options.quiet and not self._muted:
            to_stderr(wrapped(harmless(text), terminal_width(sys.stderr)))

    def detail(self, text: str) -> None:
        """Tell what only `-v` wants to know."""
        if self._options.verbose and not self._options.quiet and not self._muted:
            to_stderr(wrapped(harmless(text), terminal_width(sys.stderr)))

    def tell_next(self) -> None:
        """Say which steps are natural now (nothing with `-q`, nor with `--json`, whose document has them)."""
        if not self.json:
            for step in self._next:
                self.say(f"{paint('hint:', '1;36')} run `{step.command}` {step.purpose}")

    def warn(self, text: str) -> None:
        """Tell what went otherwise than the person may think (also with `-q`)."""
        if not self._muted:
            to_stderr(wrapped(f"{paint('warning:', '1;33')} {one_line(text)}", terminal_width(sys.stderr)))

    def progress(self) -> Progress:
        """A context manager that shows how far something is, in the form that `--progress` asks for."""
        from miroir_cli.cli.progress import start_progress

        return start_progress(self._options.progress, quiet=self._options.quiet, command=self.words)

    # Questions, on a terminal only

    def ask(self, question: str, *, default: str | None = None, option: str) -> str:
        """Ask for a line. Off a terminal an error names the `option` that says it instead."""
        if not self.interactive:
            if default is not None:
                return default
            raise UsageError(f"{question}: not given, and nobody to ask (no terminal)", hint=f"use `{option}`")
        while not (answer := self._read_line(f"{question} [{default}]: " if default else f"{question}: ")):
            if default is not None:
                return default
        return answer

    def asks(self, *, yes: bool) -> bool:
        """Whether a question would be put: nobody has said `--yes`, and somebody can answer."""
        return not yes and self.interactive

    def confirm(self, question: str, *, yes: bool, always: bool = True) -> None:
        """Ask before something that can lose data or take long; any other answer than yes ends the command.

        Off a terminal that is an error naming `--yes`, or, unless the command does `always` ask, the command goes on.
        `agree` in `cli/consent.py` shows the cluster and the plan first.
        """
        if self._must_ask(question, yes=yes, always=always):
            answer = self._read_line(f"{question} [y/N] ")
            if answer.lower() not in ("y", "yes"):
                raise Interrupted("stopped, nothing was changed")

    def confirm_name(self, question: str, name: str, *, yes: bool) -> None:
        """Ask before something that is lost for good: the name of it has to be typed. Off a terminal as `confirm`."""
        if self._must_ask(question, yes=yes, always=True):
            answer = self._read_line(f"{question} Type `{name}` to go on: ")
            if answer != name:
                raise Interrupted("stopped, nothing was changed: that is not its name")

    def _must_ask(self, question: str, *, yes: bool, always: bool) -> bool:
        if yes:
            return False
        if not self.interactive:
            if always:
                raise UsageError(f"{question} Nobody to ask (no terminal)", hint="say so with `--yes`")
            return False
        return True

    def _read_line(self, question: str) -> str:
        sys.stdout.flush()
        sys.stderr.write(harmless(question))
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            sys.stderr.write("\n")
            raise Interrupted("stopped, nothing was changed")
        return line.strip()

    # What commands are given

    def read_json(self, source: str) -> dict[str, Any]:
        """The JSON object in a file, or on standard input for `-`. Raises `UsageError` naming what is wrong where."""
        import msgspec

        try:
            content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
            found = msgspec.json.decode(content)
        except OSError as error:
            raise UsageError(
                f"cannot read `{source}`: {(error.strerror or str(error)).lower()}", hint=FILE_HINT
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"`{source}` is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise UsageError(f"`{source}` is not a JSON object", hint='it has to look like {"key": value}')
        return found

    @asynccontextmanager
    async def cluster(self) -> AsyncIterator[Cluster]:
        """The cluster of the topology file that the global options name, open; a command that changes something is in
        the journal from then on."""
        from miroir_cli.cluster import open_cluster

        rotation = os.getpid()  # commands that run one after the other ask all replicas in turn
        opening = open_cluster(self.topology(), command=self.command, rotation=rotation)
        if self._recorder is None:
            async with opening as cluster:
                yield cluster
        else:
            yield await self._recorder.open(opening)

    def topology(self) -> Topology:
        """The topology file that the global options name, read. Raises `TopologyInvalid`."""
        from miroir_cli.topology.file import find_topology, load_topology

        found = load_topology(find_topology(self._options.topology, os.environ))
        if self.job is not None:
            self.job.cluster = found.cluster.name
        return found

    @asynccontextmanager
    async def site(self) -> AsyncIterator[Site]:
        """The same without the state store, for a command that makes a new one."""
        from miroir_cli.cluster import open_site

        async with open_site(self.topology()) as site:
            if self._recorder is not None:
                self._recorder.describe(site.topology)
            yield site

    def keep_record(self) -> None:
        """Let the command be in the journal once it opens the cluster."""
        from miroir_cli.cli.record import Recorder

        self._recorder = Recorder(words=self.words, line=self.line)

    async def end_record(self, error: BaseException | None) -> None:
        """Say in the journal how the command ended."""
        if self._recorder is not None:
            await self._recorder.end(error)
            if error is None and self._recorder.trouble is not None:
                self.warn(f"this command is not in the journal: {self._recorder.trouble}")

    def _write_bytes(self, line: bytes) -> None:
        sys.stdout.flush()
        buffer = getattr(sys.stdout, "buffer", None)
        if buffer is None:
            sys.stdout.write(line.decode())
        else:
            buffer.write(line)
        sys.stdout.flush()


Command = Callable[[Console], Coroutine[Any, Any, Result]]


def run(ctx: typer.Context, command: Command[Result], *, when_interrupted: str | None = None) -> Result:
    """Run a command's async function to its end; ctrl-C and SIGTERM cancel it and wait for its clean-up.

    `when_interrupted` is the hint of the error that an interruption becomes, such as how to go on. A second
    signal ends the process at once (the journal allows that).
    """
    import asyncio

    from miroir_cli.cli.caution import is_kept

    console: Console = ctx.obj
    console.words = ctx.command_path.partition(" ")[2]
    if is_kept(console.words, ctx.params):
        console.keep_record()
    if ctx.params.get("metrics_file") is not None:
        from miroir_cli.cli.textfile import begin_job

        console.job = begin_job(ctx)
    return asyncio.run(_recorded(console, interruptible(command(console), when_interrupted)))


async def _recorded(console: Console, work: Coroutine[Any, Any, Result]) -> Result:
    try:
        result = await work
    except BaseException as error:
        await console.end_record(error)
        raise
    await console.end_record(None)
    return result


def with_next(value: object, next: Sequence[Next]) -> object:
    """A document with the commands of the next steps, when there are any."""
    if not next:
        return value
    import msgspec

    return {**msgspec.to_builtins(value), "next": [step.command for step in next]}
