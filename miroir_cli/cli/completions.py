"""`miroir completions`: what makes the tab key work."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from miroir_cli.errors import MiroirError

app = typer.Typer()


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


FILES: Final = {Shell.BASH: "miroir.bash", Shell.ZSH: "_miroir", Shell.FISH: "miroir.fish"}


@app.command()
def completions(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)],
) -> None:
    """Print the script that completes commands in your shell.

    Commands, options, files, and the names of your indexes, nodes and runs, which are read from the topology file and
    the state file beside it, never over the network. Put the first line for your shell into its start file
    (`~/.bashrc`; `~/.zshrc`, after `compinit`; `~/.config/fish/config.fish`), or the script itself where the shell
    looks for it, which makes it start sooner.

    Examples:
      source <(miroir completions bash)
      source <(miroir completions zsh)
      miroir completions fish | source
      miroir completions zsh > _miroir      # into a folder of $fpath
    """
    sys.stdout.write(script(shell))


def script(shell: Shell) -> str:
    """The text of a shell's script: part of the package, or beside it where miroir runs from its sources."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "completions", package.parent / "completions"):
        if (folder / FILES[shell]).is_file():
            return (folder / FILES[shell]).read_text()
    raise MiroirError(f"the completions of {shell.value} are not part of this installation", hint="install it again")
