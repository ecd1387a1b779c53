"""What miroir needs at run time: all of it known, with its licence; and what an audit makes of answers."""

from __future__ import annotations

import json
import subprocess
import tomllib

import pytest

from miroir_cli import __version__
from release.audit import NotAsked, ask, main, pinned, read_report
from release.dependencies import DEPENDENCIES, EXTRAS, ROOT, closure, stated_licence
from tests import conftest

PROJECT = tomllib.loads((conftest.ROOT / "pyproject.toml").read_text())["project"]
COPYLEFT = ("GPL", "AGPL", "SSPL", "BUSL")


def test_everything_that_is_installed_for_it_is_listed_with_its_licence() -> None:
    installed = {name: package for name, package in closure(EXTRAS).items() if name != ROOT}
    assert {name for name in installed if name not in DEPENDENCIES} == set(), "add them to release/dependencies.py"
    wrong = {
        name: said
        for name, package in installed.items()
        if (said := stated_licence(package)) is not None and said != DEPENDENCIES[name].licence
    }
    assert wrong == {}


def test_what_miroir_names_itself_has_a_purpose_and_nothing_else_has() -> None:
    extras = [line for extra, lines in PROJECT["optional-dependencies"].items() if extra != "dev" for line in lines]
    named = {line.split(">")[0].split("[")[0].strip() for line in [*PROJECT["dependencies"], *extras]}
    with_purpose = {name for name, each in DEPENDENCIES.items() if each.purpose}
    assert named <= with_purpose
    assert with_purpose - named <= {"fsspec"}


def test_no_licence_asks_for_miroir_s_own_source() -> None:
    for name, each in DEPENDENCIES.items():
        assert not any(word in each.licence for word in COPYLEFT), name


def test_the_version_stands_in_one_place() -> None:
    assert PROJECT["dynamic"] == ["version"] and "version" not in PROJECT
    assert f'"{__version__}"' not in (conftest.ROOT / "pyproject.toml").read_text()


# the audit

FOUND = {
    "dependencies": [
        {"name": "idna", "version": "3.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.7"], "aliases": []}]},
        {"name": "h11", "version": "0.16.0", "vulns": []},
        {"name": "rich", "skip_reason": "not found"},
    ]
}


def test_what_the_index_tells_is_read() -> None:
    report = read_report(json.dumps(FOUND), "")
    assert [(each.package, each.id, list(each.fixed)) for each in report.found] == [("idna", "PYSEC-1", ["3.7"])]
    assert (report.audited, list(report.silent)) == (2, ["rich"])


@pytest.mark.parametrize(
    ("output", "complaints", "reason"),
    [
        ("", "\nConnectionError: nobody there\n", "ConnectionError: nobody there"),
        ("", "", "printed nothing"),
        ('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}', "", "tells nothing of vulnerabilities"),
    ],
)
def test_silence_is_not_taken_for_safety(output: str, complaints: str, reason: str) -> None:
    with pytest.raises(NotAsked, match=reason):
        read_report(output, complaints)


NOWHERE = ("--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:9/v1/query")
"""A service that nobody offers."""


def test_an_audit_without_a_network_says_so_and_is_content(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(NOWHERE) == 0
    assert capsys.readouterr().out.startswith("audit of dependencies skipped: ")


def test_an_audit_that_takes_too_long_is_ended() -> None:
    with pytest.raises(NotAsked, match="no answer within"):
        ask(pinned(), options=NOWHERE, limit=0.05)


def test_what_is_audited_is_pinned_and_leaves_miroir_out() -> None:
    lines = pinned().splitlines()
    assert len(lines) > 20
    assert all("==" in line for line in lines)
    assert not any(line.startswith(f"{ROOT}==") for line in lines)


def test_the_script_of_the_checks_is_a_script() -> None:
    path = conftest.ROOT / ".ci" / "run"
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    assert path.stat().st_mode & 0o100
