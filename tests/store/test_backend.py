"""Where the state is: chosen by the topology file, and the library for Redis only needed there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from miroir_cli.errors import AuthenticationFailed, StateUnavailable
from miroir_cli.store.backend import backend_of
from miroir_cli.topology.file import Topology, check_topology
from tests.conftest import ROOT, Miroir
from tests.store.redis_server import running_redis

REST = '[cluster]\nname = "books"\n[[nodes]]\nname = "n1"\nurl = "http://127.0.0.1:1"\n'


def topology(folder: Path, table: str) -> Topology:
    return check_topology(f"[state]\n{table}\n{REST}", folder / "miroir.toml")


@pytest.fixture
def without_redis(tmp_path: Path) -> dict[str, str]:
    """An environment in which Python finds no package `redis`."""
    package = tmp_path / "shadow" / "redis"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('raise ModuleNotFoundError("No module named \'redis\'", name="redis")\n')
    return {"PYTHONPATH": f"{package.parent}{os.pathsep}{ROOT}"}


def test_without_the_package_everything_works_but_a_state_in_redis(
    miroir_process: Miroir, without_redis: dict[str, str], tmp_path: Path
) -> None:
    words = ("init", "--node", "n1=http://127.0.0.1:1", "--no-check")
    assert miroir_process(*words, env=without_redis).status == 0
    assert miroir_process("index", "list", env=without_redis).status == 0
    assert miroir_process(*words, "--force", "--state", "redis://127.0.0.1:1/0", env=without_redis).status == 0
    for command in (("index", "list"), ("serve", "--port", "0"), ("state", "recover", "--dry-run")):
        done = miroir_process(*command, env=without_redis)
        assert done.status == 6, done.err
        assert "the state is in Redis (`[state] url`), which needs another package" in done.err
        assert "pip install 'miroir[redis]'" in done.err
    found = miroir_process("doctor", "--json", env=without_redis).json["findings"]
    assert any("needs another package" in each["message"] for each in found)


async def test_a_password_is_read_from_where_the_file_says(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as server:
        server.tell("CONFIG", "SET", "requirepass", "a secret of Redis")
        wrong = topology(tmp_path, f'url = "{server.url}"')
        backend = await backend_of(wrong)
        with pytest.raises(AuthenticationFailed, match="refuses miroir") as caught:
            await backend.open()
        assert "password_env" in (caught.value.hint or "")
        await backend.close()
        with pytest.raises(AuthenticationFailed, match="password file `.*` cannot be read"):
            await backend_of(topology(tmp_path, f'url = "{server.url}"\npassword_file = "password"'))
        (tmp_path / "password").write_text("a secret of Redis\n")
        backend = await backend_of(topology(tmp_path, f'url = "{server.url}"\npassword_file = "password"'))
        assert await backend.open_to_read(limit=5) is None
        store = await backend.open()
        assert (await store.found(name="books")).name == "books"
        await store.close()
        reading = await backend.open_to_read(limit=5)
        assert reading is not None and await reading.cluster() == await store.cluster()
        await backend.close()


async def test_what_does_not_answer_is_told_when_it_is_opened_not_before(tmp_path: Path) -> None:
    backend = await backend_of(topology(tmp_path, 'url = "redis://127.0.0.1:1/0"'))
    with pytest.raises(StateUnavailable, match="redis://127.0.0.1:1/0 cannot be reached: connection refused$"):
        await backend.open()
    await backend.close()
    assert not (tmp_path / ".miroir").exists()
