"""`miroir doctor`: what people read, what scripts rely on, and its exit status."""

from __future__ import annotations

import shutil
from pathlib import Path

from miroir_cli.dev.engine.testing import Engine
from tests.backends import about_the_file
from tests.conftest import Miroir

pytestmark = about_the_file("of Redis there is always something to say: tests/checkup/test_redis.py")


def test_all_is_well(ready: Miroir) -> None:
    assert ready("index", "create", "books", "-k", "id").status == 0
    done = ready("doctor")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("all is well: ")
    found = ready("doctor", "--json")
    assert found.status == 0
    assert found.json["findings"] == []
    assert found.json["checked"] > 40


def test_information_alone_is_no_reason_to_fail(ready: Miroir) -> None:
    done = ready("doctor")
    assert (done.status, done.err) == (0, "")
    assert (
        done.out
        == "info: nothing was stored in this cluster yet\n  run `miroir index create UID --primary-key FIELD`\n"
    )


def test_findings_are_listed_the_worst_first_and_it_fails_with_3(ready: Miroir, engines: list[Engine]) -> None:
    ready("index", "create", "books", "-k", "id")
    engines[0].wipe()
    engines[1].stop()
    done = ready("doctor")
    assert done.status == 3
    lines = done.out.splitlines()
    assert lines[0].startswith("error: node `n2` cannot be reached at ")
    assert lines[1].startswith("  start the server; ")
    assert all(line.startswith("  ") for line in lines[1::2])
    assert done.err.startswith("error: found 2 errors\n")
    found = ready("doctor", "--json")
    assert found.status == 3
    for finding in found.json["findings"]:
        assert set(finding) == {"severity", "check", "where", "message", "hint", "next"}
    assert [finding["check"] for finding in found.json["findings"]] == ["node.down", "node.disk"]
    assert [finding["severity"] for finding in found.json["findings"]] == ["error", "error"]


def test_it_needs_a_topology_file_and_no_state_file(ready: Miroir, miroir: Miroir, tmp_path: Path) -> None:
    ready("index", "create", "books", "-k", "id")
    shutil.rmtree(tmp_path / ".miroir")
    done = ready("doctor")
    assert done.status == 3
    assert "miroir state recover" in done.out
    assert not (tmp_path / ".miroir").exists()
    (tmp_path / "miroir.toml").unlink()
    done = miroir("doctor")
    assert done.status == 6
    assert "miroir init" in done.err


def test_what_makes_it_fail_is_chosen(ready: Miroir, engines: list[Engine]) -> None:
    for fail_on, status in (("error", 0), ("warning", 0), ("info", 3), ("none", 0)):
        done = ready("doctor", "--fail-on", fail_on)
        assert (done.status, "nothing was stored" in done.out) == (status, True)
    engines[1].stop()
    for fail_on, status in (("error", 3), ("none", 0)):
        assert ready("doctor", "--fail-on", fail_on).status == status
    assert ready("doctor", "--fail-on", "all").status == 2


def test_checks_are_chosen_and_listed(ready: Miroir, miroir: Miroir, engines: list[Engine], tmp_path: Path) -> None:
    engines[1].stop()
    done = ready("doctor", "--check", "state")
    assert (done.status, done.out.count("\n")) == (0, 2)
    found = ready("doctor", "--check", "node", "--skip", "node.down", "--json")
    assert (found.status, found.json["findings"]) == (0, [])
    assert found.json["checked"] > 10
    done = ready("doctor", "--check", "node.dwon")
    assert (done.status, "did you mean `node.down`?" in done.err) == (2, True)
    (tmp_path / "miroir.toml").unlink()
    listed = miroir("doctor", "--list-checks", "--check", "node.down", "--json")
    assert listed.status == 0
    assert listed.json == {
        "checks": [{"check": "node.down", "severity": "error", "about": "whether each node can be reached"}]
    }
    assert "node.down" in miroir("doctor", "--list-checks").out
