"""`completions/miroir.fish`: one `complete` for each command, option and position, each under the condition that the
line so far is at that place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miroir_cli.cli.tree import Page, Parameter

HEAD = r"""# miroir completions for fish, written by docs/generate.py; change the commands, then run `make docs`.
# Load it with `miroir completions fish | source`, or put it where fish looks:
#   miroir completions fish > ~/.config/fish/completions/miroir.fish

# Options that are followed by a value.
set -g __miroir_valued {valued}

# The words of the line so far that are neither options nor their values.
function __miroir_words
    set -l value
    set -l literal
    for token in (commandline -opc)[2..-1]
        if set -q value[1]
            set -e value[1]
        else if set -q literal[1]
            echo -- $token
        else if test "$token" = --
            set literal yes
        else if contains -- $token $__miroir_valued
            set value yes
        else if not string match -q -- '-*' $token
            echo -- $token
        end
    end
end

# Whether the line is at a command, and at this argument of it: a number, `from N` on, or `any`.
function __miroir_at --argument-names position
    set -l path $argv[2..-1]
    set -l words (__miroir_words)
    set -l more (math (count $words) - (count $path))
    test $more -ge 0; or return 1
    for i in (seq (count $path))
        test "$words[$i]" = "$path[$i]"; or return 1
    end
    switch $position
        case any
            return 0
        case 'from*'
            test $more -ge (string replace from '' -- $position)
        case '*'
            test $more -eq $position
    end
end

# What only the cluster knows is asked of miroir itself, with the line so far: it may name a topology file.
function __miroir_live
    set -l tokens (commandline -opc)
    eval (string escape -- (string replace -r '^~/' "$HOME/" -- $tokens[1])) __complete $argv[1] \
        (string escape -- $tokens[2..-1]) 2>/dev/null
end

complete -c miroir -e
complete -c miroir -f
complete -c miroir -s h -l help -d 'explain it'
"""


def script(root: Page, pages: Sequence[Page], words: dict[str, Sequence[str]]) -> str:
    """The whole file; `words` are the values of kinds that are known without a cluster."""
    everything = [root, *pages]
    valued = sorted({name for page in everything for each in page.options if each.value for name in each.spellings})
    lines = [HEAD.replace("{valued}", " ".join(valued)).rstrip("\n")]
    for page in everything:
        lines += ["", f"# {page.name}", *_lines(page, words)]
    return "\n".join(lines)


def _lines(page: Page, words: dict[str, Sequence[str]]) -> Iterator[str]:
    path = " ".join(page.words)
    for name, summary in page.members or ():
        yield f"complete -c miroir -n '{_at('0', path)}' -a {name} -d {_quoted(summary)}"
    for option in page.options:
        if option.is_global and not page.words:
            yield f"complete -c miroir{_option(option, words)}"
        elif not option.is_global:
            yield f"complete -c miroir -n '{_at('any' if page.words else '0', path)}'{_option(option, words)}"
    for position, argument in enumerate(page.arguments):
        value = _value(argument, words)
        if value:
            where = f"from{position}" if argument.repeated else str(position)
            yield f"complete -c miroir -n '{_at(where, path)}'{value}"


def _at(position: str, path: str) -> str:
    return f"__miroir_at {position} {path}".rstrip()


def _option(option: Parameter, words: dict[str, Sequence[str]]) -> str:
    parts = [f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in option.spellings]
    parts += [f" -l {name[2:]}" for name in option.negative]
    value = _value(option, words)
    requires = "" if not option.value else " -r" if value.endswith("-F") else " -x"
    return f"{''.join(parts)}{requires}{value} -d {_quoted(option.help)}"


def _value(parameter: Parameter, words: dict[str, Sequence[str]]) -> str:
    known = parameter.choices or words.get(parameter.completes or "", ())
    if known:
        return f" -a '{' '.join(known)}'"
    return {
        None: "",
        "files": " -F",
        "folders": " -a '(__fish_complete_directories)'",
    }.get(parameter.completes, f" -a '(__miroir_live {parameter.completes})'")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
