"""Write the pages of docs/reference that follow from the code; `--check` compares them instead.

commands.md from the command line's own definitions, errors.md from the error tree, topology.md from the example file
and the keys that the reader knows, settings.md from the settings that are checked,
embedded-node.md from the differences that the contract suite asserts.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperGroup
from typer.main import get_command

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from miroir_cli import errors  # noqa: E402
from miroir_cli.cli.app import GLOBAL_PANEL, app  # noqa: E402
from miroir_cli.dev.engine.differences import DIFFERENCES  # noqa: E402
from miroir_cli.errors import Interrupted, MiroirError, TopologyInvalid  # noqa: E402
from miroir_cli.indexes.settings import KEYS  # noqa: E402
from miroir_cli.topology.schema import parse  # noqa: E402

REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Written by docs/generate.py; change the code, then run `make docs`. -->\n"

EXIT_STATUSES = {
    0: "done",
    1: "unexpected; `-vv` shows where it came from",
    2: "the command line, a request or a document is wrong",
    3: "partial: some documents, nodes or shards failed, and they are named; `doctor` found errors or warnings",
    4: "not found",
    5: "temporary: run it again and it resumes",
    6: "the topology file, the settings or the state are invalid",
    8: "locked by another run (who, since when)",
    9: "changes are pending (`--detailed-exitcode`)",
    12: "authentication",
    13: "verify found differences",
    14: "refused, because it would lose data or coverage",
    130: "interrupted by ctrl-C (or a question answered with no), the journal saved",
    141: "the reader of standard output went away",
    143: "interrupted by SIGTERM, the journal saved",
}

MANAGED_SETTINGS = {
    "filterableAttributes": "gets miroir's shard marker added on the nodes, hidden from every answer",
    "rankingRules": "gets `<primary key>:asc` added as the last rule on the nodes (not with `--no-tie-break`), hidden",
    "faceting": "`maxValuesPerFacet` is raised on the nodes (to 1,000 at least, and to all values where a facet is "
    "ordered by count or there is a `distinctAttribute`); your value is applied when the answers are merged",
    "pagination": "`maxTotalHits` is raised on the nodes; your value is applied when the answers are merged",
    "displayedAttributes": "what the merge has to read is displayed on the nodes as well, and cut from every answer",
    "nonSeparatorTokens": "must not use one of the six signs that spell shard numbers",
    "dictionary": "must not use one of the six signs that spell shard numbers",
}


# commands


def commands() -> str:
    root: Any = get_command(app)
    lines = [NOTE, "# Commands", ""]
    lines += ["Global options stand before or after the command's name.", ""]
    lines += table(
        ["option", "variable", "meaning"],
        [
            (option_names(option), f"`MIROIR_{option.name.upper()}`", option.help)
            for option in root.params
            if getattr(option, "rich_help_panel", None) == GLOBAL_PANEL
        ],
    )
    lines += [
        "`--version` prints the version. Every option of a command has a variable as well: `MIROIR_`, the command's",
        "words and the option's name, such as `MIROIR_INDEX_CREATE_SHARDS`. Exit statuses: [errors](errors.md).",
        "JSON documents: [json](json.md).",
        "",
    ]
    for words, command in walk(root):
        lines += command_section(words, command)
    return "\n".join(lines)


def walk(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(command, TyperGroup):
        context: Any = None
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            yield (*words, name), member
            yield from walk(member, (*words, name))


def command_section(words: tuple[str, ...], command: Any) -> list[str]:
    lines = [f"{'#' * (len(words) + 1)} miroir {' '.join(words)}", "", inspect.cleandoc(command.help or ""), ""]
    if isinstance(command, TyperGroup):
        return lines
    own = [p for p in command.params if getattr(p, "rich_help_panel", None) != GLOBAL_PANEL]
    arguments = [p for p in own if p.param_type_name == "argument"]
    options = [p for p in own if p.param_type_name == "option"]
    usage = " ".join(["miroir", *words, *(["[OPTIONS]"] if options else []), *(argument_name(p) for p in arguments)])
    lines += ["```text", usage, "```", ""]
    if own:
        rows: list[tuple[str, ...]] = [(f"`{argument_name(p)}`", p.help) for p in arguments]
        rows += [(option_names(p), (p.help or "") + default_of(p)) for p in options]
        lines += table(["", ""], rows)
    return lines


def argument_name(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def option_names(option: Any) -> str:
    value = f" {option.metavar}" if option.metavar else "" if option.is_flag or option.count else f" {kind_of(option)}"
    return ", ".join(
        f"`{name}{value}`" for name in sorted([*option.opts, *option.secondary_opts], key=len, reverse=True)
    )


def kind_of(option: Any) -> str:
    choices = option.type_descriptor.choices
    return "|".join(str(getattr(choice, "value", choice)) for choice in choices) if choices else "VALUE"


def default_of(option: Any) -> str:
    if option.required:
        return " Required."
    if option.default in (None, False, (), []):
        return ""
    return f" Default: {getattr(option.default, 'value', option.default)}."


# errors


def error_page() -> str:
    lines = [NOTE, "# Errors and exit statuses", ""]
    lines += [
        "An error is one line that says what and where, an empty line, and a hint with the next step, on standard",
        'error. With `--json`, standard output holds `{"error": {"code", "message", "hint"}}` unless the command had',
        "printed its document before.",
        "",
        "## Exit statuses",
        "",
    ]
    lines += table(["status", "meaning"], [(str(status), meaning) for status, meaning in EXIT_STATUSES.items()])
    lines += ["## Errors", "", "Indented errors are special cases of the one above.", ""]
    lines += table(["error", "code", "exit", "meaning"], list(error_rows(MiroirError, drawn_meanings())))
    return "\n".join(lines)


def error_rows(kind: type[MiroirError], meanings: dict[str, str], depth: int = 0) -> Iterator[tuple[str, ...]]:
    status = "130, 143" if kind is Interrupted else str(kind.exit_status)
    yield "&emsp;" * depth + kind.__name__, f"`{kind.code}`", status, meanings.get(kind.__name__, "")
    for child in kind.__subclasses__():
        yield from error_rows(child, meanings, depth + 1)


def drawn_meanings() -> dict[str, str]:
    """What the tree at the top of errors.py says about each class."""
    found = {}
    for line in (errors.__doc__ or "").splitlines():
        words = line.strip("│├└─ ").split(maxsplit=2)
        if len(words) == 3 and words[1][0].isdigit():
            found[words[0]] = words[2]
    return found


# topology and settings


def topology() -> str:
    example = (REFERENCE / "miroir.example.toml").read_text()
    lines = [NOTE, "# The topology file", ""]
    lines += [
        "`miroir init` writes it. It is found in this order: `--topology`, `MIROIR_TOPOLOGY`, `./miroir.toml`,",
        "`~/.config/miroir/miroir.toml`. The nodes' keys are never written into it. A key of the file that miroir does",
        "not know is an error that names its path and the likely key.",
        "",
    ]
    lines += table(["table", "keys"], [(f"`{name}`", key_list(name)) for name in known_keys()])
    lines += ["## Example", "", "```toml", example.rstrip("\n"), "```", ""]
    return "\n".join(lines)


def key_list(name: str) -> str:
    return ", ".join(f"`{key}`" for key in known_keys()[name])


def known_keys() -> dict[str, list[str]]:
    """The keys of every table, as the reader itself lists them when it meets one that it does not know."""
    cluster, node = {"name": "x"}, {"name": "n1", "url": "http://a:1"}
    wrong = {"zzzzzzzz": 1}
    files: dict[str, dict[str, Any]] = {
        "[cluster]": {"cluster": {**cluster, **wrong}, "nodes": [node]},
        "[state]": {"cluster": cluster, "state": wrong, "nodes": [node]},
        "[defaults]": {"cluster": cluster, "defaults": wrong, "nodes": [node]},
        "[[nodes]]": {"cluster": cluster, "nodes": [{**node, **wrong}]},
    }
    return {name: listed_keys(content) for name, content in files.items()}


def listed_keys(content: dict[str, Any]) -> list[str]:
    try:
        parse(content, source="example")
    except TopologyInvalid as error:
        return (error.hint or "").partition("known here: ")[2].split(", ")
    raise AssertionError("an unknown key was accepted")


def settings() -> str:
    lines = [NOTE, "# Index settings", ""]
    lines += [
        "The settings of an index are those of Meilisearch, with its names and JSON values. They are checked before",
        "anything is sent, applied on every node under the index's order lock, and read back. In a file given to",
        "`index create --settings` or `index settings set --file`, null means the default.",
        "",
    ]
    lines += table(["setting", "what miroir does with it"], [(f"`{k}`", MANAGED_SETTINGS.get(k, "")) for k in KEYS])
    return "\n".join(lines)


# the embedded node


def embedded_node() -> str:
    lines = [NOTE, "# The embedded node", ""]
    lines += [
        "`miroir dev` and `miroir demo` start it where no `meilisearch` is found, and most tests run on it. It speaks",
        "Meilisearch's API and keeps its data on disk, and it is for development only: `status` warns when a cluster",
        "mixes it with real servers. One contract suite (`tests/contract`) holds it and Meilisearch to the same",
        "answers; these differences are known, and the suite fails when one of them is gone.",
        "",
    ]
    lines += table(["difference", "what it is"], [(f"`{name}`", text) for name, text in DIFFERENCES.items()])
    return "\n".join(lines)


# all of them


def table(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> list[str]:
    cells = [[(cell or "").replace("|", "\\|") for cell in row] for row in [tuple(headings), *rows]]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], "|" + "---|" * len(headings), *lines[1:], ""]


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands,
    "errors.md": error_page,
    "topology.md": topology,
    "settings.md": settings,
    "embedded-node.md": embedded_node,
}


def main() -> int:
    stale = []
    for name, render in PAGES.items():
        path = REFERENCE / name
        text = render().rstrip("\n") + "\n"
        if not path.exists() or path.read_text() != text:
            stale.append(f"docs/reference/{name}")
            if "--check" not in sys.argv:
                path.write_text(text)
    if stale:
        sys.stderr.write(f"{'not current' if '--check' in sys.argv else 'written'}: {', '.join(stale)}\n")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
