"""What is written down of the command line itself: the reference page, and the summaries that `miroir --help` shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from typer.main import get_command

from miroir_cli.cli.app import COMMANDS, app, sections
from miroir_cli.cli.tree import read_page, walk

if TYPE_CHECKING:
    from miroir_cli.cli.tree import Page, Parameter


def root() -> Any:
    return get_command(app)


def pages() -> list[Page]:
    """Every command and group, each group before its members."""
    return list(walk(root()))


def root_page() -> Page:
    """`miroir` itself, with the commands in the order of its help."""
    return read_page(root(), (), members={name: summary for rows in sections().values() for name, summary in rows})


def global_options() -> list[Parameter]:
    return [option for option in root_page().options if option.is_global]


def summaries() -> Mapping[str, str]:
    """`miroir_cli/cli/summaries.py`: what `miroir --help` says of each command without loading it."""
    found = {page.words[0]: page.manual.summary for page in pages() if len(page.words) == 1}
    lines = [
        '"""The first sentence of every command\'s help, so that `miroir --help` loads none of their modules.',
        "",
        "Written by docs/generate.py; change the commands, then run `make docs`.",
        '"""',
        "",
        "from typing import Final",
        "",
        "SUMMARIES: Final = {",
        *(f"    {json.dumps(name)}: {json.dumps(found[name])}," for name in COMMANDS),
        "}",
    ]
    return {"miroir_cli/cli/summaries.py": "\n".join(lines)}


# commands.md


def commands() -> str:
    lines = ["# Commands", ""]
    lines += ["Global options stand before or after the command's name.", ""]
    lines += table(
        ["option", "variable", "meaning"],
        [(f"`{option.signature}`", f"`{option.variable}`", option.help) for option in global_options()],
    )
    lines += [
        "`--version` prints the version. Every option of a command has a variable as well: `MIROIR_`, the command's",
        "words and the option's name, such as `MIROIR_INDEX_CREATE_SHARDS`; a switch is on with `1`. Exit statuses:",
        "[errors](errors.md). JSON documents: [json](json.md). The same as manual pages: `man miroir`.",
        "",
    ]
    for page in pages():
        lines += command_section(page)
    return "\n".join(lines)


def command_section(page: Page) -> list[str]:
    lines = [f"{'#' * (len(page.words) + 1)} {page.name}", "", page.manual.summary, ""]
    for paragraph in page.manual.paragraphs:
        lines += [paragraph, ""]
    if not page.is_group:
        lines += ["```text", page.usage, "```", ""]
    if page.manual.examples:
        lines += ["```console", *shown(page), "```", ""]
    if page.arguments:
        lines += table(["argument", ""], [(f"`{each.placeholder}`", each.help) for each in page.arguments])
    for heading, options in page.grouped().items():
        own = [option for option in options if not option.is_global]
        rows = [(f"`{each.signature}`", each.explanation) for each in own]
        lines += table(["option" if heading == "Options" else heading.lower(), ""], rows) if rows else []
    return lines


def shown(page: Page) -> list[str]:
    longest = max(len(each.command) for each in page.manual.examples)
    return [
        f"{each.command.ljust(longest)}  # {each.why}" if each.why else each.command for each in page.manual.examples
    ]


def table(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> list[str]:
    cells = [[(cell or "").replace("|", "\\|") for cell in row] for row in [tuple(headings), *rows]]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], "|" + "---|" * len(headings), *lines[1:], ""]
