"""Help as text: docstrings taken apart, pages laid out at all widths, and what every command's page must have."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from typer.main import get_command

from miroir_cli.cli.app import COMMANDS, SECTIONS, app, sections
from miroir_cli.cli.help import continued, help_text
from miroir_cli.cli.manual import LONGEST_SUMMARY, Example, Manual, read_manual
from miroir_cli.cli.tree import Page, Parameter, walk
from miroir_cli.errors import known_instead
from tests.conftest import Miroir, clean_environment

PAGES = list(walk(get_command(app)))
LEAVES = [page for page in PAGES if not page.is_group]
LONGEST_ROOT_SUMMARY = 63
"""So that each command of `miroir --help` has one line on a terminal of 80 columns."""


def ids(page: Page) -> str:
    return " ".join(page.words)


# docstrings


def test_a_docstring_is_a_sentence_paragraphs_and_examples() -> None:
    found = read_manual(
        """Do it.

        A paragraph that
        goes on.

        Another one.

        Examples:
          miroir do it
          echo '# no' | miroir do -      # from elsewhere
        """
    )
    assert found == Manual(
        summary="Do it.",
        paragraphs=("A paragraph that goes on.", "Another one."),
        examples=(Example(command="miroir do it"), Example(command="echo '# no' | miroir do -", why="from elsewhere")),
    )


def test_a_docstring_may_be_a_sentence_alone_or_nothing() -> None:
    assert read_manual("Do it.") == Manual(summary="Do it.")
    assert read_manual("") == Manual(summary="")


# the page of a command

PAGE = Page(
    words=("do",),
    manual=Manual(
        summary="Do it.",
        paragraphs=("More is to be said about doing it, more than fits on one line of a terminal that is narrow.",),
        examples=(Example(command="miroir do 'a b' --how well --again and again", why="with care"),),
    ),
    arguments=(Parameter(name="what", is_option=False, value="WHAT", help="What to do.", required=True),),
    options=(
        Parameter(
            name="how", is_option=True, spellings=("--how", "-h"), value="WAY", help="The way.", default="well",
            variable="MIROIR_DO_HOW",
        ),
        Parameter(name="dry", is_option=True, spellings=("--dry-run",), help="Do nothing.", group="Safety"),
        Parameter(name="json", is_option=True, spellings=("--json",), help="Print JSON.", group="Global options"),
    ),
)  # fmt: skip


def test_the_page_of_a_command_at_80_columns() -> None:
    assert help_text(PAGE, width=80) == (
        """\
Do it.

Usage: miroir do [OPTIONS] WHAT

More is to be said about doing it, more than fits on one line of a terminal that
is narrow.

Examples:
  miroir do 'a b' --how well --again and again  # with care

Arguments:
  WHAT  What to do.

Options:
  -h, --how WAY  The way. Default: well.

Safety:
      --dry-run  Do nothing.

Global options:
      --json     Print JSON.

Every option can be given as a variable: `--how WAY` is MIROIR_DO_HOW=WAY, and
of the global ones `--json` is MIROIR_JSON=1."""
    )


def test_in_a_narrow_window_texts_stand_below_names_and_lines_to_type_are_continued() -> None:
    text = help_text(PAGE, width=40)
    assert (
        """
Examples:
  # with care
  miroir do 'a b' --how well --again \\
    and again

Arguments:
  WHAT
      What to do.

Options:
  -h, --how WAY
      The way. Default: well.
"""
        in text
    )


def test_what_a_line_is_for_stands_behind_it_where_that_fits() -> None:
    examples = (
        Example(command="miroir a", why="short"),
        Example(command="miroir a long line to type", why="and as much about it"),
        Example(command="miroir do", why="fits"),
        Example(command="miroir do --twice"),
    )
    page = Page(words=("a",), manual=Manual(summary="A.", examples=examples))
    assert """
Examples:
  miroir a   # short
  # and as much about it
  miroir a long line to type
  miroir do  # fits
  miroir do --twice
