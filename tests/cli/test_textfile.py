"""`--metrics-file`: what a command leaves for node_exporter."""

from __future__ import annotations

import re
import stat
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.main import get_command

from miroir_cli import metrics
from miroir_cli.cli.app import app
from miroir_cli.cli.textfile import Job
from tests.cli.conftest import somebody_runs
from tests.conftest import Miroir

NAMES = {metrics.PREFIX + metric.name for metric in metrics.JOBS}


def read(file: Path) -> dict[str, tuple[dict[str, str], float]]:
    """The values of a file by name, without `miroir_job_`, as Prometheus's own parser understands them."""
    found = {}
    for family in text_string_to_metric_families(file.read_text()):
        assert family.type == "gauge" and family.documentation
        for sample in family.samples:
            assert sample.name in NAMES
            found[sample.name.removeprefix("miroir_job_")] = (dict(sample.labels), sample.value)
    return found


def values(file: Path) -> dict[str, float]:
    return {name: value for name, (_, value) in read(file).items()}


def test_a_command_that_ends_well_says_when_and_how_much(stocked: Miroir, tmp_path: Path) -> None:
    before = time.time()
    assert stocked("verify", "-q", "--metrics-file", "verify.prom").status == 0
    found = read(tmp_path / "verify.prom")
    assert {str(labels) for labels, _ in found.values()} == {str({"cluster": "test", "command": "verify", "index": ""})}
    numbers = values(tmp_path / "verify.prom")
    assert numbers["last_exit_status"] == 0 and numbers["last_documents"] == 60 and numbers["last_differences"] == 0
    assert before <= numbers["last_success_timestamp_seconds"] == numbers["last_run_timestamp_seconds"] <= time.time()
    assert 0 < numbers["last_duration_seconds"] < 60


def test_the_other_commands_that_are_scheduled_have_it_too(stocked: Miroir, tmp_path: Path) -> None:
    (tmp_path / "more.ndjson").write_text('{"id": 900, "title": "Solaris"}\n{"title": "without a key"}\n')
    assert stocked("import", "books", "more.ndjson", "--metrics-file", "import.prom").status == 3
    found = read(tmp_path / "import.prom")
    assert found["last_documents"] == ({"cluster": "test", "command": "import", "index": "books"}, 1)
    assert found["last_rejected_documents"][1] == 1 and found["last_exit_status"][1] == 3
    assert stocked("repair", "--metrics-file", "repair.prom").status == 0
    assert values(tmp_path / "repair.prom")["last_documents"] == 0
    assert stocked("rebalance", "run", "--yes", "--metrics-file", "rebalance.prom").status == 0
    assert read(tmp_path / "rebalance.prom")["last_exit_status"][0]["command"] == "rebalance run"


def test_a_backup_says_how_much_it_holds(stocked: Miroir, tmp_path: Path) -> None:
    assert stocked("backup", "create", "backups", "--metrics-file", "backup.prom").status == 0
    found = values(tmp_path / "backup.prom")
    assert found["last_documents"] == 60
    assert found["last_bytes"] == sum(path.stat().st_size for path in (tmp_path / "backups").rglob("*.ndjson.*"))


def test_a_failure_keeps_the_last_success(stocked: Miroir, tmp_path: Path) -> None:
    file = tmp_path / "rebalance.prom"
    arguments = ("rebalance", "run", "--yes", "--metrics-file", file.name)
    assert stocked(*arguments).status == 0
    success = values(file)["last_success_timestamp_seconds"]
    (tmp_path / "miroir.toml").write_text(
        (tmp_path / "miroir.toml").read_text().replace("replicas = 2", "replicas = 1")
    )
    with somebody_runs(tmp_path):
        assert stocked(*arguments).status == 8
    locked = values(file)
    assert locked["last_exit_status"] == 8 and locked["last_success_timestamp_seconds"] == success
    assert locked["last_run_timestamp_seconds"] > success
    (tmp_path / "miroir.toml").write_text("[cluster\n")
    assert stocked(*arguments).status == 6
    labels, status = read(file)["last_exit_status"]
    assert (labels["cluster"], status) == ("test", 6), "the same series, though the file cannot say its name any more"
    assert values(file)["last_success_timestamp_seconds"] == success


def test_the_file_is_readable_by_the_collector_and_never_half_written(stocked: Miroir, tmp_path: Path) -> None:
    file = tmp_path / "verify.prom"
    assert stocked("verify", "--metrics-file", str(file)).status == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    first = file.stat().st_ino
    assert stocked("verify", "--metrics-file", str(file)).status == 0
    assert file.stat().st_ino != first, "exchanged whole"
    assert [path.name for path in tmp_path.glob("verify.prom*")] == ["verify.prom"]


def test_what_only_says_what_it_would_do_leaves_no_file(stocked: Miroir, tmp_path: Path) -> None:
    assert stocked("repair", "--dry-run", "--metrics-file", "repair.prom").status == 0
    assert not (tmp_path / "repair.prom").exists()


def test_a_watch_does_not_end_and_has_none(stocked: Miroir) -> None:
    done = stocked("repair", "--watch", "--metrics-file", "repair.prom")
    assert done.status == 2 and "`--watch` does not" in done.err


def test_a_file_that_cannot_be_written_is_told_and_changes_nothing_else(stocked: Miroir, tmp_path: Path) -> None:
    done = stocked("verify", "--json", "--metrics-file", "nowhere/verify.prom")
    assert done.status == 0 and done.json["differences"] == []
    assert done.err.count("warning: cannot write `nowhere/verify.prom`: no such file or directory") == 1


@pytest.mark.parametrize("name", ["plain", 'a "quoted"\\ one', "two\nlines", "ünïcode"])
def test_names_of_all_kinds_come_back(tmp_path: Path, name: str) -> None:
    file = tmp_path / "job.prom"
    Job(file=file, command="verify", cluster=name).end(0)
    success = read(file)["last_success_timestamp_seconds"]
    assert success[0]["cluster"] == name
    Job(file=file, command="verify").end(5)
    assert read(file)["last_success_timestamp_seconds"] == success


def test_every_command_that_runs_at_night_has_the_option() -> None:
    having = {" ".join(words) for words, command in walk(get_command(app), ()) if takes_metrics_file(command)}
    assert having >= {"rebalance run", "verify", "repair", "import", "backup create", "backup verify"}


def walk(command: object, words: tuple[str, ...]) -> list[tuple[tuple[str, ...], object]]:
    if not hasattr(command, "list_commands"):
        return [(words, command)]
    names: list[str] = command.list_commands(None)
    return [
        found
        for name in names
        for found in walk(command.get_command(None, name), (*words, name))  # type: ignore[attr-defined]
    ]


def takes_metrics_file(command: object) -> bool:
    return any(option.name == "metrics_file" for option in getattr(command, "params", ()))


def test_the_catalogue_has_names_as_prometheus_wants_them() -> None:
    assert len(NAMES) == len(metrics.JOBS) == 8
    assert all(re.fullmatch(r"miroir_job_last_[a-z_]+", name) for name in NAMES)
    assert not NAMES & {metrics.PREFIX + metric.name for metric in metrics.CATALOGUE}
