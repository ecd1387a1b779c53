"""Errors as people and scripts see them: any exception becomes one `MiroirError`, that becomes two lines."""

from __future__ import annotations

import errno
import re
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import typer

from miroir_cli.errors import (
    FILE_HINT,
    Interrupted,
    MiroirError,
    NodeRefusal,
    NodeTaskFailed,
    UsageError,
    first_of,
    known_instead,
    nearest,
)

if TYPE_CHECKING:
    from miroir_cli.cli.tree import Page

BROKEN_PIPE: Final = 141
"""Exit status when the reader of standard output went away: what the shell reports for SIGPIPE."""

STYLED: Final = re.compile(r"(\x1b\[(?:0|1;3[1-6])m)")
"""What `painted` puts around a word, and nothing else that drives a terminal."""

AGAIN_HINT: Final = "run it again with `-vv` to see where it came from"

SPACE_HINT: Final = "free some space, then run the same command again"

FIRST = "name it in `{}` first: see `miroir index settings set --help`"

REFUSAL_HINTS: Final = {
    r"\bnot (?:filterable|facet-searchable)\b": FIRST.format("filterableAttributes"),
    r"\bnot sortable\b": FIRST.format("sortableAttributes"),
    r"\bsort parameter\b": "such as `--sort year:desc`",
    r"\bembedder\b": "run `miroir index settings get INDEX` to see the `embedders`, and name one with `--embedder`",
    r"^(?:Index `[^`]*`: )?(?:Was expecting|Found unexpected)": "such as `--filter 'year > 1970 AND genre = novel'`",
}
"""What to do next, by words of what a node refused."""

NUMBERS: Final = {"int_parsing": "a whole number", "int_from_float": "a whole number", "float_parsing": "a number"}
"""What was expected, by the kind of complaint."""


def as_miroir_error(error: Exception, *, line: str = "miroir") -> MiroirError:
    """The one error to report for whatever a command raised; `line` is what was typed."""
    error = first_of(error)
    if isinstance(error, MiroirError):
        if isinstance(error, NodeRefusal | NodeTaskFailed) and error.hint is None:
            error.hint = refusal_hint(error.message)
        return error
    if isinstance(error, typer.Abort):
        return Interrupted("stopped, nothing was changed")
    if isinstance(error, typer.TyperException):
        return _usage_error(error, line)
    if isinstance(error, OSError) and error.strerror:
        where = f"`{error.filename}`: " if error.filename else ""
        hint = SPACE_HINT if error.errno == errno.ENOSPC else FILE_HINT if where else AGAIN_HINT
        failure = MiroirError(f"{where}{error.strerror.lower()}", hint=hint)
    else:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        failure = MiroirError(f"unexpected {what}", hint=AGAIN_HINT)
    failure.__cause__ = error
    return failure


def refusal_hint(message: str) -> str | None:
    """The next step after what a node said about a request, for what people get wrong most."""
    return next((hint for words, hint in REFUSAL_HINTS.items() if re.search(words, message)), None)


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
    return "".join(" " if letter in "\n\r\t" else _inert(letter) for letter in text)


def harmless(text: str) -> str:
    """Text that cannot drive a terminal, with its lines and the styles of miroir's own words as they are."""
    if text.isprintable():
        return text
    parts = STYLED.split(text)  # every second one is a style
    return "".join(
        part if place % 2 else "".join(letter if letter in "\n\t" else _inert(letter) for letter in part)
        for place, part in enumerate(parts)
    )


def _inert(letter: str) -> str:
    return ascii(letter)[1:-1] if _controls(letter) else letter


def _controls(letter: str) -> bool:
    # Cc drives terminals; the bidirectional overrides and isolates of Cf make a text read as another one.
    if "\u202a" <= letter <= "\u202e" or "\u2066" <= letter <= "\u2069":
        return True
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")


def _usage_error(error: typer.TyperException, line: str) -> UsageError:
    """typer's own complaint in miroir's words: what is wrong, then what was meant or where help is."""
    context = getattr(error, "ctx", None)
    text = error.format_message()
    option = str(getattr(error, "option_name", ""))
    command = context.command_path if context is not None else _command_of(line)
    hint = f"run `{command} --help` to see how it is used"
    if found := re.match(r"No such command '(.*?)'\.", text, re.DOTALL):
        return UsageError(f"no such command `{found[1]}`", hint=_meant_command(found[1], context) or hint)
    if text.startswith("No such option"):
        near = nearest(option, _options(context)) or nearest(option, getattr(error, "possibilities", None) or ())
        return UsageError(f"no such option `{option}`", hint=f"did you mean `{near}`?" if near else hint)
    if found := re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", text, re.DOTALL):
        return UsageError(f"too many arguments: `{found[1]}`", hint=hint)
    message = text.partition(". Did you mean")[0].partition(" (Possible options")[0].partition(" Choose from:")[0]
    message = _wrong_value(error) or message[:1].lower() + message[1:].rstrip(".").replace("'", "`")
    choice = _meant_choice(error)
    return UsageError(message, hint=f"did you mean `{choice}`?" if choice else hint)


def _options(context: Any) -> list[str]:
    """Every spelling of an option that a command takes."""
    parameters = context.command.get_params(context) if context is not None else []
    return [spelling for each in parameters for spelling in (*each.opts, *each.secondary_opts) if spelling[:1] == "-"]


def _meant_command(name: str, context: Any) -> str | None:
    """The hint for a command that is not there: one of that name here, or the same word elsewhere in the tree."""
    group, path = context.command, context.command_path
    here = group.list_commands(context)
    elsewhere = [page.name for page in _pages() if page.words[-1] == name]
    if elsewhere:
        return f"did you mean {' or '.join(f'`{each}`' for each in elsewhere[:3])}?"
    near = nearest(name, here)
    if near is not None:
        return f"did you mean `{near}`?"
    return known_instead(name, here, listing=f"{path} --help") if group is not context.find_root().command else None


def _pages() -> list[Page]:
    """The whole command tree, loaded: only where a command line went wrong."""
    from typer.main import get_command

    from miroir_cli.cli.app import app
    from miroir_cli.cli.tree import walk

    return list(walk(get_command(app)))


def _command_of(line: str) -> str:
    """The command that a line calls: `miroir index show` of `miroir -q index show --json`."""
    words = [word for word in line.split() if not word.startswith("-")]
    named = [page.name for page in _pages() if words[: len(page.words) + 1] == page.name.split()]
    return max(named, key=len, default="miroir")


def _meant_choice(error: typer.TyperException) -> str | None:
    """One of the values that an option takes, when another one was given."""
    described = getattr(getattr(error, "param", None), "type_descriptor", None)
    choices = [str(getattr(each, "value", each)) for each in getattr(described, "choices", None) or ()]
    given = re.search(r"'([^']*)' is not one of", error.format_message(), re.DOTALL)
    return nearest(given[1], choices) if given and choices else None


def _wrong_value(error: typer.TyperException) -> str | None:
    """A value of the wrong kind or out of its range: "`--rate` is `-5`, expected 1 or more"."""
    complaints = getattr(error.__cause__, "errors", None)
    if not callable(complaints):
        return None
    complaint = complaints()[0]
    name = error.format_message().partition(":")[0].removeprefix("Invalid value for ").replace("'", "`")
    said = str(complaint["msg"]).replace("'", "`")
    if complaint["type"] == "value_error":
        return f"{name}: {said.removeprefix('Value error, ').rstrip('.')}"
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
