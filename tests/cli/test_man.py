"""The manual pages: one for each command, right to two formatters, found by man once they are installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from miroir_cli.cli.app import app
from miroir_cli.cli.tree import Page, walk
from tests.conftest import ROOT, clean_environment

MAN = ROOT / "man"
FILES = sorted(MAN.glob("*.1"))
PAGES = list(walk(get_command(app)))
SECTIONS = [
    "NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES", "SEE ALSO",
]  # fmt: skip


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def shown(*arguments: str, width: int = 80) -> str:
    """What `man` writes; it must have nothing to say beside that."""
    done = subprocess.run(
        [tool("man"), *arguments],
        env=clean_environment(MANWIDTH=str(width), LC_ALL="C.UTF-8", MANPAGER="cat"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "minimized" in done.stdout:
        pytest.skip("man shows no page here")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return re.sub(r".\x08", "", done.stdout)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: " ".join(page.words))
def test_every_command_has_a_page_with_its_sections(page: Page) -> None:
    source = (MAN / f"{page.name.replace(' ', '-')}.1").read_text()
    found = re.findall(r"^\.Sh (.+)$", source, re.M)
    assert found == [each for each in SECTIONS if each in found]
    assert set(SECTIONS) - set(found) <= {"OPTIONS"}
    assert {option.variable for option in page.options if option.variable and not option.is_global} <= set(
        re.findall(r"^\.It Ev (\w+)$", source, re.M)
    )


def test_pages_point_to_pages_that_exist() -> None:
    names = {path.stem for path in FILES}
    assert len(names) == len(PAGES) + 1
    for path in FILES:
        assert set(re.findall(r"^\.Xr (\S+) 1", path.read_text(), re.M)) <= names, path.name


def test_mandoc_finds_nothing_to_mend() -> None:
    done = subprocess.run([tool("mandoc"), "-T", "lint", *FILES], capture_output=True, text=True, check=False)
    told = (done.stdout + done.stderr).splitlines()
    # It looks for other pages where the system's are; the test before looks for them here.
    assert [line for line in told if "referenced manual not found: Xr miroir" not in line] == []


def test_man_has_no_warnings_and_pages_fit_a_terminal() -> None:
    text = shown("--warnings", "-E", "UTF-8", "-l", *map(str, FILES))
    assert text.count("\nSEE ALSO\n") == len(FILES)
    assert max(map(len, text.splitlines())) <= 80


def test_a_page_says_what_the_help_says() -> None:
    text = shown("-E", "UTF-8", "-l", str(MAN / "miroir-import.1"))
    plain = " ".join(text.replace("\u2010\n", "").replace(" \\\n", " ").split())
    (page,) = (page for page in PAGES if page.words == ("import",))
    assert f"miroir-import — {page.manual.summary.rstrip('.')}" in plain
    assert "miroir import [options] [INDEX] [FILE ...]" in text
    for option in page.options:
        assert option.is_global or f"{option.signature} " in plain, option.signature
    for example in page.manual.examples:
        assert example.command in plain
    assert "MIROIR_IMPORT_RETRY_FOR" in text


def test_installed_pages_are_found_by_name(tmp_path: Path) -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    target = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]["man"]
    shutil.copytree(MAN, tmp_path / target)
    found = shown("-M", os.fspath(tmp_path / "share" / "man"), "miroir-index-create")
    assert "miroir index create [options] UID" in found
