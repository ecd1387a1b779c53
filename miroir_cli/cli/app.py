"""The command line's table of contents: which module holds which command, and the global options.

A command is a function in `miroir_cli/cli/<module>.py`, registered on that module's `app`. A new command is
one line in `COMMANDS`; its module is imported when the command, or the help that lists it, is asked for.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from miroir_cli import __version__
from miroir_cli.cli.console import Console
from miroir_cli.cli.ending import finish
from miroir_cli.cli.global_options import Options, ProgressForm
from miroir_cli.cli.help import help_text, root_help, terminal_width
from miroir_cli.cli.manual import read_manual
from miroir_cli.cli.summaries import SUMMARIES
from miroir_cli.cli.tree import GLOBAL_PANEL, read_page

COMMANDS: Final = {
    "init": "init",
    "status": "status",
    "verify": "mend",
    "repair": "mend",
    "node": "node",
    "rebalance": "rebalance",
    "tasks": "tasks",
    "journal": "journal",
    "doctor": "doctor",
    "config": "config",
    "index": "index",
    "alias": "alias",
    "import": "documents",
    "get": "documents",
    "delete": "documents",
    "search": "search",
    "similar": "similar",
    "explain": "search",
    "locate": "search",
    "facet-search": "facet_search",
    "browse": "browse",
    "export": "browse",
    "backup": "backup",
    "serve": "serve",
    "state": "state",
    "schema": "schema",
    "plan-capacity": "capacity",
    "dev": "dev",
    "demo": "dev",
    "completions": "completions",
}
"""Command (or group of them) and the module of `miroir_cli.cli` that holds it."""

SECTIONS: Final = {
    "Start here": ("demo", "init", "dev"),
    "Indexes and documents": ("index", "alias", "import", "export", "get", "browse", "delete"),
    "Search": ("search", "similar", "facet-search", "serve"),
    "The cluster": ("status", "node", "rebalance", "tasks"),
    "Safe and sound": ("doctor", "verify", "repair", "backup", "journal", "state"),
    "Look inside": ("locate", "explain"),
    "Setting up": ("config", "plan-capacity", "completions", "schema"),
}
"""The headings of `miroir --help` and what stands under them; a command without a heading comes last."""


class Commands(TyperGroup):
    """The root: finds commands through `COMMANDS` and lets global options follow the command's name too."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        app: typer.Typer = import_module(f"miroir_cli.cli.{module}").app
        command = get_group(app).commands[cmd_name]
        assert isinstance(command, TyperCommand | TyperGroup)
        self._prepare(command, (cmd_name,))
        return command

    def get_help(self, ctx: Any) -> str:
        """The commands under their headings; none of their modules is loaded for their summaries."""
        named = {name: summary for names in sections().values() for name, summary in names}
        assert set(named) == set(COMMANDS)
        return root_help(read_page(self, (), members=named), sections(), width=terminal_width())

    def _prepare(self, command: Any, words: tuple[str, ...]) -> None:
        """Give a command the global options and our own help, and so for all below it."""
        command.get_help = lambda ctx: help_text(read_page(command, words), width=terminal_width())
        if isinstance(command, TyperGroup):
            for name, member in command.commands.items():
                self._prepare(member, (*words, name))
            return
        for option in self.params:
            if getattr(option, "rich_help_panel", None) == GLOBAL_PANEL:
                command.params.append(_following(option))


def sections() -> dict[str, list[tuple[str, str]]]:
    """The commands and their summaries, in the order of `SECTIONS`."""
    placed = {name for names in SECTIONS.values() for name in names}
    headings = {**SECTIONS, "More": tuple(name for name in COMMANDS if name not in placed)}
    found = {
        heading: [(name, summary_of(name)) for name in names if name in COMMANDS] for heading, names in headings.items()
    }
    return {heading: rows for heading, rows in found.items() if rows}


def summary_of(name: str) -> str:
    """The first sentence of a command's help, without loading its module where it was written down (`make docs`)."""
    if name in SUMMARIES:
        return SUMMARIES[name]
    app: typer.Typer = import_module(f"miroir_cli.cli.{COMMANDS[name]}").app
    return read_manual(get_group(app).commands[name].help or "").summary


def _following(option: Any) -> Any:
    """A copy of a global option for use after a command's name: what is typed there wins."""
    follower = copy.copy(option)
    follower.expose_value = False
    follower.allow_from_autoenv = False
    follower.callback = _replace_option
    return follower


def _replace_option(ctx: typer.Context, option: Any, value: Any) -> Any:
    source = ctx.get_parameter_source(option.name)
    if isinstance(ctx.obj, Console) and source is not None and source.name == "COMMANDLINE":
        ctx.obj.set_option(option.name, value)
    return value


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"miroir {__version__}\n")
        raise typer.Exit


app = typer.Typer(
    name="miroir",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"auto_envvar_prefix": "MIROIR", "help_option_names": ["-h", "--help"]},
)


@app.callback()
def miroir(
    ctx: typer.Context,
    topology: Annotated[
        Path | None,
        typer.Option(
            "--topology",
            "-t",
            metavar="FILE",
            readable=False,  # whoever opens it says what is wrong with it
            help="The topology file; else MIROIR_TOPOLOGY, ./miroir.toml, ~/.config/miroir/miroir.toml.",
            rich_help_panel=GLOBAL_PANEL,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON document on standard output.", rich_help_panel=GLOBAL_PANEL),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Only results, warnings and errors.", rich_help_panel=GLOBAL_PANEL),
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            metavar="",
            show_default=False,
            help="Say more; -vv shows where an error came from.",
            rich_help_panel=GLOBAL_PANEL,
        ),
    ] = 0,
    no_color: Annotated[
        bool,
        typer.Option("--no-color", help="No colours (also: NO_COLOR).", rich_help_panel=GLOBAL_PANEL),
    ] = False,
    progress: Annotated[
        ProgressForm,
        typer.Option(
            "--progress",
            show_default=False,
            help="How to show it (auto: bars on a terminal, else lines); json: JSON Lines on standard error.",
            rich_help_panel=GLOBAL_PANEL,
        ),
    ] = ProgressForm.AUTO,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            allow_from_autoenv=False,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Several Meilisearch servers as one sharded, replicated search cluster.

    New here? `miroir demo` shows it all in a minute, on this machine and without anything else.
    `miroir COMMAND --help` explains a command, with examples.
    """
    console: Console = ctx.obj
    console.options = Options(
        topology=topology, json=json, quiet=quiet, verbose=verbose, no_color=no_color, progress=progress
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status. `arguments` default to the process's own."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    console = Console(Options.guess(words), typed=words)
    command = get_command(app)
    return finish(
        console,
        lambda: command.main(words, prog_name="miroir", standalone_mode=False, obj=console),
    )
