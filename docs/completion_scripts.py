"""The scripts in `completions/`, which complete `miroir` in three shells: all made of the one command tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from docs import completion_bash, completion_fish, completion_zsh
from docs.command_tree import pages, root_page
from miroir_cli.indexes.settings import KEYS


def completion_scripts() -> Mapping[str, str]:
    """Each file with its text."""
    root, below = root_page(), pages()
    words: dict[str, Sequence[str]] = {"settings": tuple(KEYS)}
    return {
        "completions/miroir.bash": completion_bash.script(root, below, words),
        "completions/_miroir": completion_zsh.script(root, below, words),
        "completions/miroir.fish": completion_fish.script(root, below, words),
    }
