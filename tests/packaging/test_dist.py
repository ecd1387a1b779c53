"""What `make dist` makes: all in it that has to be, and started in clean environments."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from urllib.request import urlopen

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from miroir_cli import __version__
from release.build import build_all, build_wheel
from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BASE = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
"""The Python that this environment was made of, in which neither miroir nor what it needs is installed."""

NO_INDEX = ("NewConnectionError", "Temporary failure in name resolution", "ConnectTimeoutError", "ReadTimeoutError")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    wheel: Path
    source: Path
    zipapp: Path
    bill: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    wheel, source, zipapp, bill = build_all(tmp_path_factory.mktemp("dist"))
    return Built(wheel=wheel, source=source, zipapp=zipapp, bill=bill)


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def tracked(folder: str) -> list[str]:
    """The files of a folder of the repository, those that are not committed yet as well."""
    found = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [path.relative_to(ROOT).as_posix() for path in found]


def test_the_wheel_has_every_module_and_all_their_data(built: Built) -> None:
    inside = names_in(built.wheel)
    assert set(tracked("miroir_cli")) <= inside
    assert "miroir_cli/py.typed" in inside
    assert any(name.startswith("miroir_cli/cli/schemas/") for name in inside)
    assert "miroir_cli/dev/data/clocks.ndjson.gz" in inside


def test_the_wheel_has_completions_and_manual_pages_where_shells_look(built: Built) -> None:
    shared = f"miroir-{__version__}.data/data/share"
    inside = names_in(built.wheel)
    for path in tracked("completions"):
        assert f"miroir_cli/{path}" in inside
    assert {name for name in inside if name.startswith(f"{shared}/") and "completion" in name} >= {
        f"{shared}/bash-completion/completions/miroir",
        f"{shared}/fish/vendor_completions.d/miroir.fish",
    }
    for path in tracked("man"):
        assert f"{shared}/man/man1/{Path(path).name}" in inside


def test_the_wheel_has_nothing_else(built: Built) -> None:
    tops = {name.split("/")[0] for name in names_in(built.wheel)}
    assert tops == {"miroir_cli", f"miroir-{__version__}.dist-info", f"miroir-{__version__}.data"}
    assert not any("__pycache__" in name for name in names_in(built.wheel))


def test_the_wheel_says_what_it_is(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        info = f"miroir-{__version__}.dist-info"
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        assert "\nmiroir = miroir_cli." in archive.read(f"{info}/entry_points.txt").decode()
        assert archive.read(f"{info}/licenses/LICENSE").decode().startswith("MIT")
    assert (metadata["Version"], metadata["License-Expression"]) == (__version__, "MIT")
    assert metadata["Requires-Python"] == "<3.15,>=3.11"


def test_nothing_of_this_machine_is_in_it(built: Built) -> None:
    secret = [str(ROOT).encode(), b"files.pythonhosted"]
    if len(Path.home().parts) > 1:
        secret.append(f"{Path.home()}/".encode())
    for archive in (built.wheel, built.source):
        for name, content in contents_of(archive):
            for word in secret:
                assert word not in content or name.endswith("test_dist.py"), f"{name}: {word.decode()}"


def contents_of(path: Path) -> list[tuple[str, bytes]]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return [(name, archive.read(name)) for name in archive.namelist()]
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        return [(each.name, file.read()) for each in members if (file := archive.extractfile(each)) is not None]


def test_the_source_archive_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.source) as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / f"miroir-{__version__}"
    for name in ("tests/conftest.py", "release/build.py", "docs/README.md", "Makefile", "LICENSE", *tracked("charts")):
        assert (folder / name).exists(), name
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(tmp_path), "--target", "wheel"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert names_in(tmp_path / built.wheel.name) == names_in(built.wheel)


def test_the_wheel_is_the_same_every_time(built: Built, tmp_path: Path) -> None:
    assert build_wheel(tmp_path).read_bytes() == built.wheel.read_bytes()


def test_the_bill_of_materials_is_right_and_names_what_the_zipapp_holds(built: Built) -> None:
    text = built.bill.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    with zipfile.ZipFile(built.zipapp) as archive:
        inside = {name.split("/")[1] for name in archive.namelist() if ".dist-info/METADATA" in name}
    held = {tuple(name.removesuffix(".dist-info").rsplit("-", 1)) for name in inside}
    for name, version in held:
        assert f"pkg:pypi/{name.lower().replace('_', '-').replace('.', '-')}@{version}" in text
    assert len(held) > 20


# started


Run = Callable[..., str]


def clean(folder: Path, *command: str) -> Run:
    """The command in a folder of its own, with an environment in which nothing leads to this checkout."""

    def run(*words: str) -> str:
        done = subprocess.run(
            [*command, *words],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


def environment(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": str(folder), "SHIV_ROOT": str(folder / "shiv"), "PYTHONWARNINGS": "error"}


def use(run: Run, folder: Path) -> None:
    """A cluster of development nodes, an index, documents, a search; and what lies beside the code."""
    assert run("--version") == f"miroir {__version__}\n"
    assert '"title": "miroir status"' in run("schema", "status")
    assert "complete" in run("completions", "bash")
    start_nodes(run)
    try:
        run("index", "create", "books", "--primary-key", "id")
        (folder / "books.ndjson").write_text('{"id": 1, "title": "The Left Hand of Darkness"}\n')
        run("import", "books", "books.ndjson")
        assert "The Left Hand of Darkness" in run("search", "books", "left hand")
        assert "all is well" in run("config", "check")
    finally:
        run("dev", "down")


def start_nodes(run: Run) -> None:
    """Two development nodes, on ports that nobody uses."""
    run("dev", "up", "--nodes", "2", "--engine", "embedded", "--port", str(two_free_ports()))


def two_free_ports() -> int:
    """The first of two ports beside each other that are free, below those that the system gives out."""
    for port in range(20_000 + os.getpid() % 8000, 30_000, 2):
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no two ports are free")


def serve(command: list[str], folder: Path) -> None:
    """`miroir serve` with two workers, which are processes of their own, answers."""
    serving = subprocess.Popen(
        [*command, "serve", "--port", "0", "--workers", "2"],
        cwd=folder,
        env=environment(folder),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert serving.stderr is not None
    try:
        line = serving.stderr.readline()
        url = next(word for word in line.replace(",", " ").split() if word.startswith("http://"))
        deadline = time.monotonic() + 60
        while True:
            try:
                with urlopen(f"{url}/health", timeout=5) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                assert time.monotonic() < deadline and serving.poll() is None, line
                time.sleep(0.2)
    finally:
        serving.terminate()
        serving.stderr.close()
        serving.wait(timeout=60)


@pytest.mark.skipif(not BASE.exists(), reason=f"no {BASE}")
def test_the_zipapp_starts_where_nothing_is_installed(built: Built, tmp_path: Path) -> None:
    assert subprocess.run([str(BASE), "-I", "-c", "import miroir_cli"], capture_output=True, check=False).returncode
    run = clean(tmp_path, str(BASE), str(built.zipapp))
    use(run, tmp_path)
    (tmp_path / "miroir.toml").unlink(missing_ok=True)
    start_nodes(run)
    try:
        serve([str(BASE), str(built.zipapp)], tmp_path)
    finally:
        run("dev", "down")


@pytest.mark.skipif(not BASE.exists(), reason=f"no {BASE}")
def test_the_wheel_starts_in_an_environment_of_its_own(built: Built, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([str(BASE), "-m", "venv", "--without-pip", str(venv)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "--disable-pip-version-check"]
    install = subprocess.run(
        [*pip, "install", "--quiet", str(built.wheel)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    if any(word in install.stderr for word in NO_INDEX):
        pytest.skip("the package index cannot be reached")
    assert install.returncode == 0, install.stderr
    use(clean(tmp_path, str(venv / "bin" / "miroir")), tmp_path)
    as_module = clean(tmp_path, str(venv / "bin" / "python"), "-m", "miroir_cli")
    assert as_module("--version") == f"miroir {__version__}\n"
    assert (venv / "share" / "bash-completion" / "completions" / "miroir").exists()
