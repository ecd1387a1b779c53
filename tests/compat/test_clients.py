"""Public clients of Meilisearch, the same calls against one server and against a cluster, step by step."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.compat.compare import MOMENT, UUID
from tests.compat.differences import CLIENT_STEPS
from tests.compat.request import MASTER
from tests.compat.servers import plain_server, proxy_server

CLIENTS = Path(__file__).parent / "clients"
JAVASCRIPT = "meilisearch@^0.62"

CHANGING = {"processing_time_ms", "processingTimeMs", "batchUid", "batch_uid", "duration"}
SIZES = {"databaseSize", "usedDatabaseSize", "rawDocumentDbSize", "avgDocumentSize"}
SIZES |= {"database_size", "used_database_size", "raw_document_db_size", "avg_document_size"}
KEYS = re.compile(r"[0-9a-f]{64}")

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[str, str]]:
    with plain_server(tmp_path / "plain") as plain, proxy_server(tmp_path / "cluster") as proxy:
        yield plain, proxy


def run(*line: str, cwd: Path) -> list[tuple[str, Any]]:
    """The steps that a script wrote."""
    done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False, timeout=140)
    assert done.returncode == 0, done.stderr
    found = [json.loads(text) for text in done.stdout.splitlines()]
    return [(each["step"], comparable(each["result"])) for each in found]


def comparable(value: Any) -> Any:
    """A result without what no two servers have in common."""
    if isinstance(value, dict):
        return {name: f"<{name}>" if name in CHANGING | SIZES else comparable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [comparable(each) for each in value]
    if isinstance(value, str):
        if re.fullmatch(MOMENT, value):
            return "<moment>"
        return re.sub(rf"(?!00000000){UUID}", "<uuid>", KEYS.sub("<key>", value))
    return value


def compare(one: list[tuple[str, Any]], other: list[tuple[str, Any]]) -> None:
    """Fails unless all steps but the known ones are alike, and the known ones are not."""
    left, right = dict(one), dict(other)
    apart = {name for name in left | right if left.get(name) != right.get(name)}
    told = "\n".join(f"{name}\n  plain {left.get(name)}\n  proxy {right.get(name)}" for name in sorted(apart))
    known = CLIENT_STEPS.keys() & (left.keys() | right.keys())
    assert apart == known, f"{sorted(apart - known)}, and no more {sorted(known - apart)}:\n{told}"


@pytest.mark.parametrize(
    ("package", "script"), [("meilisearch", "with_meilisearch.py"), ("meilisearch_python_sdk", "with_python_sdk.py")]
)
def test_a_python_client_finds_no_difference(both: tuple[str, str], tmp_path: Path, package: str, script: str) -> None:
    if find_spec(package) is None:
        pytest.skip(f"needs the package {package} (development dependency)")
    plain, proxy = (
        run(sys.executable, str(CLIENTS / script), url, MASTER, str(tmp_path), cwd=tmp_path) for url in both
    )
    compare(plain, proxy)


def test_the_javascript_client_finds_no_difference(both: tuple[str, str], tmp_path: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs node and npm")
    line = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefix", str(tmp_path), JAVASCRIPT]
    installed = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    if installed.returncode != 0:
        pytest.skip(f"the npm registry does not give {JAVASCRIPT}: {installed.stderr.strip()[-200:]}")
    script = shutil.copy(CLIENTS / "with_javascript.mjs", tmp_path)
    plain, proxy = (run(node, str(script), url, MASTER, cwd=tmp_path) for url in both)
    compare(plain, proxy)
