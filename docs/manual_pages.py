"""The manual pages in `man/`: `miroir(1)`, and one for each command and group, in the words of mdoc(7)."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from docs.command_tree import global_options, pages, root_page
from miroir_cli.cli.app import sections
from miroir_cli.cli.help import continued

if TYPE_CHECKING:
    from miroir_cli.cli.tree import Page, Parameter

NOTE: Final = '.\\" Written by docs/generate.py; change the commands, then run `make docs`.'

DATE: Final = "November 27, 2026"
"""Of the last release or greater change of these pages; moved by hand."""

WIDTH: Final = 78
"""Characters of a line of text, which is what `mandoc -T lint` likes."""

FILES: Final = (
    ("miroir.toml", "The topology file, looked for in the working folder first."),
    ("~/.config/miroir/miroir.toml", "The topology file if there is none in the working folder."),
    (".miroir/state.db", "The state file, beside the topology file unless that says otherwise."),
    (".miroir/locks/", "Locks of commands that are under way."),
)

VARIABLES: Final = (
    ("NO_COLOR", "No colours when set to anything."),
    ("COLUMNS", "How wide to write, otherwise as wide as the terminal is."),
    ("MIROIR_COMPLETION_LIMIT", "Seconds that the tab key waits for a Redis that has the state, otherwise 0.08."),
    ("XDG_CONFIG_HOME", "The folder to look in for miroir/miroir.toml instead of ~/.config."),
)


def manual_pages(exit_statuses: Mapping[int, str]) -> Mapping[str, str]:
    """Each file with its text; `exit_statuses` are listed in that of `miroir` itself."""
    everything = [root_page(), *pages()]
    return {f"man/{file_name(page)}.1": _page(page, everything, exit_statuses) for page in everything}


def file_name(page: Page) -> str:
    return page.name.replace(" ", "-")


def _page(page: Page, everything: Sequence[Page], exit_statuses: Mapping[int, str]) -> str:
    lines = [NOTE, f".Dd {DATE}", f".Dt {file_name(page).upper()} 1", ".Os"]
    lines += [".Sh NAME", f".Nm {file_name(page)}", f".Nd {text(page.manual.summary.rstrip('.'))}"]
    lines += [".Sh SYNOPSIS", *_synopsis(page)]
    lines += [".Sh DESCRIPTION", *_description(page)]
    if page.is_group:
        lines += _commands(page)
    lines += _options(page)
    lines += [".Sh ENVIRONMENT", *_environment(page)]
    lines += [".Sh FILES", *_list((f".Pa {escaped(name)}", about) for name, about in FILES)]
    lines += [".Sh EXIT STATUS", *_exit_status(page, exit_statuses)]
    if page.manual.examples:
        lines += [".Sh EXAMPLES", *_examples(page)]
    lines += [".Sh SEE ALSO", *_see_also(page, everything)]
    return "\n".join(lines)


def _synopsis(page: Page) -> Iterator[str]:
    first, *words = page.name.split()
    yield f".Nm {first}" + (f" {' '.join(words)}" if words else "")
    if any(not option.is_global for option in page.options) or not page.words:
        yield ".Op Ar options"
    if page.is_group:
        yield ".Ar command ..."
    for argument in page.arguments:
        name = escaped(argument.value or argument.name) + (" ..." if argument.repeated else "")
        yield f".Ar {name}" if argument.required else f".Op Ar {name}"


def _description(page: Page) -> Iterator[str]:
    paragraphs = [page.manual.summary, *page.manual.paragraphs]
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ".Pp"
        yield from sentences(paragraph)
    if page.arguments:
        yield ".Pp"
        yield "The arguments are:"
        yield from _list((f".Ar {escaped(each.placeholder)}", each.help) for each in page.arguments)


def _commands(page: Page) -> Iterator[str]:
    if page.words:
        yield ".Ss Commands"
        yield from _list((f".Cm {escaped(name)}", summary) for name, summary in page.members or ())
        return
    for heading, rows in sections().items():
        yield f".Ss {escaped(heading)}"
        yield from _list((f".Cm {escaped(name)}", summary) for name, summary in rows)


def _options(page: Page) -> Iterator[str]:
    groups = page.grouped()
    if page.words:
        groups.pop("Global options", None)
    if not groups:
        return
    yield ".Sh OPTIONS"
    for heading, options in groups.items():
        if len(groups) > 1:
            yield f".Ss {escaped(heading)}"
        yield from _list((_option(option), option.explanation) for option in options)
    if page.words:
        yield ".Pp"
        yield "The global options of"
        yield ".Xr miroir 1"
        yield "may stand here as well."


def _option(option: Parameter) -> str:
    """Such as `.It Fl n , Fl -limit Ar N`."""
    names = [f"Fl {escaped(name[1:])}" for name in (*option.letters_first, *option.negative)]
    return f".{' , '.join(names)}" + (f" Ar {escaped(option.value)}" if option.value else "")


def _environment(page: Page) -> Iterator[str]:
    own = [option for option in page.options if option.variable and not option.is_global]
    rows = [
        (f".Ev {option.variable}", f"The same as {option.spellings[0]}{'' if option.value else ', when it is 1'}.")
        for option in (own if page.words else global_options())
    ]
    if not page.words:
        rows += [(f".Ev {name}", about) for name, about in VARIABLES]
        yield from sentences(
            "Every option can be given as a variable: MIROIR, the words of the command and the option's name, in "
            "capitals and joined by underscores. The page of each command lists its own. What stands on the command "
            "line wins."
        )
    if rows:
        yield from _list(rows, style=" -compact")
    if page.words:
        yield ".Pp" if rows else "This command has no variables of its own."
        yield "Those of all commands are described in"
        yield ".Xr miroir 1 ."


def _exit_status(page: Page, exit_statuses: Mapping[int, str]) -> Iterator[str]:
    if page.words:
        yield ".Ex -std miroir"
        yield "The statuses are listed in"
        yield ".Xr miroir 1 ."
        return
    yield from _list((f".{status}", f"{about[0].upper()}{about[1:]}.") for status, about in exit_statuses.items())


def _examples(page: Page) -> Iterator[str]:
    for number, example in enumerate(page.manual.examples):
        if example.why:
            why = example.why[0].upper() + example.why[1:]
            yield from ([".Pp"] if number else [])
            yield from wrapped(f"{why}:")
        yield ".Bd -literal -offset indent" if example.why or not number else ".Bd -literal -offset indent -compact"
        yield from (escaped(line.removeprefix("  ")) for line in continued(example.command, WIDTH - 10))
        yield ".Ed"


def _see_also(page: Page, everything: Sequence[Page]) -> Iterator[str]:
    """The page above, those below, and the neighbours of a command in a group."""
    above = everything[0] if page.words else None
    inside = [each for each in everything if each.words[:-1] == page.words and each.words]
    beside = [each for each in everything if page.words[:-1] and each.words[:-1] == page.words[:-1] and each != page]
    parent = [each for each in everything if page.words[:-1] and each.words == page.words[:-1]]
    names = sorted({file_name(each) for each in (*([above] if above else []), *parent, *beside, *inside)})
    for number, name in enumerate(names, 1):
        yield f".Xr {name} 1{' ,' if number < len(names) else ''}"


def _list(rows: Iterable[tuple[str, str]], *, style: str = "") -> Iterator[str]:
    yield f".Bl -tag -width Ds{style}"
    for head, about in rows:
        yield f".It {head[1:]}"
        yield from sentences(about)
    yield ".El"


def sentences(paragraph: str) -> Iterator[str]:
    """One sentence a line and none too long, as manual pages have it."""
    for sentence in re.split(r"(?<=[.!?]) (?=[A-Z`0-9\-])", paragraph):
        yield from wrapped(sentence)


def wrapped(line: str) -> Iterator[str]:
    """A line of prose, quoted words in bold."""
    for part in textwrap.wrap(text(line), WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"\\&{part}" if part[0] in ".'" else part


def text(line: str) -> str:
    """A line of prose: what is quoted becomes bold."""
    parts = line.split("`")
    return "".join(f"\\fB{escaped(part)}\\fR" if number % 2 else escaped(part) for number, part in enumerate(parts))


def escaped(line: str) -> str:
    """Text that means nothing to the formatter; a hyphen that is typed is a minus sign."""
    return (
        line.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    )
