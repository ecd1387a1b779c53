"""Documentation that cannot rot: generated pages are current, links lead somewhere, commands in pages run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from miroir_cli.checkup.facts import TroubleKind
from miroir_cli.cli.app import COMMANDS
from miroir_cli.dev.engine.testing import Engine, running_engine
from miroir_cli.model import ReplicaState
from miroir_cli.topology.file import load_topology
from tests.conftest import ROOT, clean_environment

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
KEY = "a-key-of-more-than-sixteen-bytes"


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, DOCS / "generate.py", "--check"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}run `make docs`"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_explained_somewhere_in_prose(command: str) -> None:
    prose = "".join(page.read_text() for page in PAGES if page.parent.name != "reference")
    assert f"miroir {command}" in prose


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_page_of_the_documentation_is_in_its_index(page: Path) -> None:
    if page.is_relative_to(DOCS) and page != DOCS / "README.md":
        assert f"({page.relative_to(DOCS).as_posix()})" in (DOCS / "README.md").read_text()


def test_every_picture_is_recorded_by_a_scene_and_shown_on_a_page() -> None:
    scenes = set(re.findall(r'^    "([a-z-]+)": \w+,$', (DOCS / "pictures.py").read_text(), re.M))
    files = {path.stem for path in (DOCS / "pictures").glob("*.svg")}
    shown = {name for page in PAGES for name in re.findall(r"\(\.\./pictures/([a-z-]+)\.svg\)", page.read_text())}
    assert len(scenes) >= 5 and scenes == files == shown


def test_pages_that_errors_and_modules_point_to_exist() -> None:
    for path in (ROOT / "miroir_cli").rglob("*.py"):
        for target in re.findall(r"docs/[a-z/-]+\.md", path.read_text()):
            assert (ROOT / target).exists(), f"{name_of(path)} points to {target}"


def test_every_check_of_the_doctor_is_in_the_guide() -> None:
    pages = sorted((ROOT / "miroir_cli" / "checkup").glob("*.py"))
    source = "".join(path.read_text() for path in pages if path.name != "config_rules.py")  # that one names settings
    kinds = "node|key|index|replica|settings|write|import|lock|state"
    checks = set(re.findall(rf'"((?:{kinds})\.[a-z-]+)"', source))
    checks |= {f"node.{kind.value}" for kind in TroubleKind}
    checks |= {f"replica.{state.value}" for state in ReplicaState if state is not ReplicaState.SERVING}
    assert len(checks) > 35
    page = (DOCS / "guides" / "when-something-is-wrong.md").read_text()
    assert {check for check in checks if f"`{check}`" not in page} == set()


def test_the_example_topology_is_right_and_shows_every_key() -> None:
    example = DOCS / "reference" / "miroir.example.toml"
    assert len(load_topology(example).nodes) == 3
    table = blocks(DOCS / "reference" / "topology.md", "toml")[0]
    assert table == example.read_text()
    for name, keys in re.findall(r"^\| `(\[.+\])` \| (.+) \|$", (DOCS / "reference/topology.md").read_text(), re.M):
        for key in re.findall(r"`(\w+)`", keys):
            assert re.search(rf"(^|[ ,#]){key}\b", example.read_text(), re.M), f"{name} {key}"


@pytest.mark.parametrize("page", sorted((DOCS / "guides").glob("*.md")), ids=name_of)
def test_a_guide_begins_with_what_it_is_for_and_how_long_it_takes(page: Path) -> None:
    first = page.read_text().split("\n\n")[1]
    assert first.startswith("For: ") and re.search(r"seconds|minute|hour", first)


def test_the_make_targets_that_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", page.read_text(), re.M)) <= {
            pair for target in targets for pair in ((target, ""), ("", target))
        }


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "miroir_cli/__init__.py"


def test_agents_page_is_short() -> None:
    assert len((ROOT / "AGENTS.md").read_text().splitlines()) < 80


# the commands of the pages


@pytest.fixture
def engines() -> Iterator[list[Engine]]:
    """Servers with a key, for the addresses of the pages."""
    import tempfile

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield [stack.enter_context(running_engine(folder / f"disk{number}", master_key=KEY)) for number in range(1, 6)]


@pytest.fixture
def servers(engines: list[Engine]) -> list[str]:
    return [engine.url for engine in engines]


YES = {f"MIROIR_{command}_YES": "1" for command in ("NODE_ADD", "NODE_REPLACE", "NODE_REMOVE", "STATE_RECOVER")}
"""The answers of the person at the terminal for whom some pages are written."""


def run_script(script: str, servers: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the commands of a page, with these servers at its addresses."""
    script = re.sub(r"^pip install .*$", "", script, flags=re.M).replace("your-master-key", KEY)
    script = re.sub(r"^miroir serve .*$", SERVED, script, flags=re.M)
    for number, url in enumerate(servers, 1):
        script = script.replace(f"http://10.0.0.{number}:7700", url)
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "miroir").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.held "$@"\n')
    (programs / "miroir").chmod(0o755)
    (folder / "books.ndjson").write_text('{"id": 1, "title": "The Left Hand of Darkness"}\n')
    return subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=folder,
        env=clean_environment(
            HOME=str(folder), PATH=f"{programs}{os.pathsep}{os.environ['PATH']}", MIROIR_NODE_KEY=KEY, **environment
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def commands_of(page: Path, language: str) -> str:
    """The commands of a page's blocks in one language; what is for `make` is not for a folder without it."""
    return "\n".join(block for block in blocks(page, language) if "miroir " in block)


SERVED = """\
miroir serve --port 0 2>served & serving=$!
until grep -q '^cluster ' served; do sleep 0.1; done
sleep 1; kill $serving; wait $serving"""
"""What the scripts do instead of serving until somebody stops it: stopped, it ends well."""

START = "\n".join([*blocks(DOCS / "guides" / "quick-start.md", "bash")[:2], "miroir import books books.ndjson"])


@pytest.mark.parametrize("name", ["README.md", "docs/guides/quick-start.md"])
def test_the_commands_of_the_page_run(name: str, servers: list[str], tmp_path: Path) -> None:
    done = run_script(commands_of(ROOT / name, "bash"), servers, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The Left Hand of Darkness" in done.stdout
    assert "_miroir" not in done.stdout
    if blocks(ROOT / name, "sh"):
        done = run_script(commands_of(ROOT / name, "sh"), servers, tmp_path, **YES)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [node.name for node in load_topology(tmp_path / "miroir.toml").nodes] == ["n1", "n2", "n3", "n4"]


def test_the_commands_for_scripts_run(servers: list[str], tmp_path: Path) -> None:
    done = run_script("\n".join([START, *blocks(DOCS / "guides" / "scripts.md", "bash")]), servers, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"document_not_found"' in done.stdout and "json-schema.org" in done.stdout


def test_the_commands_for_the_shell_run(tmp_path: Path) -> None:
    done = run_script("\n".join(blocks(DOCS / "guides" / "shell.md", "bash")), [], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / ".local/share/bash-completion/completions/miroir").read_text().startswith("# miroir completions")
    assert "MIROIR_SEARCH_FILTER" in done.stdout
    shown = blocks(DOCS / "guides" / "shell.md", "text")[0].splitlines()
    mistaken = run_script(shown[0].removeprefix("$ "), [], tmp_path)
    assert mistaken.stderr.splitlines() == shown[1:]


def test_the_commands_about_vectors_run(servers: list[str], tmp_path: Path) -> None:
    start = blocks(DOCS / "guides" / "quick-start.md", "bash")[0]
    searches = blocks(DOCS / "guides" / "vectors.md", "bash")
    done = run_script("\n".join([start, *searches]), servers, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    films = re.findall(r"^ \d +(\w+)", done.stdout, re.M)
    assert films == ["Stalker", "Solaris", "Playtime", "Lost"] * 2 + ["Stalker", "Playtime"], done.stdout


def test_the_commands_about_queues_run(servers: list[str], tmp_path: Path) -> None:
    done = run_script("\n".join([START, *blocks(DOCS / "guides" / "queues.md", "bash")]), servers, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing waits on n1, n2, n3" in done.stdout


@pytest.mark.timeout(150)  # six runs, each of which waits two seconds to be sure of its targets
def test_the_commands_for_changing_the_cluster_run(servers: list[str], tmp_path: Path) -> None:
    changes = blocks(DOCS / "guides" / "changing-the-cluster.md", "bash")
    script = "\n".join([START, *changes, "miroir search books left", "miroir status"])
    done = run_script(script, servers, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The Left Hand of Darkness" in done.stdout
    assert [node.name for node in load_topology(tmp_path / "miroir.toml").nodes] == ["n1", "n5", "n4"]


@pytest.mark.timeout(150)
def test_the_commands_for_when_a_node_fails_run(engines: list[Engine], servers: list[str], tmp_path: Path) -> None:
    """In the order of the page: a node is away during an import and comes back, then it and another one are gone for
    good. Every night everything is compared."""
    page = DOCS / "guides" / "when-a-node-fails.md"
    assert run_script(START, servers, tmp_path).returncode == 0
    engines[1].stop()
    importing = 'seq 100 | sed \'s/.*/{"id": &, "title": "Solaris"}/\' | miroir import books -'
    away = run_script(importing, servers, tmp_path)
    assert away.returncode == 0 and "warning: node `n2` missed writes: its replicas of" in away.stderr, away.stderr
    doctor = run_script(commands_of(DOCS / "guides" / "when-something-is-wrong.md", "bash"), servers, tmp_path)
    assert doctor.returncode == 3
    shown = blocks(DOCS / "guides" / "when-something-is-wrong.md", "text")[0].splitlines()
    for line in (shown[0].partition(" at ")[0], shown[3]):
        assert line in doctor.stdout + doctor.stderr
    engines[1].start()
    back = run_script(commands_of(page, "bash"), servers, tmp_path)
    assert back.returncode == 0 and " mended, " in back.stdout, back.stdout + back.stderr
    engines[1].stop()
    *replacing, removing = commands_of(page, "sh").splitlines()
    gone = run_script("\n".join(replacing), servers, tmp_path, **YES)
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert [node.name for node in load_topology(tmp_path / "miroir.toml").nodes] == ["n1", "n5", "n3"]
    engines[2].stop()
    gone = run_script(removing.replace("n2", "n3"), servers, tmp_path, **YES)
    assert gone.returncode == 0, gone.stdout + gone.stderr
    nightly = [line.split(None, 5)[5] for line in blocks(page, "text")[1].splitlines() if not line.startswith("#")]
    assert len(nightly) == 3
    night = run_script("\n".join(nightly).replace("/srv/search", str(tmp_path)), servers, tmp_path)
    assert night.returncode == 0, night.stdout + night.stderr
    compared = [json.loads(line) for line in (tmp_path / "verify.jsonl").read_text().splitlines()]
    assert [found["differences"] for found in compared] == [[], []] and compared[1]["documents"] == 100


def test_the_commands_for_a_lost_state_file_run(engines: list[Engine], servers: list[str], tmp_path: Path) -> None:
    first, second = blocks(DOCS / "guides" / "lost-state.md", "bash")
    assert run_script(START, servers, tmp_path).returncode == 0
    (tmp_path / ".miroir" / "state.db").unlink()
    done = run_script(f"{first}\nmiroir repair\nmiroir search books left", servers, tmp_path, **YES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The Left Hand of Darkness" in done.stdout
    (tmp_path / ".miroir" / "state.db").unlink()
    engines[2].stop()
    assert run_script("miroir state recover", servers, tmp_path, **YES).returncode == 14
    assert run_script(second, servers, tmp_path, **YES).returncode == 0


@pytest.mark.parametrize("name", ["nightly", "gitops", "capacity", "reindexing", "aliases"])
def test_the_commands_of_the_guide_run_after_the_quick_start(name: str, servers: list[str], tmp_path: Path) -> None:
    script = "\n".join([START, commands_of(DOCS / "guides" / f"{name}.md", "bash")])
    done = run_script(script, servers, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


OCCASIONAL = [
    line
    for name in ("changing-the-cluster", "when-a-node-fails")
    for kind in ("text", "ini")
    for line in re.findall(
        r"miroir (?:node|rebalance|journal|verify|repair|doctor) [^\n>`]*",
        "".join(blocks(DOCS / "guides" / f"{name}.md", kind)),
    )
    if "repair --watch" not in line and "missed writes" not in line
]


@pytest.mark.parametrize("line", OCCASIONAL)
def test_commands_that_need_an_occasion_are_understood(line: str, servers: list[str], tmp_path: Path) -> None:
    words = shlex.split(line)[1:]
    (tmp_path / "miroir.toml").write_text(f'[cluster]\nname = "x"\n[[nodes]]\nname = "n1"\nurl = "{servers[0]}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "miroir_cli", *words],
        cwd=tmp_path,
        env=clean_environment(HOME=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode not in (1, 2), done.stderr
