"""`completions/_miroir`: one function for each command, in the words of zsh's `_arguments`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miroir_cli.cli.tree import Page, Parameter

HEAD = r"""#compdef miroir
# miroir completions for zsh, written by docs/generate.py; change the commands, then run `make docs`.
# Load it with `source <(miroir completions zsh)` after compinit, or put it into a folder of $fpath before:
#   miroir completions zsh > "${fpath[1]}/_miroir"
"""

LOGIC = r"""
# What only the cluster knows is asked of miroir itself, with the line so far: it may name a topology file.
_miroir_live() {
  local program=${_miroir_line[1]} line
  local -a words_so_far=("${(@Q)_miroir_line[2,-1]}") values
  for line in "${(@f)$($~program __complete $1 "${(@)words_so_far}" 2>/dev/null)}"; do
    [[ -z $line ]] || values+=("${${line//:/\\:}/$'\t'/:}")
  done
  _describe -t $1 ${1%s} values
}

_miroir() {
  local -a _miroir_line=("${(@)words[1,CURRENT-1]}")
  _miroir_at_miroir
}

if [[ $funcstack[1] == _miroir ]]; then
  _miroir "$@"
else
  compdef _miroir miroir
fi
"""


def script(root: Page, pages: Sequence[Page], words: dict[str, Sequence[str]]) -> str:
    """The whole file; `words` are the values of kinds that are known without a cluster."""
    lines = [HEAD.rstrip("\n")]
    for page in (root, *pages):
        lines += ["", f"{_function(page.name)}() {{", *_body(page, words), "}"]
    return "\n".join([*lines, LOGIC.rstrip("\n")])


def _function(name: str) -> str:
    return f"_miroir_at_{name.replace(' ', '_').replace('-', '_')}"


def _body(page: Page, words: dict[str, Sequence[str]]) -> list[str]:
    options = [_option(option, words) for option in page.options] + ["'(-h --help)'{-h,--help}'[explain it]'"]
    if page.is_group:
        return [
            "  local curcontext=$curcontext state line",
            "  local -a commands=(",
            *(f"    {shlex.quote(f'{name}:{summary}')}" for name, summary in page.members or ()),
            "  )",
            "  _arguments -C -s \\",
            *(f"    {option} \\" for option in options),
            "    '1: :->command' '*:: :->rest'",
            "  case $state in",
            "    command) _describe -t commands command commands ;;",
            "    rest)",
            "      curcontext=${curcontext%:*}-$line[1]:",
            "      case $line[1] in",
            *(f"        {name}) {_function(f'{page.name} {name}')} ;;" for name, _ in page.members or ()),
            "      esac ;;",
            "  esac",
        ]
    arguments = [_argument(number, argument, words) for number, argument in enumerate(page.arguments, 1)]
    *first, last = [*options, *arguments]
    return ["  _arguments -s -S \\", *(f"    {each} \\" for each in first), f"    {last}"]


def _option(option: Parameter, words: dict[str, Sequence[str]]) -> str:
    """Such as `'(-n --limit)'{-n+,--limit=}'[How many]:N: '`: an option, what excludes it, its text and its value."""
    names = [*option.letters_first, *option.negative]
    text = f"[{_escaped(option.help)}]"
    value = f":{_escaped(option.value)}:{_action(option, words)}" if option.value else ""
    spelled = [f"{name}{('=' if name.startswith('--') else '+') if option.value else ''}" for name in names]
    excluded = "*" if option.repeated or not option.value and option.name == "verbose" else f"({' '.join(names)})"
    if len(spelled) == 1:
        return shlex.quote(f"{'*' if excluded == '*' else ''}{spelled[0]}{text}{value}")
    return f"{shlex.quote(excluded)}{{{','.join(spelled)}}}{shlex.quote(text + value)}"


def _argument(number: int, argument: Parameter, words: dict[str, Sequence[str]]) -> str:
    where = "*" if argument.repeated else f"{number}" if argument.required else f"{number}:"
    return shlex.quote(f"{where}:{_escaped(argument.value or argument.name)}:{_action(argument, words)}")


def _action(parameter: Parameter, words: dict[str, Sequence[str]]) -> str:
    known = parameter.choices or words.get(parameter.completes or "", ())
    if known:
        return f"({' '.join(known)})"
    return {None: " ", "files": "_files", "folders": "_files -/"}.get(
        parameter.completes, f"{{_miroir_live {parameter.completes}}}"
    )


def _escaped(text: str) -> str:
    for sign in "\\[]:":
        text = text.replace(sign, f"\\{sign}")
    return text
