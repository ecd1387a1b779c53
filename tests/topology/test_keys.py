from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from miroir_cli.errors import AuthenticationFailed, MiroirError, TopologyInvalid
from miroir_cli.model import Secret
from miroir_cli.topology import keys
from miroir_cli.topology.file import key_file_is_open, resolve_key

PYTHON = sys.executable


def refusal(secret: Secret, base: Path, **environ: str) -> MiroirError:
    with pytest.raises((AuthenticationFailed, TopologyInvalid)) as caught:
        resolve_key(secret, base=base, environ=environ)
    error = caught.value
    chain: BaseException | None = error
    while chain is not None:
        assert "s3cret" not in f"{chain!r} {getattr(chain, 'hint', '')}"
        chain = None if chain.__suppress_context__ else chain.__cause__ or chain.__context__
    return error


def test_no_place_is_no_key(tmp_path: Path) -> None:
    assert resolve_key(None, base=tmp_path) is None


def test_a_key_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_key(Secret(env="KEY"), base=tmp_path, environ={"KEY": " s3cret\n"}) == "s3cret"
    monkeypatch.setenv("MIROIR_TEST_KEY", "s3cret")
    assert resolve_key(Secret(env="MIROIR_TEST_KEY"), base=tmp_path) == "s3cret"
    assert "environment variable `KEY` is not set" in refusal(Secret(env="KEY"), tmp_path).message
    assert "environment variable `KEY` is empty" in refusal(Secret(env="KEY"), tmp_path, KEY=" ").message


def test_a_key_comes_from_a_file_beside_the_topology_file(tmp_path: Path) -> None:
    (tmp_path / "node.key").write_text("\n s3cret \n")
    assert resolve_key(Secret(file="node.key"), base=tmp_path) == "s3cret"
    assert resolve_key(Secret(file=str(tmp_path / "node.key")), base=Path("/")) == "s3cret"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b" \n", "is empty"),
        (b"s3cret one\ns3cret two", "characters that cannot be in a key"),
        (b"s3cret\xff", "characters that cannot be in a key"),
        ("s3cret\u00e9".encode(), "characters that cannot be in a key"),
        (b"s3cret" * 20_000, "is too long for a key"),
    ],
)
def test_a_key_file_that_holds_no_key_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "node.key").write_bytes(content)
    assert message in refusal(Secret(file="node.key"), tmp_path).message


def test_a_key_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert "No such file" in refusal(Secret(file="none"), tmp_path).message
    assert "Is a directory" in refusal(Secret(file="."), tmp_path).message
    assert "cannot be read" in refusal(Secret(file="~nobody-of-that-name/x"), tmp_path).message
    assert "cannot be read" in refusal(Secret(file="a\0b"), tmp_path).message


def test_a_key_file_open_to_others_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    path.write_text("s3cret")
    for mode, is_open in ((0o600, False), (0o400, False), (0o640, True), (0o604, True)):
        path.chmod(mode)
        assert key_file_is_open(Secret(file="node.key"), base=tmp_path) is is_open
    assert not key_file_is_open(Secret(file="none"), base=tmp_path)
    assert not key_file_is_open(Secret(env="KEY"), base=tmp_path)
    assert not key_file_is_open(None, base=tmp_path)


def test_a_key_is_the_first_line_that_a_command_prints(tmp_path: Path) -> None:
    command = f"""{PYTHON} -c 'print("s3cret\\nmore")'"""
    assert resolve_key(Secret(command=command), base=tmp_path) == "s3cret"


def test_a_command_runs_beside_the_topology_file_and_without_a_shell(tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text("s3cret\n")
    assert resolve_key(Secret(command="cat a.key"), base=tmp_path) == "s3cret"
    assert resolve_key(Secret(command="echo $HOME;x"), base=tmp_path) == "$HOME;x"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"{PYTHON} -c 'print(\"s3cret\"); raise SystemExit(3)' s3cret", "ended with status 3"),
        (f"{PYTHON} -c 'import sys; sys.exit(\"s3cret\")'", "ended with status 1"),
        (f"{PYTHON} -c pass s3cret", "is empty"),
        ("no-such-program s3cret", "cannot be run: No such file"),
        ("echo 's3cret", "cannot be split into words"),
        ("  ", "cannot be split into words"),
    ],
)
def test_a_command_that_gives_no_key_says_why_and_repeats_nothing(command: str, message: str, tmp_path: Path) -> None:
    assert message in refusal(Secret(command=command), tmp_path).message


def test_a_command_that_does_not_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "COMMAND_LIMIT", 0.3)
    started = time.monotonic()
    command = f"{PYTHON} -c 'import time; print(\"s3cret\", flush=True); time.sleep(30)'"
    assert "did not end within 0.3 s" in refusal(Secret(command=command), tmp_path).message
    assert time.monotonic() - started < 10
