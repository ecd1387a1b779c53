"""The command line's table of contents: which module holds which command, and the global options.

A command is a function in `miroir_cli/cli/<module>.py`, registered on that module's `app`. A new command is
one line in `COMMANDS`; its module is imported when the command, or the help that lists it, is asked for.
"""

from __future__ import annotations

import copy
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from miroir_cli import __version__
from miroir_cli.cli.console import Console, Options, finish

COMMANDS: Final = {
    "init": "init",
    "status": "status",
    "verify": "mend",
    "repair": "mend",
    "node": "node",
    "rebalance": "rebalance",
    "journal": "journal",
    "doctor": "doctor",
    "index": "index",
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
    "state": "state",
    "dev": "dev",
    "demo": "dev",
}
"""Command (or group of them) and the module of `miroir_cli.cli` that holds it, in the order of `--help`."""

LONGEST_COMMAND: Final = 200
"""Characters of a command line that journals and locks keep to say who it was."""

GLOBAL_PANEL: Final = "Global options"


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
        self._accept_global_options(command)
        return command

    def _accept_global_options(self, command: Any) -> None:
        _shorten_help(command)
        if isinstance(command, TyperGroup):
            for member in command.commands.values():
                self._accept_global_options(member)
            return
        for option in self.params:
            if getattr(option, "rich_help_panel", None) == GLOBAL_PANEL:
                command.params.append(_following(option))


def _shorten_help(command: Any) -> None:
    """Leave out of `--help` what every option has: its variable (by rule), and a switch its type.

    Plain text rather than rich's boxes, which take longer to load than everything else together.
    """
    command.rich_markup_mode = None
    for option in command.params:
        option.show_envvar = False
        if getattr(option, "is_flag", False):
            option.metavar = ""


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
    """Several Meilisearch servers as one sharded, replicated search cluster."""
    console: Console = ctx.obj
    console.options = Options(topology=topology, json=json, quiet=quiet, verbose=verbose, no_color=no_color)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status. `arguments` default to the process's own."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    console = Console(Options.guess(words), command=shlex.join(["miroir", *words])[:LONGEST_COMMAND])
    command = get_command(app)
    _shorten_help(command)
    return finish(
        console,
        lambda: command.main(words, prog_name="miroir", standalone_mode=False, obj=console),
    )
