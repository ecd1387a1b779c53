"""How the demo shows commands."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import pytest

from miroir_cli.dev.stage import Stage, broken
from miroir_cli.errors import MiroirError
from tests.conftest import clean_environment

LINE = "miroir search clocks 'summer time' --filter 'year = 1916' --sort timestamp:asc --limit 4"


def play(directory: Path) -> Stage:
    return Stage(directory=directory, out=io.StringIO(), environ=clean_environment(), plain=True)


@pytest.mark.parametrize("width", [20, 40, 58, 78, 200])
def test_a_broken_command_line_is_the_same_to_the_shell(width: int) -> None:
    joined = "".join(broken(LINE, width)).replace("\\\n", "")  # as a shell joins lines
    assert shlex.split(joined) == shlex.split(LINE)


def test_a_command_line_is_broken_before_an_option_and_fits() -> None:
    assert "".join(broken(LINE, 60)).splitlines() == [
        "miroir search clocks 'summer time' --filter 'year = 1916' \\",
        "    --sort timestamp:asc --limit 4",
    ]


def test_a_command_line_that_fits_stays_whole() -> None:
    assert broken(LINE, 120) == [LINE]


async def test_off_a_terminal_a_command_is_one_line_without_colour(tmp_path: Path) -> None:
    played = play(tmp_path)
    await played.type(LINE)
    assert isinstance(played.out, io.StringIO)
    assert played.out.getvalue() == f"\n$ {LINE}\n"


async def test_a_command_that_fails_ends_the_demo(tmp_path: Path) -> None:
    played = play(tmp_path)
    with pytest.raises(MiroirError, match="`miroir nonsense` ended with exit status 2"):
        await played.run("nonsense")
