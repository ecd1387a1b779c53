"""`completions/miroir.bash`: one function that reads the line up to the cursor, and tables made of the command tree."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miroir_cli.cli.tree import Page, Parameter

HEAD = r"""# miroir completions for bash, written by docs/generate.py; change the commands, then run `make docs`.
# Load it with `source <(miroir completions bash)`, or put it where bash-completion looks:
#   miroir completions bash > ~/.local/share/bash-completion/completions/miroir
"""

LOGIC = r"""
# Words and values are looked up in the tables above; what only the cluster knows is asked of miroir itself.
_miroir() {
    local cur=${COMP_WORDS[COMP_CWORD]} prefix= path=miroir position=0 expects= word joined= literal= i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == [=:] ]]; then  # bash takes words apart there
            [[ -n $expects ]] || joined=1
        elif [[ -n $joined ]]; then
            joined=
        elif [[ -n $expects ]]; then
            expects=
        elif [[ -n $literal ]]; then
            ((position++))
        elif [[ $word == -- ]]; then
            literal=1
        elif [[ $word == -* ]]; then
            [[ $word == *=* ]] || expects=$(_miroir_value "$path" "$word")
        elif [[ " $(_miroir_commands "$path") " == *" $word "* ]]; then
            path+=" $word"
        else
            ((position++))
        fi
    done
    if [[ $cur == [=:] ]]; then
        [[ -n $expects ]] || joined=1
        cur=
    fi
    [[ -z $joined ]] || return 0
    if [[ -z $expects && -z $literal && $cur == --*=* ]]; then  # where `=` does not take words apart
        expects=$(_miroir_value "$path" "${cur%%=*}")
        prefix="${cur%%=*}="
        cur=${cur#*=}
    elif [[ -z $expects && -z $literal && $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$(_miroir_options "$path")" -- "$cur"))
        return 0
    elif [[ -z $expects ]]; then
        expects=$(_miroir_argument "$path" "$position")
        [[ -n $expects || $position != 0 ]] || expects="words $(_miroir_commands "$path")"
    fi
    _miroir_offer $expects
}

# Offer the values of a kind: `files`, `folders`, `words A B`, or what `miroir __complete` knows.
_miroir_offer() {
    local kind=$1 IFS=$'\n'
    shift
    case $kind in
        '' | any) return 0 ;;
        files) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")) ;;
        folders) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")) ;;
        words) COMPREPLY=($(compgen -W "$*" -- "$cur")) ;;
        *) # not by `compgen -W`, which would run what stands in `$( )` in a name
            local value
            while read -r value; do
                [[ $value != "$cur"* ]] || COMPREPLY+=("$value")
            done < <(_miroir_ask "$kind") ;;
    esac
    [[ -z $prefix ]] || COMPREPLY=("${COMPREPLY[@]/#/$prefix}")
}

_miroir_ask() {
    local program=${COMP_WORDS[0]/#\~\//$HOME/}
    "$program" __complete "$1" "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null | cut -f 1
}

complete -F _miroir miroir
"""


def script(root: Page, pages: Sequence[Page], words: dict[str, Sequence[str]]) -> str:
    """The whole file; `words` are the values of kinds that are known without a cluster."""
    everything = [root, *pages]
    return "\n".join(
        [
            HEAD,
            "# The commands below a group.",
            *_table(
                "_miroir_commands", "$1", ((f'"{page.name}"', _members(page)) for page in everything if page.is_group)
            ),
            "",
            "# The options of a command.",
            *_table("_miroir_options", "$1", ((f'"{page.name}"', _options(page)) for page in everything)),
            "",
            "# What an option is followed by; nothing for a switch.",
            *_table("_miroir_value", "$1 $2", _values(everything, words)),
            "",
            "# What stands at a position.",
            *_table("_miroir_argument", "$1 $2", _arguments(pages, words)),
            LOGIC.rstrip("\n"),
        ]
    )


def _table(name: str, subject: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    """A function that prints the second of the first row whose pattern is like its arguments."""
    lines = [f"        {pattern}) echo {shlex.quote(value)} ;;" for pattern, value in rows]
    return [f"{name}() {{", f'    case "{subject}" in', *lines, "    esac", "}"]


def _members(page: Page) -> str:
    return " ".join(name for name, _ in page.members or ())


def _options(page: Page) -> str:
    """The long spellings, and those that have no long one."""
    found = [name for option in page.options for name in (*option.spellings, *option.negative)]
    return " ".join([*found, "--help", "-h"])


def _values(pages: Iterable[Page], words: dict[str, Sequence[str]]) -> Iterable[tuple[str, str]]:
    for page in pages:
        for option in page.options:
            if option.value and (not option.is_global or not page.words):
                for name in option.spellings:
                    yield f'"{page.name} {name}"' if page.words else f'*" {name}"', _kind(option, words)


def _arguments(pages: Iterable[Page], words: dict[str, Sequence[str]]) -> Iterable[tuple[str, str]]:
    for page in pages:
        for position, argument in enumerate(page.arguments):
            kind = _kind(argument, words)
            if kind != "any":
                yield f'"{page.name} "*' if argument.repeated else f'"{page.name} {position}"', kind


def _kind(parameter: Parameter, words: dict[str, Sequence[str]]) -> str:
    known = parameter.choices or words.get(parameter.completes or "", ())
    return f"words {' '.join(known)}" if known else parameter.completes or "any"
