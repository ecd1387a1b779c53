"""The demo shows what it claims, and leaves nothing behind."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.dev.demo import DATA, check_same
from miroir_cli.dev.engines import EngineChoice
from miroir_cli.errors import MiroirError
from tests.conftest import ROOT, clean_environment
from tests.dev.engine_choices import ENGINES
from tests.schemas import check_output

ANSWER = {
    "hits": [{"id": "a"}, {"id": "b"}],
    "estimatedTotalHits": 12,
    "facetDistribution": {"region": {"Europe": 12}},
    "processingTimeMs": 3,
}

Demo = Callable[..., AbstractContextManager[subprocess.Popen[str]]]


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Where the demo makes its directory; the test fails when a process of it is left."""
    path = tmp_path / "temporary"
    path.mkdir()
    yield path
    assert processes_of(path) == []


@pytest.fixture
def demo(temporary: Path, first_port: int) -> Demo:
    """Plays `miroir demo` with embedded nodes on free ports, its output in pipes."""

    @contextmanager
    def play(*options: str, engine: str = "embedded", **environ: str) -> Iterator[subprocess.Popen[str]]:
        chosen = ["--engine", engine, "--port", str(first_port)]
        with subprocess.Popen(
            [sys.executable, "-m", "miroir_cli", "demo", *chosen, *options],
            cwd=temporary.parent,
            env=clean_environment(TMPDIR=str(temporary), **environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()

    return play


def processes_of(directory: Path) -> list[str]:
    """The command lines that name a directory."""
    if Path("/proc/self/cmdline").exists():
        lines = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                lines.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    else:
        lines = subprocess.run(
            ["ps", "-axo", "command="], capture_output=True, text=True, check=True
        ).stdout.splitlines()
    return [line for line in lines if str(directory) in line]


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"the demo ended without {text!r}: {seen}{process.stderr and process.stderr.read()}")


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_demo_succeeds_without_a_terminal_and_leaves_nothing(
    temporary: Path, demo: Demo, engine: EngineChoice
) -> None:
    with demo(engine=engine, COLUMNS="60") as process:
        out, err = process.communicate(timeout=150)
    assert process.returncode == 0, out + err
    assert "The same hits in the same order" in " ".join(out.split())
    assert out.count("of 60 hits") == 3
    assert "\x1b" not in out + err
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("number", "exit_status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.timeout(120)
def test_a_demo_that_is_stopped_leaves_nothing(
    temporary: Path, demo: Demo, number: signal.Signals, exit_status: int
) -> None:
    with demo() as process:
        read_until(process, "index create")
        assert len(processes_of(temporary)) >= 3
        process.send_signal(number)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == exit_status
    assert "the demo was interrupted" in err
    assert list(temporary.iterdir()) == []


@pytest.mark.timeout(120)
def test_a_demo_that_is_stopped_while_nodes_start_leaves_nothing(temporary: Path, demo: Demo) -> None:
    with demo() as process:
        read_until(process, "dev up")
        deadline = time.monotonic() + 30
        while len(processes_of(temporary)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert list(temporary.iterdir()) == []


@pytest.mark.timeout(120)
def test_what_is_kept_can_be_used_and_stopped(temporary: Path, demo: Demo) -> None:
    with demo("--keep") as process:
        read_until(process, "index create")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    [directory] = temporary.iterdir()
    assert (directory / "miroir.toml").exists()
    stopped = subprocess.run(
        [sys.executable, "-m", "miroir_cli", "dev", "down", "--json"],
        cwd=directory,
        env=clean_environment(),
        capture_output=True,
        check=True,
    )
    check_output(["dev", "down", "--json"], stopped.stdout.decode())
    assert [node["state"] for node in json.loads(stopped.stdout)["nodes"]] == ["stopped"] * 3


@pytest.mark.timeout(120)
def test_a_demo_that_fails_says_so_and_leaves_nothing(temporary: Path, demo: Demo) -> None:
    broken = temporary.parent / "broken"
    shutil.copytree(ROOT / "miroir_cli", broken / "miroir_cli", ignore=shutil.ignore_patterns("__pycache__"))
    (broken / "miroir_cli/dev/data" / DATA.name).write_bytes(gzip.compress(b'{"id": "no end\n'))
    with demo(PYTHONPATH=str(broken)) as process:
        _, err = process.communicate(timeout=90)
    assert process.returncode == 1
    assert f"`miroir import clocks {DATA.name}` ended with exit status 3" in err
    assert list(temporary.iterdir()) == []


def test_the_same_answer_is_one_with_equal_hits_totals_and_counts() -> None:
    check_same(ANSWER, {**ANSWER, "processingTimeMs": 20})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hits": [{"id": "b"}, {"id": "a"}]}, "hits"),
        ({"estimatedTotalHits": 11}, "estimatedTotalHits"),
        ({"facetDistribution": {"region": {"Europe": 11}}}, "facetDistribution"),
        ({"partial": True}, "partial"),
    ],
)
def test_a_changed_answer_ends_the_demo(change: dict[str, Any], named: str) -> None:
    with pytest.raises(MiroirError, match=f"the answer changed: {named}") as caught:
        check_same(ANSWER, {**ANSWER, **change})
    assert caught.value.exit_status == 1


def test_no_hits_at_all_prove_nothing() -> None:
    with pytest.raises(MiroirError, match="no hits"):
        check_same({**ANSWER, "hits": []}, {**ANSWER, "hits": []})


def test_the_data_set_is_what_its_page_says() -> None:
    documents = [json.loads(line) for line in gzip.decompress(DATA.read_bytes()).splitlines()]
    page = (DATA.parent / "README.md").read_text()
    assert f"{len(documents):,} clock changes" in page
    assert len({document["id"] for document in documents}) == len(documents)
    assert {name for document in documents for name in document} <= set(
        page.replace("`", " ").replace(",", " ").split()
    )
    assert os.path.getsize(DATA) < 1_000_000
