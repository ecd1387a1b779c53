"""The GitHub workflow: its file is one, and its steps do on embedded nodes what the guide says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from miroir_cli.cli.app import COMMANDS
from miroir_cli.dev.engine.testing import Engine
from tests.cli.conftest import edit, take_out
from tests.conftest import ROOT, Miroir, clean_environment

FILE = ROOT / "docs" / "operations" / "github-workflow.yml"
WORKFLOW: dict[Any, Any] = yaml.safe_load(FILE.read_text())

PROGRAMS = {
    "miroir": f'exec "{sys.executable}" -m tests.held "$@"',
    "gh": 'echo "$*" >>gh.log; cat plan.md >>gh.log',
}


class Runner:
    """A runner of GitHub as far as the workflow needs it: the steps of a job, one after the other, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outputs: dict[str, str] = {}
        programs = folder / "programs"
        programs.mkdir()
        for name, script in PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        (folder / "etc").mkdir()
        self.environment = clean_environment(
            HOME=str(folder),
            PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
            GITHUB_STEP_SUMMARY=str(folder / "summary.md"),
            GITHUB_OUTPUT=str(folder / "output"),
        )

    def job(self, name: str) -> subprocess.CompletedProcess[str] | None:
        """Run a job's steps until one fails; None when all went well."""
        for step in WORKFLOW["jobs"][name]["steps"]:
            if "run" not in step or not self._wanted(step.get("if")):
                continue
            done = self._run(step)
            if done.returncode:
                return done
        return None

    def _run(self, step: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        variables = {**WORKFLOW["env"], **step.get("env", {}), "TOPOLOGY": str(self.folder / "etc" / "miroir.toml")}
        values = {name: re.sub(r"\$\{\{.*?\}\}", "17", value) for name, value in variables.items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env={**self.environment, **values},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        output = self.folder / "output"
        for line in output.read_text().splitlines() if output.exists() else ():
            key, _, value = line.partition("=")
            self.outputs[f"steps.{step.get('id')}.outputs.{key}"] = value
        return done

    def _wanted(self, condition: str | None) -> bool:
        if condition is None:
            return True
        name, _, value = condition.partition(" == ")
        return self.outputs[name] == value.strip("'")

    def read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""


@pytest.fixture
def runner(stocked: Miroir, tmp_path: Path) -> Runner:
    """In the checkout: the file of a cluster that is as the file says; its state lies elsewhere."""
    assert stocked("status").status == 0
    (tmp_path / ".miroir").rename(tmp_path / "state")
    edit(tmp_path, "sqlite:.miroir/state.db", f"sqlite:{tmp_path}/state/state.db")
    return Runner(tmp_path)


def test_github_understands_the_file() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(FILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_it_is_safe_by_its_own_words() -> None:
    plan, apply = WORKFLOW["jobs"]["plan"], WORKFLOW["jobs"]["apply"]
    assert "head.repo.full_name == github.repository" in plan["if"]
    assert apply["if"] == "github.event_name == 'push'" and WORKFLOW[True]["push"]["branches"] == ["main"]
    assert WORKFLOW["concurrency"]["cancel-in-progress"] is False
    commands = re.findall(r"\bmiroir (?:-t \S+ )?(?:--json )?([a-z-]+)", FILE.read_text().partition("jobs:")[2])
    assert set(commands) - {"rebalance"} <= set(COMMANDS) and commands


def test_nothing_to_do_is_green_and_says_nothing_on_the_pull_request(runner: Runner) -> None:
    assert runner.job("plan") is None
    assert "nothing to move" in runner.read("summary.md")
    assert runner.read("gh.log") == ""


def test_a_change_is_planned_on_the_pull_request_and_carried_out_on_the_merge(runner: Runner, tmp_path: Path) -> None:
    edit(tmp_path, "replicas = 2", "replicas = 1")
    assert runner.job("plan") is None
    assert "6 replicas to drop" in runner.read("summary.md")
    assert runner.read("gh.log").startswith(
        "pr comment 17 --edit-last --create-if-none --body-file plan.md\n### miroir"
    )
    assert "6 replicas to drop" in runner.read("gh.log")
    failed = runner.job("apply")
    assert failed is None, failed
    assert json.loads(runner.read("run.json"))["drops"] == 6
    assert runner.read("etc/miroir.toml") == runner.read("miroir.toml")
    (tmp_path / "gh.log").unlink()
    assert runner.job("plan") is None and runner.read("gh.log") == ""


def test_a_broken_file_is_red_before_anything_is_asked(runner: Runner, tmp_path: Path) -> None:
    edit(tmp_path, "replicas = 2", "replcas = 2")
    failed = runner.job("plan")
    assert failed is not None and failed.returncode == 6
    assert "replcas" in failed.stdout + failed.stderr


def test_a_file_that_asks_for_a_loss_is_red(runner: Runner, engines: list[Engine], tmp_path: Path) -> None:
    edit(tmp_path, "replicas = 2", "replicas = 1")
    assert runner.job("apply") is None
    engines[0].stop()
    take_out(tmp_path, "n1")
    failed = runner.job("plan")
    assert failed is not None and failed.returncode == 14
    assert runner.read("gh.log") == ""
