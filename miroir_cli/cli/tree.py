"""The command tree as plain values: what help, man pages, completions and the reference are made of.

typer's objects are read here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from typer.core import TyperGroup

from miroir_cli.cli.manual import Manual, read_manual

GLOBAL_PANEL: Final = "Global options"

LIVE: Final = {"INDEX": "indexes", "ALIAS": "aliases", "NODE": "nodes", "ENTRY": "entries", "BACKUP": "backups"}
"""What the shell asks `miroir __complete` for, by the name that stands for the value."""

LISTED: Final = {"SETTING": "settings"}
"""Words that are known without a cluster, by the name that stands for the value."""

FILES: Final = {"FILE": "files", "DIR": "folders", "PLACE": "folders"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An argument or an option of a command.

    `spellings` are an option's names, the first long one before others and letters; `negative` those that say no.
    `value` is what stands for its value in a usage line, None for a switch. `completes` is `files`, `folders`,
    `settings` or a kind of live value.
    """

    name: str
    is_option: bool
    spellings: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    value: str | None = None
    help: str = ""
    default: str | None = None
    range: str | None = None
    required: bool = False
    repeated: bool = False
    group: str | None = None
    choices: tuple[str, ...] = ()
    variable: str | None = None
    completes: str | None = None

    @property
    def is_global(self) -> bool:
        return self.group == GLOBAL_PANEL

    @property
    def explanation(self) -> str:
        """The help with the default and the range, each as a sentence."""
        parts = [self.help]
        if self.range:
            parts.append(f"{self.range[0].upper()}{self.range[1:]}.")
        if self.is_option and self.required:
            parts.append("Required.")
        if self.default is not None:
            parts.append(f"Default: {self.default}.")
        return " ".join(part for part in parts if part)

    @property
    def signature(self) -> str:
        """Such as `-t, --topology FILE`, `--compare / --no-compare` or `[FILE]...`."""
        if not self.is_option:
            return self.placeholder
        value = f" {self.value}" if self.value else ""
        return " / ".join([", ".join(self.letters_first) + value, *self.negative])

    @property
    def letters_first(self) -> tuple[str, ...]:
        """The spellings of an option as help lists them: `-n`, `--limit`."""
        return tuple(sorted(self.spellings, key=_is_letter, reverse=True))

    @property
    def placeholder(self) -> str:
        """An argument in a usage line: in brackets when it may be left out, with dots when there may be several."""
        name = (self.value or self.name.upper()) + ("..." if self.repeated else "")
        return name if self.required else f"[{name}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A command or a group of them: its words after `miroir`, its text, and what it takes or has."""

    words: tuple[str, ...]
    manual: Manual
    arguments: tuple[Parameter, ...] = ()
    options: tuple[Parameter, ...] = ()
    members: tuple[tuple[str, str], ...] | None = None
    """Names and summaries of a group's commands; None for a command."""

    @property
    def name(self) -> str:
        return " ".join(("miroir", *self.words))

    @property
    def is_group(self) -> bool:
        return self.members is not None

    @property
    def usage(self) -> str:
        if self.is_group:
            return f"{self.name} COMMAND ..."
        own = any(not option.is_global for option in self.options)
        return " ".join([self.name, *(["[OPTIONS]"] if own else []), *(each.placeholder for each in self.arguments)])

    @property
    def prefix(self) -> str:
        """How the variables of its options begin: `MIROIR_INDEX_CREATE_`."""
        return "_".join(("MIROIR", *self.words, "")).upper().replace("-", "_")

    def grouped(self) -> dict[str, list[Parameter]]:
        """The options under their headings: those without one first, the global ones last."""
        found: dict[str, list[Parameter]] = {"Options": []}
        for option in sorted(self.options, key=lambda option: option.is_global):
            found.setdefault(option.group or "Options", []).append(option)
        return {heading: options for heading, options in found.items() if options}


def read_page(command: Any, words: tuple[str, ...], *, members: Mapping[str, str] | None = None) -> Page:
    """A typer command or group as a page. `members` are the root's; any other group has them at hand."""
    if members is None and isinstance(command, TyperGroup):
        members = {name: read_manual(each.help or "").summary for name, each in command.commands.items()}
    parameters = [_parameter(each, words) for each in command.params if not getattr(each, "hidden", False)]
    return Page(
        words=words,
        manual=read_manual(command.help or ""),
        arguments=tuple(each for each in parameters if not each.is_option),
        options=tuple(each for each in parameters if each.is_option),
        members=None if members is None else tuple(members.items()),
    )


def walk(command: Any, words: tuple[str, ...] = ()) -> Iterator[Page]:
    """The pages of everything below a group, each group before its members."""
    context: Any = None
    for name in command.list_commands(context):
        member = command.get_command(context, name)
        yield read_page(member, (*words, name))
        if isinstance(member, TyperGroup):
            yield from walk(member, (*words, name))


def _parameter(declared: Any, words: tuple[str, ...]) -> Parameter:
    is_option = declared.param_type_name == "option"
    switch = bool(getattr(declared, "is_flag", False) or getattr(declared, "count", False))
    choices = tuple(str(getattr(each, "value", each)) for each in declared.type_descriptor.choices or ())
    raw = declared.metavar or "|".join(choices) or ("VALUE" if is_option else declared.name.upper())
    value = raw.strip("[]").removesuffix("...").strip("[]")
    group = declared.rich_help_panel
    prefix = "MIROIR_" if group == GLOBAL_PANEL else "_".join(("MIROIR", *words, "")).upper().replace("-", "_")
    takes_variable = is_option and getattr(declared, "allow_from_autoenv", True) or group == GLOBAL_PANEL
    return Parameter(
        name=declared.name,
        is_option=is_option,
        spellings=tuple(sorted(declared.opts, key=_is_letter)) if is_option else (),
        negative=tuple(declared.secondary_opts),
        value=None if switch else value,
        help=declared.help or "",
        default=_default(declared) if is_option else None,
        range=_range(declared),
        required=bool(declared.required),
        repeated=bool(getattr(declared, "multiple", False)) or declared.nargs != 1,
        group=group,
        choices=choices,
        variable=f"{prefix}{declared.name.upper()}" if takes_variable else None,
        completes=_completes(declared.name, value, words, switch=switch),
    )


def _is_letter(spelling: str) -> bool:
    return not spelling.startswith("--")


def _completes(name: str, value: str, words: tuple[str, ...], *, switch: bool) -> str | None:
    if switch:
        return None
    known = {**FILES, **LISTED, **LIVE}.get(value)
    if known is None and name in ("node", "nodes") and value == "NAME":
        return "nodes"
    if known is None and name in ("index", "indexes") and value == "UID":
        return "indexes"
    return known


def _default(declared: Any) -> str | None:
    if declared.required or declared.default in (None, False, (), []) or getattr(declared, "count", False):
        return None
    if declared.default is True:
        return f"`{declared.opts[0]}`" if declared.secondary_opts else None
    found = getattr(declared.default, "value", declared.default)
    return f"{found:g}" if isinstance(found, float) else str(found)


def _range(declared: Any) -> str | None:
    """What a number may be, unless it goes without saying (1 or more)."""
    least, most = getattr(declared, "min", None), getattr(declared, "max", None)
    if most is not None:
        return f"{least:.15g} to {most:.15g}" if least is not None else f"{most:.15g} or less"
    return None if least is None or least in (0, 1) else f"{_plain(least)} or more"


def _plain(number: float) -> str:
    return f"{number:f}".rstrip("0").rstrip(".")
