"""The files for those who operate it name what exists."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

import pytest
import yaml

from miroir_cli.cli.app import COMMANDS
from miroir_cli.metrics import CATALOGUE, JOBS, PREFIX

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "operations"
SUFFIXES = ("_bucket", "_sum", "_count")


def known() -> set[str]:
    names = {PREFIX + metric.name for metric in [*CATALOGUE, *JOBS]}
    return names | {
        f"{PREFIX}{metric.name}{end}" for metric in CATALOGUE if metric.kind == "histogram" for end in SUFFIXES
    }


@pytest.mark.parametrize("name", ["alerts.yml", "grafana.json"])
def test_alerts_and_dashboard_use_metrics_that_exist(name: str) -> None:
    used = set(re.findall(r"miroir_[a-z_]+", (FOLDER / name).read_text()))
    assert len(used) > 5
    assert used - known() == set()


def test_every_alert_says_what_it_means_and_how_the_cure_begins() -> None:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 8
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical") and rule["expr"].count("(") == rule["expr"].count(
            ")"
        )
        assert rule["annotations"]["summary"] and rule["annotations"]["cure"]
        for command in re.findall(r"miroir ([a-z]+)", rule["annotations"]["cure"]):
            assert command in COMMANDS, rule["alert"]


def test_labels_in_the_dashboard_are_those_of_the_metrics() -> None:
    labels = {PREFIX + metric.name: set(metric.labels) for metric in CATALOGUE}
    dashboard = json.loads((FOLDER / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            metric = re.search(r"(miroir_[a-z_]+?)(?:_bucket)?[\\[{)]", target["expr"] + ")")
            assert metric, target
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert label in labels[metric[1]], (panel["title"], label)


def test_the_unit_starts_what_exists_and_keeps_it_in() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(FOLDER / "miroir.service")
    assert "miroir --topology /etc/miroir/miroir.toml serve" in unit["Service"]["ExecStart"]
    for switch in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "MemoryDenyWriteExecute", "RestrictSUIDSGID"):
        assert unit["Service"][switch] == "yes"
    assert unit["Service"]["ProtectSystem"] == "strict"


def test_every_metric_of_the_catalogue_is_counted_somewhere() -> None:
    package = FOLDER.parents[1] / "miroir_cli"
    code = "".join(path.read_text() for path in package.rglob("*.py") if path.name != "metrics.py")
    counted = set(re.findall(r"\bmetrics\.([A-Z_]+)\b", code))
    names = set(re.findall(r"^([A-Z_]+) = _(?:metric|gauge|job)\(", (package / "metrics.py").read_text(), re.M))
    assert len(names) == len(CATALOGUE) + len(JOBS)
    assert names - counted == set()
