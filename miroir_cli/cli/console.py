"""How commands run and speak: the one event loop, results, talk, questions, errors, signals, exit statuses.

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
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

import typer

from miroir_cli.cli.failure import BROKEN_PIPE, as_miroir_error, render_error
from miroir_cli.errors import Interrupted, MiroirError, UsageError

if TYPE_CHECKING:
    from miroir_cli.cli.progress import Progress
    from miroir_cli.cli.table import Cell, Column
    from miroir_cli.cluster import Cluster, Site
    from miroir_cli.topology.file import Topology

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The global options, wherever on the command line they stood."""

    topology: Path | None = None
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    no_color: bool = False

    @classmethod
    def guess(cls, words: Sequence[str]) -> Options:
        """What can be told before the command line is understood, so that its errors have the right shape."""
        before_end = words[: words.index("--")] if "--" in words else words
        return cls(
            json="--json" in before_end or _truth(os.environ.get("MIROIR_JSON")),
            no_color="--no-color" in before_end or _truth(os.environ.get("MIROIR_NO_COLOR")),
        )


class Console:
    """One command's standard streams and global options; `command` is the line as it was typed."""

    def __init__(self, options: Options, *, command: str = "miroir") -> None:
        self.options = options
        self.command = command
        self._answered = False

    @property
    def options(self) -> Options:
        return self._options

    @options.setter
    def options(self, options: Options) -> None:
        self._options = options
        if options.no_color:
            os.environ["NO_COLOR"] = "1"
        if options.verbose:
            _log_to_stderr(options.verbose)

    def set_option(self, name: str, value: object) -> None:
        """Replace one global option by name (it stood after the command's name)."""
        self.options = replace(self._options, **{name: value})  # type: ignore[arg-type]

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

    def show(self, value: object, render: Callable[[], object]) -> None:
        """The command's result: `value` as the JSON document with `--json`, else what `render` prints."""
        if self.json:
            self.document(value)
        else:
            render()

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

    def print(self, text: str = "") -> None:
        """Print a line for people on standard output (nothing with `--json`)."""
        if not self.json:
            sys.stdout.write(f"{text}\n")

    def painted(self, text: str, style: str) -> str:
        """`text` in an ANSI style when standard output is a terminal that wants colours."""
        return _paint(text, style, stream=sys.stdout)

    def print_json(self, value: object) -> None:
        """Print a value as indented JSON (nothing with `--json`, which prints its own document)."""
        import msgspec

        self.print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())

    def table(
        self, columns: Sequence[Column | str], rows: Iterable[Sequence[Cell]], *, title: str | None = None
    ) -> None:
        """Print a table on standard output (nothing with `--json`); fits a terminal, is whole in a pipe."""
        from miroir_cli.cli.table import print_table

        if not self.json:
            print_table(columns, rows, title=title)

    def clear(self) -> None:
        """Begin at the top of a terminal; elsewhere what comes follows what was."""
        if sys.stdout.isatty():
            sys.stdout.write("\x1b[H\x1b[2J")

    # Talk, on standard error

    def say(self, text: str) -> None:
        """Tell what happens (nothing with `-q`)."""
        if not self._options.quiet:
            _to_stderr(text)

    def detail(self, text: str) -> None:
        """Tell what only `-v` wants to know."""
        if self._options.verbose and not self._options.quiet:
            _to_stderr(text)

    def warn(self, text: str) -> None:
        """Tell what went otherwise than the person may think (also with `-q`)."""
        _to_stderr(f"{_paint('warning:', '1;33')} {text}")

    def progress(self) -> Progress:
        """A context manager that shows how far something is: bars on a terminal, lines elsewhere."""
        from miroir_cli.cli.progress import start_progress

        return start_progress(quiet=self._options.quiet)

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

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something that cannot be undone; any other answer than yes ends the command."""
        if yes:
            return
        if not self.interactive:
            raise UsageError(f"{question} Nobody to ask (no terminal)", hint="say so with `--yes`")
        if self._read_line(f"{question} [y/N] ").lower() not in ("y", "yes"):
            raise Interrupted("stopped, nothing was changed")

    def _read_line(self, question: str) -> str:
        sys.stdout.flush()
        sys.stderr.write(question)
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
            raise UsageError(f"cannot read `{source}`: {(error.strerror or str(error)).lower()}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"`{source}` is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise UsageError(f"`{source}` is not a JSON object", hint='it has to look like {"key": value}')
        return found

    @asynccontextmanager
    async def cluster(self) -> AsyncIterator[Cluster]:
        """The cluster of the topology file that the global options name, open."""
        from miroir_cli.cluster import open_cluster

        async with open_cluster(self.topology(), command=self.command) as cluster:
            yield cluster

    def topology(self) -> Topology:
        """The topology file that the global options name, read. Raises `TopologyInvalid`."""
        from miroir_cli.topology.file import find_topology, load_topology

        return load_topology(find_topology(self._options.topology, os.environ))

    @asynccontextmanager
    async def site(self) -> AsyncIterator[Site]:
        """The same without the state store, for a command that makes a new one."""
        from miroir_cli.cluster import open_site

        async with open_site(self.topology()) as site:
            yield site

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

    console: Console = ctx.obj
    return asyncio.run(_interruptible(command(console), when_interrupted))


async def _interruptible(work: Coroutine[Any, Any, Result], hint: str | None) -> Result:
    import asyncio
    import signal

    received: list[int] = []
    task = asyncio.ensure_future(work)

    def stop(number: int) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except BaseException as error:
        if not received:
            raise
        known = as_miroir_error(error) if isinstance(error, Exception) else None
        if known is not None and known.exit_status not in (1, 130):
            raise known from error
        _interrupted(known, received[0], hint, error)


def _interrupted(known: MiroirError | None, number: int, hint: str | None, cause: BaseException) -> NoReturn:
    if isinstance(known, Interrupted):
        raise Interrupted(known.message, signal_number=number, hint=known.hint or hint) from cause
    raise Interrupted("interrupted", signal_number=number, hint=hint) from cause


def finish(console: Console, invoke: Callable[[], object]) -> int:
    """Run a parsed command line, say what went wrong, and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        outcome = invoke()
        sys.stdout.flush()
        if outcome == 130:  # typer's own translation of ctrl-C outside of the event loop
            raise Interrupted("interrupted")
        return outcome if isinstance(outcome, int) else 0
    except BrokenPipeError:
        _silence(sys.stdout)
        return BROKEN_PIPE
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help itself, of a group without a command's name
            _to_stderr(str(error))
            return UsageError.exit_status
        return _fail(console, as_miroir_error(error))


def _fail(console: Console, error: MiroirError) -> int:
    try:
        with suppress(OSError):
            sys.stdout.flush()
        if console.options.verbose > 1:
            import traceback

            traceback.print_exception(error)
        _to_stderr(render_error(error, paint=_paint))
        if console.json and not console.answered:
            console.document({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
    except OSError:
        _silence(sys.stdout)
        _silence(sys.stderr)
    return 128 + error.signal_number if isinstance(error, Interrupted) else error.exit_status


def _to_stderr(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _paint(text: str, style: str, *, stream: TextIO | None = None) -> str:
    """`text` in an ANSI style when the stream (standard error) is a terminal that wants colours."""
    if not (stream or sys.stderr).isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{style}m{text}\x1b[0m"


def _silence(stream: TextIO) -> None:
    """Point a stream whose reader is gone to nowhere, so that the last flush does not complain."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _log_to_stderr(verbose: int) -> None:
    import logging

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger().setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
    logging.getLogger("httpx").setLevel(logging.DEBUG if verbose > 1 else logging.WARNING)  # a line for each request


def _truth(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true", "t", "yes", "y", "on")


def pairs(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Rows of a two-column table from a mapping."""
    return [(name, str(value)) for name, value in values.items()]
