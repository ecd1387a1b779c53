"""What the doctor says of keys, staged on nodes that really want them; and that it never shows one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from miroir_cli.checkup.facts import ServeFacts
from miroir_cli.checkup.finding import Finding, Severity
from miroir_cli.checkup.key_rules import is_loopback, nodes_unguarded, serve_open, weakness
from miroir_cli.dev.engine.testing import Engine, running_engine
from miroir_cli.topology.serve import ServeSettings
from tests.backends import state_lines
from tests.checkup.staged import findings, type_in
from tests.checkup.test_rules import facts, node
from tests.conftest import Miroir

GOOD, OTHER = "a-key-of-more-than-sixteen-bytes", "another-key-of-more-than-sixteen"


@contextmanager
def servers(folder: Path, *keys: str | None) -> Iterator[list[Engine]]:
    """A node for each key, and a topology file that says in which file each key is (readable by its owner alone)."""
    lines = ["[cluster]", 'name = "test"', *state_lines()]
    with ExitStack() as stack:
        engines = []
        for number, key in enumerate(keys, 1):
            engine = stack.enter_context(running_engine(folder / f"disk{number}", master_key=key))
            lines += ["", "[[nodes]]", f'name = "n{number}"', f'url = "{engine.url}"']
            if key is not None:
                write_key(folder / f"n{number}.key", key)
                lines += [f'key_file = "n{number}.key"']
            engines.append(engine)
        (folder / "miroir.toml").write_text("\n".join(lines) + "\n")
        yield engines


def write_key(path: Path, key: str) -> None:
    path.write_text(f"{key}\n")
    path.chmod(0o600)


def serve(folder: Path, *lines: str) -> None:
    """Write the `[serve]` table at the end of the topology file."""
    path = folder / "miroir.toml"
    path.write_text("\n".join([path.read_text(), "[serve]", *lines]) + "\n")


async def found_in(folder: Path) -> Mapping[str, Finding]:
    """The findings but for the one that nothing was stored yet."""
    found = await findings(folder / "miroir.toml")
    del found["state.none"]
    assert not any(GOOD in str(finding) or OTHER in str(finding) for finding in found.values())
    return found


async def test_a_key_that_is_easily_guessed(tmp_path: Path) -> None:
    with servers(tmp_path, "masterKey", "masterKey") as (first, second):
        (tmp_path / "n1.key").rename(tmp_path / "nodes.key")
        text = (tmp_path / "miroir.toml").read_text()
        (tmp_path / "miroir.toml").write_text(text.replace("n1.key", "nodes.key").replace("n2.key", "nodes.key"))
        found = await found_in(tmp_path)
        assert set(found) == {"key.weak"}
        assert found["key.weak"].message == (
            "the key of `n1`, `n2` (key file nodes.key) has 9 bytes, fewer than the 16 that Meilisearch asks for in "
            "production"
        )
        for engine in (first, second):
            engine.stop()
            engine.master_key = GOOD
            engine.start()
        write_key(tmp_path / "nodes.key", GOOD)
        assert await found_in(tmp_path) == {}


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("short", "has 5 bytes"),
        ("é" * 7, "has 14 bytes"),
        ("aSampleMasterKey", "is one from the examples"),
        ("abababababababababab", "has 2 different characters"),
        (GOOD, None),
        ("0123456789abcdef" * 4, None),
    ],
)
def test_what_makes_a_key_weak(key: str, why: str | None) -> None:
    found = weakness(key)
    assert found is None if why is None else found is not None and found.startswith(why)


async def test_a_server_without_a_key_beside_one_with(tmp_path: Path) -> None:
    with servers(tmp_path, GOOD, None) as (_, second):
        found = await found_in(tmp_path)
        assert set(found) == {"key.none"}
        assert found["key.none"].message.endswith("has no master key: others have one (`n1`)")
        second.stop()
        second.master_key = GOOD
        second.start()
        path = tmp_path / "miroir.toml"
        path.write_text(path.read_text() + 'key_file = "n1.key"\n')
        assert await found_in(tmp_path) == {}


async def test_a_server_without_a_key_that_others_can_reach(tmp_path: Path) -> None:
    with servers(tmp_path, None) as (engine,):
        assert await found_in(tmp_path) == {}
        path = tmp_path / "miroir.toml"
        path.write_text(path.read_text().replace("127.0.0.1", "0.0.0.0"))
        found = await found_in(tmp_path)
        assert set(found) == {"key.none"}
        assert f"http://0.0.0.0:{engine.port}" in found["key.none"].message


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://localhost:7700", True),
        ("http://127.0.0.9/x", True),
        ("https://[::1]:7700", True),
        ("http://10.0.0.1:7700", False),
        ("http://[2001:db8::1]", False),
        ("http://localhost.example.org", False),
    ],
)
def test_which_urls_only_this_machine_can_reach(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


def test_a_node_that_does_not_answer_is_not_known_to_be_unguarded() -> None:
    assert list(nodes_unguarded(facts(node()))) == []


async def test_different_master_keys_matter_to_a_proxy_without_a_key_of_its_own(tmp_path: Path) -> None:
    with servers(tmp_path, GOOD, OTHER):
        found = await found_in(tmp_path)
        assert (set(found), found["key.master"].severity) == ({"key.master"}, Severity.INFO)
        serve(tmp_path, "port = 7000")
        found = await found_in(tmp_path)
        assert found["key.master"].severity is Severity.WARNING
        assert "`miroir serve` refuses all clients so" in found["key.master"].message
        serve_key = tmp_path / "serve.key"
        write_key(serve_key, GOOD)
        (tmp_path / "miroir.toml").write_text((tmp_path / "miroir.toml").read_text() + 'key_file = "serve.key"\n')
        assert (await found_in(tmp_path))["key.master"].severity is Severity.INFO


async def test_an_api_key_that_some_nodes_do_not_have(tmp_path: Path) -> None:
    uid = "9aec34f4-e44c-4917-86c2-9c9403abb3b6"
    key = {"uid": uid, "actions": ["search"], "indexes": ["*"], "expiresAt": None}
    with servers(tmp_path, GOOD, GOOD) as engines:
        for number, engine in enumerate(engines):
            async with httpx.AsyncClient(headers={"Authorization": f"Bearer {GOOD}"}) as client:
                assert (await client.post(f"{engine.url}/keys", json=key)).status_code == 201
            found = await found_in(tmp_path)
            if number == 0:
                assert set(found) == {"key.apart"}
                assert found["key.apart"].message.endswith("was made on some nodes only: `n2` does not have it")
            else:
                assert found == {}


async def test_key_files_of_the_proxy_that_others_can_read(tmp_path: Path) -> None:
    with servers(tmp_path, GOOD):
        serve(tmp_path, 'key_file = "n1.key"', "[serve.admin]", 'key_file = "admin.key"')
        write_key(tmp_path / "admin.key", OTHER)
        assert await found_in(tmp_path) == {}
        (tmp_path / "admin.key").chmod(0o644)
        found = await found_in(tmp_path)
        assert set(found) == {"key.file"}
        assert "admin.key` of `[serve]` can be read" in found["key.file"].message
        await type_in(tmp_path / "miroir.toml", found["key.file"])
        assert await found_in(tmp_path) == {}


async def test_keys_of_the_proxy_that_cannot_be_had_or_are_weak(tmp_path: Path) -> None:
    with servers(tmp_path, GOOD):
        serve(tmp_path, 'key_env = "NOBODY_SETS_THIS"', "[serve.admin]", "key_command = 'printf %s admin'")
        found = await found_in(tmp_path)
        assert set(found) == {"serve.key", "key.weak"}
        assert "key of `[serve]` cannot be had: environment variable `NOBODY_SETS_THIS` is not" in (
            found["serve.key"].message
        )
        assert found["key.weak"].message.startswith("the key of `[serve]` (key_command printf) has 5 bytes")


async def test_a_proxy_that_would_let_everybody_in(tmp_path: Path) -> None:
    with servers(tmp_path, None):
        serve(tmp_path, 'host = "0.0.0.0"')
        found = await found_in(tmp_path)
        assert set(found) == {"serve.open"}
        write_key(tmp_path / "serve.key", GOOD)
        (tmp_path / "miroir.toml").write_text((tmp_path / "miroir.toml").read_text() + 'key_file = "serve.key"\n')
        assert await found_in(tmp_path) == {}


def test_a_proxy_over_guarded_nodes_lets_nobody_in_without_a_key() -> None:
    wide = ServeFacts(settings=ServeSettings(host="0.0.0.0"))
    assert list(serve_open(replace(facts(node()), serve=wide))) == []
    assert len(list(serve_open(replace(facts(replace(node(), unguarded=True)), serve=wide)))) == 1
    assert list(serve_open(replace(facts(), serve=wide))) == []


def test_a_proxy_does_not_start_without_a_key_that_the_doctor_names(miroir: Miroir, tmp_path: Path) -> None:
    with servers(tmp_path, GOOD):
        serve(tmp_path, 'key_env = "NOBODY_SETS_THIS"')
        assert [each["check"] for each in miroir("doctor", "--check", "serve", "--json").json["findings"]] == [
            "serve.key"
        ]
        done = miroir("serve", "--port", "0")
        assert done.status == 12 and "`NOBODY_SETS_THIS` is not set" in done.err
