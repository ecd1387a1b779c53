"""Where the state is: a file, or Redis, with its password kept elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from miroir_cli.errors import AuthenticationFailed, TopologyInvalid
from miroir_cli.model import Secret
from miroir_cli.topology.file import Topology, check_topology, render_topology, resolve_key
from miroir_cli.topology.keys import source_of
from miroir_cli.topology.state import StateSettings

SOURCE = Path("/etc/miroir/miroir.toml")
REST = '[cluster]\nname = "books"\n[[nodes]]\nname = "n1"\nurl = "http://a:1"\n'


def topology(table: str) -> Topology:
    return check_topology(f"[state]\n{table}\n{REST}", SOURCE)


def refusal(table: str) -> TopologyInvalid:
    with pytest.raises(TopologyInvalid) as caught:
        topology(table)
    return caught.value


def test_without_a_word_the_state_is_a_file_beside() -> None:
    found = check_topology(REST, SOURCE)
    assert found.state == StateSettings() and not found.state.shared
    assert found.state_path == SOURCE.parent / ".miroir" / "state.db"
    assert found.local_folder == SOURCE.parent / ".miroir"
    assert found.state_place == "state file `/etc/miroir/.miroir/state.db`"


@pytest.mark.parametrize(
    "url",
    [
        "redis://10.0.0.9",
        "redis://10.0.0.9:6379",
        "redis://10.0.0.9:6379/0",
        "redis://miroir@redis.local:6380/15",
        "rediss://redis.local/",
        "redis://[::1]:6379/0",
    ],
)
def test_a_state_in_redis_has_no_file(url: str) -> None:
    found = topology(f'url = "{url}"')
    assert found.state.shared and found.state.url == url
    assert found.state_place.startswith("the state in Redis at ") and "miroir@" not in found.state_place


def test_what_is_this_hosts_own_lies_beside_the_topology_or_where_its_state_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, other = tmp_path / "a" / "miroir.toml", tmp_path / "b" / "miroir.toml"
    for path in (source, other):
        path.parent.mkdir()
    found = check_topology(f'[state]\nurl = "redis://h"\n{REST}', source)
    assert found.local_folder == tmp_path / "a" / ".miroir"
    (tmp_path / "a" / ".miroir").mkdir()
    assert found.local_folder == tmp_path / "a" / ".miroir"
    (tmp_path / "a" / ".miroir").rmdir()
    for path in (source, other):  # a file where the folder should be: not even root can write into it
        path.with_name(".miroir").touch()
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/m")
    assert found.local_folder.parent == Path("/home/m/.local/state/miroir")
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert found.local_folder.parent == Path("/x/miroir")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/miroir:/var/lib/miroir/metrics")
    assert found.local_folder.parent == Path("/var/lib/miroir")
    assert check_topology(f'[state]\nurl = "redis://h"\n{REST}', other).local_folder != found.local_folder
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    assert found.local_folder == tmp_path / "a" / ".miroir"


def test_its_password_comes_from_elsewhere_and_how_long_reads_go_on_is_in_seconds() -> None:
    found = topology('url = "redis://h"\npassword_file = "redis.password"\nstale_reads = 12.5').state
    assert found.password == Secret(file="redis.password", what="password")
    assert found.stale_reads == 12.5
    assert topology('url = "redis://h"').state.stale_reads == 60.0


def test_locks_last_longer_than_until_they_are_renewed() -> None:
    usual, given = topology('url = "redis://h"').state, topology('url = "redis://h"\nlease_expiry = 3.5').state
    assert (usual.lease_renewal, usual.lease_expiry) == (3.0, 10.0)
    assert (given.lease_renewal, given.lease_expiry) == (3.0, 3.5)


@pytest.mark.parametrize(
    ("table", "message", "hint"),
    [
        ('url = "redis://:s3cret@h"', "`state.url` has a password in it", "password_env"),
        ('url = "redis://u:s3cret@h/0"', "`state.url` has a password in it", "password_env"),
        ('url = "redis://s3=cret@h/0"', "`state.url` has a password in it", "password_env"),
        ('url = "redis://h"\npassword = "s3cret"', "`state.password` is a secret", "password_env"),
        ('url = "redis://h?password=s3cret"', "`state.url` has a `?`", "redis://HOST:PORT/DATABASE"),
        ('url = "redis://"', "`state.url` is `redis://`", "redis://HOST:PORT/DATABASE"),
        ('url = "redis:h"', "`state.url` is `redis:h`", "redis://HOST:PORT/DATABASE"),
        ('url = "redis://h:70000"', "which is not a url", "redis://HOST:PORT/DATABASE"),
        ('url = "redis://h/books"', "`state.url` is `redis://h/books`", "redis://HOST:PORT/DATABASE"),
        ('url = "mysql://h"', "`redis://` or `rediss://`", "sqlite:PATH"),
        ('url = "redis://h"\nstale_reads = 0', "`state.stale_reads` is the number 0", ""),
        ('url = "redis://h"\nstale_reads = "60s"', "`state.stale_reads` is a string, expected a number", ""),
        (
            'url = "redis://h"\nlease_expiry = 3',
            "`state.lease_expiry` is 3, expected more than `lease_renewal`, which is 3",
            "usual are 3 and 10",
        ),
        ('url = "redis://h"\nlease_renewal = 10', "`state.lease_expiry` is 10, expected more", "renewed before"),
        ('password_env = "s3-cret"', "`state.password_env` is not the name", "password_env"),
        ('password_env = "A"\npassword_file = "b"', "`password_env` are both given", ""),
        ('passwordenv = "A"', "`state.passwordenv` is not a key", "`password_env`"),
    ],
)
def test_a_mistake_is_named_and_no_secret_repeated(table: str, message: str, hint: str) -> None:
    error = refusal(table)
    assert message in error.message and hint in (error.hint or "")
    assert "s3cret" not in f"{error} {error.hint}" and "s3-cret" not in f"{error} {error.hint}"


@pytest.mark.parametrize(
    ("secret", "message", "source"),
    [
        (Secret(env="NONE_SUCH", what="password"), "`NONE_SUCH` is not set", "environment variable NONE_SUCH"),
        (Secret(file="none", what="password"), "password file `.*none` cannot be read", "password file none"),
        (Secret(command="false x", what="password"), "password_command `false` ended", "password_command false"),
    ],
)
def test_a_password_that_cannot_be_had_is_called_one(tmp_path: Path, secret: Secret, message: str, source: str) -> None:
    with pytest.raises(AuthenticationFailed, match=message):
        resolve_key(secret, base=tmp_path, environ=os.environ)
    assert source_of(secret) == source


@pytest.mark.parametrize("url", ["redis://h:6379/0", "sqlite:x.db"])
def test_a_rendered_file_names_the_state_that_it_was_given(url: str) -> None:
    text = render_topology(name="books", nodes=check_topology(REST, SOURCE).nodes, state_url=url)
    assert check_topology(text, SOURCE).state.url == url
    assert ("several hosts" in text) == url.startswith("redis")
