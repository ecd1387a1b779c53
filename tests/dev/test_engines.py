"""Which engine is taken, and what is said about it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from miroir_cli.dev.engines import EngineChoice, EngineKind, find_engine
from miroir_cli.errors import NodeUnsupported, NotFound

NO_BINARY = {"PATH": "/nowhere"}


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_auto_takes_the_binary_on_the_path(tmp_path: Path) -> None:
    binary = program(tmp_path / "bin/meilisearch", "echo meilisearch 1.33.1")
    engine = find_engine(EngineChoice.AUTO, {"PATH": str(binary.parent)})
    assert engine.kind is EngineKind.MEILISEARCH
    assert engine.program == binary
    assert engine.said == f"Meilisearch 1.33.1 ({binary})"


def test_the_variable_goes_before_the_path(tmp_path: Path) -> None:
    on_path = program(tmp_path / "bin/meilisearch", "echo meilisearch 1.33.1")
    named = program(tmp_path / "meili-next", "echo meilisearch 1.40.0")
    environ = {"PATH": str(on_path.parent), "MIROIR_MEILISEARCH": str(named)}
    assert find_engine(EngineChoice.AUTO, environ).program == named


def test_auto_takes_the_embedded_node_otherwise_and_says_so() -> None:
    engine = find_engine(EngineChoice.AUTO, NO_BINARY)
    assert engine.kind is EngineKind.EMBEDDED
    assert engine.program == Path(sys.executable)
    assert "embedded" in engine.said
    assert "no `meilisearch` on the PATH" in engine.said


def test_meilisearch_that_is_not_there_is_an_error_when_asked_for() -> None:
    with pytest.raises(NotFound, match="no `meilisearch` on the PATH") as caught:
        find_engine(EngineChoice.MEILISEARCH, NO_BINARY)
    assert "--engine embedded" in (caught.value.hint or "")


def test_a_variable_that_names_no_program_is_an_error_not_a_fallback() -> None:
    with pytest.raises(NotFound, match="MIROIR_MEILISEARCH names `/nowhere/meili`"):
        find_engine(EngineChoice.AUTO, {**NO_BINARY, "MIROIR_MEILISEARCH": "/nowhere/meili"})


@pytest.mark.parametrize(
    ("script", "message"),
    [("exit 3", "does not run"), ("echo hello", "is not Meilisearch: `--version` says `hello`")],
)
def test_a_binary_that_is_not_meilisearch_is_refused(tmp_path: Path, script: str, message: str) -> None:
    binary = program(tmp_path / "bin/meilisearch", script)
    with pytest.raises(NodeUnsupported, match=message):
        find_engine(EngineChoice.AUTO, {"PATH": f"{binary.parent}:{os.defpath}"})


def test_meilisearch_listens_on_loopback_and_writes_only_below_its_directory(tmp_path: Path) -> None:
    binary = program(tmp_path / "bin/meilisearch", "echo meilisearch 1.33.1")
    engine = find_engine(EngineChoice.AUTO, {"PATH": str(binary.parent)})
    command = engine.command(port=7701, directory=tmp_path / "n1")
    options = dict(zip(command, command[1:], strict=False))
    assert options["--http-addr"] == "127.0.0.1:7701"
    assert options["--env"] == "development"
    assert "--no-analytics" in command
    for option in ("--db-path", "--dump-dir", "--snapshot-dir", "--config-file-path"):
        assert Path(options[option]).is_relative_to(tmp_path / "n1")


def test_variables_that_would_change_a_node_are_kept_from_it() -> None:
    engine = find_engine(EngineChoice.EMBEDDED, NO_BINARY)
    environ = engine.environ({"MEILI_MASTER_KEY": "secret", "HOME": "/home/user"})
    assert "MEILI_MASTER_KEY" not in environ
    assert environ["HOME"] == "/home/user"


def test_local_nodes_search_vectors_exactly() -> None:
    environ = find_engine(EngineChoice.EMBEDDED, NO_BINARY).environ({"MEILI_EXPERIMENTAL_HNSW_LINEAR_BELOW_RATIO": "0"})
    assert environ["MEILI_EXPERIMENTAL_HNSW_LINEAR_BELOW_RATIO"] == "1"
    assert int(environ["MEILI_EXPERIMENTAL_HNSW_LINEAR_BELOW"]) > 10**9