""" in help_text(page, width=45)


def test_continued_lines_are_the_same_command() -> None:
    line = """miroir index settings set books synonyms='{"sf": ["science fiction"]}' stopWords=null --dry-run"""
    lines = continued(line, 40)
    assert len(lines) > 2
    assert " ".join(part.removesuffix("\\").strip() for part in lines) == line
    assert """synonyms='{"sf": ["science fiction"]}'""" in "".join(lines)


@pytest.mark.parametrize("width", [40, 60, 80, 100])
@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_page_fits_but_for_words_that_cannot_be_broken(page: Page, width: int) -> None:
    for line in help_text(page, width=width).splitlines():
        assert len(line) <= width or len(continued(line.rstrip(" \\"), 20)) == 1, line


# what every page must have


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_has_a_line_a_paragraph_and_examples(page: Page) -> None:
    summary = page.manual.summary
    assert summary[0].isupper() and summary.endswith(".") and ". " not in summary, summary
    assert len(summary) <= (LONGEST_SUMMARY if len(page.words) > 1 else LONGEST_ROOT_SUMMARY), summary
    assert page.manual.paragraphs or len(page.arguments) + len(page.options) < 9, "no paragraph"
    assert page.manual.examples, "no example"
    for example in page.manual.examples:
        assert page.name in example.command, example


@pytest.mark.parametrize("page", LEAVES, ids=ids)
def test_a_command_with_many_options_has_them_in_groups(page: Page) -> None:
    own = [option for option in page.options if not option.is_global]
    assert len(own) <= 6 or len({option.group for option in own}) > 1


def test_what_means_the_same_is_spelled_and_told_the_same() -> None:
    spellings: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    values: dict[str, set[str | None]] = defaultdict(set)
    texts: dict[str, set[str]] = defaultdict(set)
    letters: dict[str, set[str]] = defaultdict(set)
    for page in LEAVES:
        for option in page.options:
            long = option.spellings[0]
            spellings[long].add(option.spellings)
            values[long].add(option.value)
            texts[long].add(option.help)
            for letter in option.spellings:
                if not letter.startswith("--"):
                    letters[letter].add(long)
    assert {long: found for long, found in spellings.items() if len(found) > 1} == {}
    assert {letter: found for letter, found in letters.items() if len(found) > 1} == {}
    assert {long for long, found in values.items() if len(found) > 1} <= {"--node", "--format", "--from", "--state"}
    shared = (
        "--yes",
        "--dry-run",
        "--rate",
        "--parallel",
        "--retry-for",
        "--filter",
        "--limit",
        "--fields",
        "--interval",
    )
    assert {long: texts[long] for long in shared if len(texts[long]) > 1} == {
        "--limit": texts["--limit"],  # of the journal there is a default that can be told
        "--rate": {"At most so many documents a second.", "At most so many documents a second; 0: no limit."},
    }


def test_arguments_that_mean_an_index_or_a_node_are_called_that() -> None:
    for page in LEAVES:
        for argument in page.arguments:
            assert argument.value != "UID" or page.words == ("index", "create"), page.name
            if "index" in argument.help.lower() and argument.value == "INDEX":
                assert argument.completes == "indexes"


# `miroir --help`


def test_every_command_has_a_place_and_a_line_of_its_own(miroir: Miroir) -> None:
    placed = [name for names in SECTIONS.values() for name in names]
    assert len(placed) == len(set(placed))
    assert set(COMMANDS) <= set(placed), "give it a place in SECTIONS of cli/app.py"
    lines = miroir("--help", env={"COLUMNS": "80"}).out.splitlines()
    for heading, rows in sections().items():
        assert f"{heading}:" in lines
        for name, summary in rows:
            assert any(line.startswith(f"  {name} ") and line.endswith(f"  {summary}") for line in lines), name


@pytest.mark.parametrize("columns", ["20", "40", "80", "400"])
def test_help_is_as_wide_as_the_terminal_within_reason(miroir: Miroir, columns: str) -> None:
    widest = max(map(len, miroir("import", "--help", env={"COLUMNS": columns}).out.splitlines()))
    assert widest <= max(40, min(100, int(columns)))
    assert widest >= min(70, int(columns))


HEAVY = {
    "httpx", "sqlite3", "sqlite_utils", "msgspec", "tomlkit", "httptools", "starlette", "uvicorn", "pyarrow", "xxhash",
    "asyncio", "rich", "socket",
}  # fmt: skip


@pytest.mark.parametrize("words", [["--help"], ["--version"], []], ids=str)
def test_help_loads_nothing_heavy_and_no_command(words: list[str]) -> None:
    code = (
        f"import sys; from miroir_cli.cli.app import main; main({words!r}); "
        "print(*(name for name in sys.modules if name.count('.') < 3), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, text=True, check=True, timeout=50
    )
    loaded = set(done.stderr.split())
    assert not HEAVY & loaded
    modules = {name for name in loaded if name.startswith("miroir_cli.")}
    assert modules <= {"miroir_cli.cli", "miroir_cli.errors"} | {
        f"miroir_cli.cli.{name}"
        for name in (
            "app",
            "console",
            "ending",
            "failure",
            "global_options",
            "help",
            "interruption",
            "manual",
            "prose",
            "streams",
            "summaries",
            "tree",
        )  # fmt: skip
    }


# help and mistakes, whatever the topology


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_help_needs_no_topology_that_is_right(page: Page, miroir: Miroir, tmp_path: Path) -> None:
    (tmp_path / "miroir.toml").write_text("this is = not [[ a topology file")
    done = miroir("-t", "gone.toml", *page.words, "--help", env={"MIROIR_TOPOLOGY": "elsewhere.toml"})
    assert done.status == 0 and not done.err
    assert done.out.startswith(f"{page.manual.summary[:30]}")


UNKNOWN = "--no-such-option-anywhere"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_a_mistake_in_a_command_is_one_line_and_the_next_step(page: Page, miroir: Miroir) -> None:
    required = ["x"] * sum(argument.required for argument in page.arguments)
    lines = [[*page.words, UNKNOWN, *required]]
    if page.is_group:
        lines.append([*page.words, "no-such-command"])
    if required:
        lines.append([*page.words, *required[1:]])
    if not page.is_group and not any(argument.repeated for argument in page.arguments):
        lines.append([*page.words, *["x"] * (len(page.arguments) + 1)])
    for option in page.options:
        name = option.spellings[0]
        if option.value:
            lines.append([*page.words, *required, name])
        if option.choices:
            lines.append([*page.words, *required, name, "no-such-choice"])
        if option.value in ("N", "SECONDS", "PORT", "W", "X", "S", "R", "BYTES", "SHARE"):
            lines.append([*page.words, *required, name, "many"])
        if not option.is_global:
            lines.append([*page.words, *required, f"{name}x"])
    for words in lines:
        done = miroir(*words)
        assert (done.status, done.out) == (2, ""), words
        first, empty, second = done.err.rstrip("\n").split("\n")
        assert first.startswith("error: ") and empty == "" and second.startswith("hint: "), done.err
        assert "'" not in first and not first.endswith("."), first
        assert "did you mean" in second or second.startswith("hint: there ") or f"`{page.name} --help`" in second, (
            second
        )


def test_names_that_nothing_has_are_answered_with_those_that_there_are(stocked: Miroir) -> None:
    for words, message, hint in (
        (["search", "boks"], "index `boks` not found", "did you mean `books`?"),
        (["import", "Books", "books.ndjson"], "index `Books` not found", "did you mean `books`?"),
        (["index", "show", "films"], "index `films` not found", "there is `books`"),
        (["node", "drain", "node3"], "node `node3` is not in", "there are `n1`, `n2`, `n3`"),
        (["node", "replace", "n9", "n4=http://127.0.0.1:1"], "node `n9` is not in", "there are `n1`, `n2`, `n3`"),
        (["repair", "--prefer", "m1"], "node `m1` is not in", "there are `n1`, `n2`, `n3`"),
        (["repair", "--accept-data-loss", "--from", "n7"], "node `n7` is not in", "there are `n1`, `n2`, `n3`"),
        (["state", "recover", "--accept-loss", "n7"], "no node is called `n7`", "there are `n1`, `n2`, `n3`"),
        (["journal", "show", "70"], "run 70 not found", "run `miroir journal list`"),
    ):
        done = stocked(*words)
        assert done.status == 4, done.err
        assert message in done.err and f"hint: {hint}" in done.err, done.err


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("Books", ["books", "films"], "did you mean `books`?"),
        ("zebra", ["books", "films"], "there are `books`, `films`"),
        ("zebra", ["books"], "there is `books`"),
        ("zebra", [], "run `it`"),
        ("zebra", [f"index{number}" for number in range(9)], "run `it`"),
    ],
)
def test_the_hint_for_an_unknown_name(name: str, known: list[str], hint: str) -> None:
    assert known_instead(name, known, listing="it") == hint
