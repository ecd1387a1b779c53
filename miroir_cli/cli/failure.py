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

NUMBERS: Final = {"int_parsing": "a whole number", "int_from_float": "a whole number", "float_parsing": "a number"}
"""What was expected, by the kind of complaint."""


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
    message = _wrong_value(error) or message[:1].lower() + message[1:].rstrip(".").replace("'", "`")
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


def _wrong_value(error: typer.TyperException) -> str | None:
    """A value of the wrong kind or out of its range: "`--rate` is `-5`, expected 1 or more"."""
    complaints = getattr(error.__cause__, "errors", None)
    if not callable(complaints):
        return None
    complaint = complaints()[0]
    name = error.format_message().partition(":")[0].removeprefix("Invalid value for ").replace("'", "`")
    said = str(complaint["msg"]).replace("'", "`")
    if complaint["type"] == "value_error":
        return f"{name}: {said.removeprefix('Value error, ')}"
    described = getattr(getattr(error, "param", None), "get_runtime_param", lambda: None)()
    declared = getattr(described, "parameter_info", None)
    expected = [NUMBERS[complaint["type"]]] if complaint["type"] in NUMBERS else []
    range_ = _range(getattr(declared, "min", None), getattr(declared, "max", None))
    if range_ is not None:
        expected.append(range_)
    return f"{name} is `{complaint['input']}`, expected {', '.join(expected) or said.removeprefix('Input should be ')}"


def _range(least: float | None, most: float | None) -> str | None:
    ends = [f"{end:f}".rstrip("0").rstrip(".") if end is not None else None for end in (least, most)]
    match ends:
        case [None, None]:
            return None
        case [_, None]:
            return f"{ends[0]} or more"
        case [None, _]:
            return f"{ends[1]} or less"
    return f"{ends[0]} to {ends[1]}"
