"""Errors as people and scripts see them: any exception becomes one `MiroirError`, that becomes two lines."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, Final

import typer

from miroir_cli.errors import Interrupted, MiroirError, UsageError

BROKEN_PIPE: Final = 141
"""Exit status when the reader of standard output went away: what the shell reports for SIGPIPE."""


def as_miroir_error(error: Exception) -> MiroirError:
    """The one error to report for whatever a command raised."""
    if isinstance(error, MiroirError):
        return error
    if isinstance(error, BaseExceptionGroup):
        members = list(_members(error))
        strangers = [member for member in members if not isinstance(member, MiroirError)]
        return as_miroir_error((strangers or members)[0])
    if isinstance(error, typer.Abort):
        return Interrupted("stopped, nothing was changed")
    if isinstance(error, typer.TyperException):
        return _usage_error(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"`{error.filename}`: " if error.filename else ""
        failure = MiroirError(f"{where}{error.strerror.lower()}")
    else:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        failure = MiroirError(f"unexpected {what}", hint="run it again with `-vv` to see where it came from")
    failure.__cause__ = error
    return failure


def render_error(error: MiroirError, *, paint: Callable[[str, str], str]) -> str:
    """`error: message`, an empty line, `hint: ...` if there is one. `paint` takes a text and an ANSI style."""
    text = f"{paint('error:', '1;31')} {one_line(error.message)}"
    if error.hint:
        text += f"\n\n{paint('hint:', '1;36')} {one_line(error.hint)}"
    return text


def one_line(text: str) -> str:
    """Text that cannot break a line or drive a terminal: control characters become spaces or escapes."""
    if text.isprintable():
        return text
    return "".join(
        " " if letter in "\n\r\t" else ascii(letter)[1:-1] if _controls(letter) else letter for letter in text
    )


def _controls(letter: str) -> bool:
    # Cc drives terminals; the bidirectional overrides of Cf make a text read as another one.
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or "\u202a" <= letter <= "\u202e"


def _members(group: BaseExceptionGroup[Any]) -> Iterator[Any]:
    for member in group.exceptions:
        if isinstance(member, BaseExceptionGroup):
            yield from _members(member)
        else:
            yield member


def _usage_error(error: typer.TyperException) -> UsageError:
    """typer's own complaint in miroir's words: what is wrong, then what was meant or where help is."""
    context = getattr(error, "ctx", None)
    text = error.format_message()
    message = text.partition(". Did you mean")[0].partition(" (Possible options")[0]
    message = message[:1].lower() + message[1:].rstrip(".").replace("'", "`")
    known: list[str] = list(getattr(error, "possibilities", None) or ())
    wanted = getattr(error, "option_name", "")
    if text.startswith("No such command") and context is not None:
        known = context.command.list_commands(context)
        wanted = message.partition("`")[2].rstrip("`")
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    if near:
        return UsageError(message, hint=f"did you mean `{near[0]}`?")
    command = context.command_path if context is not None else "miroir"
    return UsageError(message, hint=f"run `{command} --help` to see how it is used")
