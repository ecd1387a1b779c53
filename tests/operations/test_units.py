"""The units of systemd and the crontab start what exists, with the statuses that their guide explains."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from miroir_cli.topology.file import load_topology
from tests.cli.test_textfile import values
from tests.conftest import ROOT, Miroir, clean_environment

FOLDER = ROOT / "docs" / "operations"
SERVICES = sorted([FOLDER / "miroir.service", *(FOLDER / "systemd").glob("*.service")])
TIMERS = sorted((FOLDER / "systemd").glob("*.timer"))
CRONTAB = FOLDER / "crontab"


def read(path: Path) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=")
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    return unit


def command_lines(path: Path) -> list[list[str]]:
    """The words of every command that a unit runs, without the program."""
    lines = re.findall(r"^ExecStart=(.*)$", path.read_text(), re.M)
    return [shlex.split(line)[1:] for line in lines]


def jobs() -> list[tuple[str, str]]:
    """The crontab's jobs: when, and the command for the shell."""
    lines = [line for line in CRONTAB.read_text().splitlines() if re.match(r"[\d*]", line)]
    return [(" ".join(line.split(None, 6)[:5]), line.split(None, 6)[6]) for line in lines]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    program = tmp_path / "miroir"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in (*SERVICES, *TIMERS):
        (tmp_path / path.name).write_text(path.read_text().replace("/usr/local/bin/miroir", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / path.name) for path in (*SERVICES, *TIMERS))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", TIMERS, ids=lambda path: path.name)
def test_every_timer_starts_a_service(path: Path) -> None:
    assert path.with_suffix(".service") in SERVICES
    calendar = read(path)["Timer"]["OnCalendar"]
    if shutil.which("systemd-analyze") is not None:
        subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, check=True)


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_every_service_has_the_same_place_user_and_locks(path: Path) -> None:
    service = read(path)["Service"]
    assert service["User"] == "miroir" and service["WorkingDirectory"] == "/var/lib/miroir"
    assert service["EnvironmentFile"] == "/etc/miroir/env" and service["ProtectSystem"] == "strict"
    assert service["StateDirectory"].split()[0] == "miroir"
    for words in command_lines(path):
        assert words[words.index("--topology") + 1] == "/etc/miroir/miroir.toml"
        for option, target in zip(words, words[1:], strict=False):
            if option == "--metrics-file":
                assert target.startswith("/var/lib/miroir/metrics/") and target.endswith(".prom")


@pytest.mark.parametrize(
    "path", [path for path in SERVICES if path.name != "miroir.service"], ids=lambda path: path.name
)
def test_a_lock_that_somebody_holds_is_no_failure(path: Path) -> None:
    assert "8" in read(path)["Service"]["SuccessExitStatus"].split()
    assert "13" not in read(path)["Service"]["SuccessExitStatus"].split()


def test_what_the_units_run_is_understood_and_does_it(stocked: Miroir, tmp_path: Path) -> None:
    topology = tmp_path / "miroir.toml"
    assert load_topology(topology).nodes
    (tmp_path / "metrics").mkdir()
    for path in (each for each in SERVICES if each.name != "miroir.service"):
        for words in command_lines(path):
            here = [
                word.replace("/etc/miroir/miroir.toml", str(topology))
                .replace("/var/lib/miroir", str(tmp_path))
                .replace("/var/backups/miroir", str(tmp_path / "backups"))
                for word in words
            ]
            done = stocked(*here)
            assert done.status == 0, (words, done.err)
            assert done.err == "", "the journal has only what somebody has to look at"
    written = {path.stem: values(path) for path in (tmp_path / "metrics").glob("*.prom")}
    assert set(written) == {path.stem.removeprefix("miroir-") for path in TIMERS}
    assert all(found["last_exit_status"] == 0 for found in written.values())


def in_cron(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a job as cron does: `sh`, no terminal, next to nothing in the environment."""
    here = command.replace("/etc/miroir/env", str(folder / "env")).replace("$STATE", str(folder))
    here = here.replace("/var/backups/miroir", str(folder / "backups"))
    environment = clean_environment(HOME=str(folder), MIROIR_TOPOLOGY=str(folder / "miroir.toml"))
    environment["PATH"] = f"{folder / 'bin'}:{environment['PATH']}"
    return subprocess.run(
        ["/bin/sh", "-c", here], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.fixture
def installed(stocked: Miroir, tmp_path: Path) -> Path:
    """A folder as the crontab wants it: the keys' file, a place for metrics, `miroir` on the path."""
    import sys

    (tmp_path / "env").write_text("MIROIR_NODE_KEY=unused\n")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "miroir"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.held "$@"\n')
    program.chmod(0o755)
    assert stocked("status").status == 0
    return tmp_path


def test_the_jobs_of_the_crontab_run_and_say_nothing(installed: Path) -> None:
    assert len(jobs()) == len(TIMERS)
    for when, command in jobs():
        assert len(when.split()) == 5
        done = in_cron(command, installed)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "cron mails whatever is printed: " + command


def test_the_jobs_hand_the_keys_file_of_the_units_on_to_miroir(installed: Path) -> None:
    (installed / "bin" / "miroir").write_text(f'#!/bin/sh\necho "$MIROIR_NODE_KEY" >> "{installed}/seen"\n')
    for _, command in jobs():
        in_cron(command, installed)
    seen = (installed / "seen").read_text().split()
    assert len(seen) > len(jobs()) and set(seen) == {"unused"}


def test_the_crontab_thins_out_backups_as_the_unit_does() -> None:
    unit = (FOLDER / "systemd" / "miroir-backup.service").read_text()
    kept = re.findall(r"--keep-\S+ \d+", unit)
    assert kept and re.findall(r"--keep-\S+ \d+", CRONTAB.read_text()) == kept


def test_cron_mails_what_failed_and_nothing_else(installed: Path) -> None:
    from tests.cli.conftest import somebody_runs

    rebalance = next(command for _, command in jobs() if " rebalance run " in command)
    topology = installed / "miroir.toml"
    topology.write_text(topology.read_text().replace("replicas = 2", "replicas = 1"))
    with somebody_runs(installed):
        locked = in_cron(rebalance, installed)
    assert (locked.returncode, locked.stderr) == (0, "")
    assert values(installed / "metrics" / "rebalance.prom")["last_exit_status"] == 8
    topology.write_text("[cluster\n")
    broken = in_cron(rebalance, installed)
    assert broken.stderr.startswith("error: topology file `")
