"""The end of a command line: what went wrong, said once, and the exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from miroir_cli.cli.failure import BROKEN_PIPE, as_miroir_error, render_error
from miroir_cli.cli.prose import terminal_width, wrapped
from miroir_cli.cli.streams import paint, silence, to_stderr
from miroir_cli.errors import Interrupted, MiroirError, UsageError

if TYPE_CHECKING:
    from miroir_cli.cli.console import Console


def finish(console: Console, invoke: Callable[[], object]) -> int:
    """Run a parsed command line, say what went wrong, and return the exit status."""
    status = _finish(console, invoke)
    if console.job is not None:
        try:
            console.job.end(status)
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            console.warn(f"cannot write `{console.job.file}`: {reason.lower()}")
    return status


def _finish(console: Console, invoke: Callable[[], object]) -> int:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        outcome = invoke()
        sys.stdout.flush()
        console.tell_next()
        if outcome == 130:  # typer's own translation of ctrl-C outside of the event loop
            raise Interrupted("interrupted")
        return outcome if isinstance(outcome, int) else 0
    except BrokenPipeError:
        silence(sys.stdout)
        return BROKEN_PIPE
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help itself, of a group without a command's name
            to_stderr(str(error))
            return UsageError.exit_status
        return _fail(console, as_miroir_error(error, line=console.command))


def _fail(console: Console, error: MiroirError) -> int:
    try:
        with suppress(OSError):
            sys.stdout.flush()
        if console.options.verbose > 1:
            import traceback

            traceback.print_exception(error)
        to_stderr(wrapped(render_error(error, paint=paint), terminal_width(sys.stderr)))
        if console.options.verbose:
            to_stderr(wrapped(f"explained: docs/reference/errors.md#{error.code}", terminal_width(sys.stderr)))
        if console.json and not console.answered:
            console.document({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
    except OSError:
        silence(sys.stdout)
        silence(sys.stderr)
    return 128 + error.signal_number if isinstance(error, Interrupted) else error.exit_status
