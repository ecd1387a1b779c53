"""The compose file and the units for three nodes, two proxies and Redis agree with each other and with the servers."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from redis import Redis

from miroir_cli.dev.engine.testing import Engine
from miroir_cli.topology.file import Topology, load_topology
from tests.conftest import ROOT, clean_environment
from tests.faults.servers import BINARY
from tests.store.redis_server import running_redis

OPERATIONS = ROOT / "docs" / "operations"
FOLDER = OPERATIONS / "several-hosts"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yml").read_text())
ALONE: dict[str, Any] = yaml.safe_load((OPERATIONS / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NODES = {name: each for name, each in SERVICES.items() if name.startswith("n")}
PROXIES = {name: each for name, each in SERVICES.items() if name.startswith("miroir")}
UNITS = sorted(FOLDER.glob("*.service"))


def topology(name: str) -> Topology:
    return load_topology(FOLDER / name)


# with Compose


def test_compose_understands_the_file() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(FOLDER / "compose.yml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_there_are_three_nodes_two_proxies_and_redis() -> None:
    assert set(SERVICES) == {*NODES, *PROXIES, "redis"} and (len(NODES), len(PROXIES)) == (3, 2)
    assert list(NODES.values()) == [ALONE["services"][name] for name in NODES], "the nodes of the file for one proxy"
    assert COMPOSE["name"] != ALONE["name"], "or one would take the other's volumes"


def test_the_topology_names_the_services_and_their_ports() -> None:
    found = topology("compose.toml")
    nodes = {node.name: urlsplit(node.url) for node in found.nodes}
    assert set(nodes) == set(NODES)
    for name, url in nodes.items():
        assert url.hostname == name and NODES[name]["environment"]["MEILI_HTTP_ADDR"] == f"0.0.0.0:{url.port}"
    redis = urlsplit(found.state.url)
    assert (redis.scheme, redis.hostname, redis.port, redis.path) == ("redis", "redis", 6379, "/0")
    assert "port 6379\n" in (FOLDER / "redis.conf").read_text()


def test_the_proxies_are_alike_but_for_their_port() -> None:
    first, second = PROXIES.values()
    assert {**first, "ports": None} == {**second, "ports": None}
    port = topology("compose.toml").serve.port
    assert first["ports"] == [f"127.0.0.1:7700:{port}"] and second["ports"] == [f"127.0.0.1:7701:{port}"]
    assert topology("compose.toml").serve.host == "0.0.0.0"
    assert set(first["depends_on"]) == {*NODES, "redis"}
    assert all(each == {"condition": "service_healthy"} for each in first["depends_on"].values())
    assert f"http://127.0.0.1:{port}/_miroir/live" in str(first["healthcheck"]["test"])
    for service in SERVICES.values():
        assert "healthcheck" in service and service["restart"] == "unless-stopped"


def test_the_proxies_are_given_what_the_topology_asks_for() -> None:
    environment = next(iter(PROXIES.values()))["environment"]
    named = re.findall(r'^\w+_env = "(.*)"$', (FOLDER / "compose.toml").read_text(), re.M)
    assert set(environment) == {*named, "MIROIR_TOPOLOGY"} and "MIROIR_STATE_PASSWORD" in named
    assert environment["MIROIR_STATE_PASSWORD"] == SERVICES["redis"]["environment"]["REDISCLI_AUTH"]
    assert environment["MIROIR_NODE_KEY"] == NODES["n1"]["environment"]["MEILI_MASTER_KEY"]
    (mounted,) = next(iter(PROXIES.values()))["volumes"]
    assert mounted == f"./compose.toml:{environment['MIROIR_TOPOLOGY']}:ro"
    build = next(iter(PROXIES.values()))["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).resolve() == OPERATIONS / "Containerfile"


def test_secrets_are_asked_for_and_not_written_down() -> None:
    guide = (ROOT / "docs" / "guides" / "containers.md").read_text()
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if re.search("KEY|PASSWORD|AUTH", name):
                found = re.fullmatch(r"\$\{([A-Z_]+):\?put it into \.env\}", value)
                assert found and f"{found[1]}=%s" in guide


def test_every_server_and_redis_have_a_volume_of_their_own() -> None:
    mounted = [volume.split(":")[0] for each in SERVICES.values() for volume in each.get("volumes", [])]
    named = [name for name in mounted if not name.startswith(".")]
    assert sorted(named) == sorted(COMPOSE["volumes"]) == ["n1", "n2", "n3", "redis"]


def test_the_image_has_what_redis_needs(tmp_path: Path) -> None:
    """The line of the Containerfile, with a `pip` that writes down what it is asked to install."""
    containerfile = (OPERATIONS / "Containerfile").read_text()
    (line,) = [line.removeprefix("RUN ") for line in containerfile.splitlines() if "pip install" in line]
    (tmp_path / "wheels").mkdir()
    wheel = tmp_path / "wheels" / "miroir-1.2.3-py3-none-any.whl"
    wheel.touch()
    (tmp_path / "pip").write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/asked"\n')
    (tmp_path / "pip").chmod(0o755)
    script = line.replace("/tmp/*.whl", f"{tmp_path}/wheels/*.whl")
    environment = clean_environment()
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    subprocess.run(["/bin/sh", "-euc", script], env=environment, check=True)
    assert (tmp_path / "asked").read_text().split()[-1] == f"{wheel}[redis]" and not wheel.exists()


# with systemd


def read(path: Path) -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=")
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    return unit["Service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in UNITS:
        text = re.sub(r"^ExecStart=\S+", f"ExecStart={program}", path.read_text(), flags=re.M)
        (tmp_path / path.name.replace("@", "@7700")).write_text(text)
    units = [str(path) for path in tmp_path.glob("*.service")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (len(units), done.returncode, done.stderr) == (3, 0, "")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_every_unit_is_kept_in_and_keeps_its_files(path: Path) -> None:
    service = read(path)
    assert service["User"] != "root" and service["ProtectSystem"] == "strict" and service["UMask"] == "0077"
    for switch in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "RestrictSUIDSGID", "ProtectHome"):
        assert service[switch] == "yes"
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"
    assert "EnvironmentFile" in service or "LoadCredential" in service
    assert not re.search("(?i)(key|password|requirepass)[= ][\"']?[a-z0-9]{8}", service["ExecStart"])


def test_a_proxy_among_several_runs_as_one_alone() -> None:
    alone, several = dict(read(OPERATIONS / "miroir.service")), dict(read(FOLDER / "miroir@.service"))
    words = several.pop("ExecStart").split()
    assert alone.pop("ExecStart").split()[:4] == words[:4] and words[-2:] == ["--port", "%i"]
    assert alone == several


def test_miroir_understands_what_the_unit_starts() -> None:
    words = shlex.split(read(FOLDER / "miroir@.service")["ExecStart"].replace("%i", "7700"))[1:]
    done = subprocess.run(
        [sys.executable, "-m", "miroir_cli", *words, "--help"],
        capture_output=True,
        env=clean_environment(),
        check=False,
    )
    assert done.returncode == 0


@pytest.mark.live
def test_meilisearch_understands_what_the_unit_starts() -> None:
    if BINARY is None:
        pytest.skip("no `meilisearch` on PATH and MIROIR_MEILISEARCH is not set")
    help = subprocess.run([BINARY, "--help"], capture_output=True, text=True, check=True).stdout
    words = shlex.split(read(FOLDER / "meilisearch.service")["ExecStart"])[1:]
    for word in words:
        assert not word.startswith("--") or re.search(rf"^ +{word}\b", help, re.M), word
    folder = f"/var/lib/{read(FOLDER / 'meilisearch.service')['StateDirectory']}/"
    for option in ("--db-path", "--dump-dir", "--snapshot-dir"):
        assert words[words.index(option) + 1].startswith(folder)


def test_the_topology_of_the_machines_names_the_ports_of_the_units() -> None:
    found = topology("miroir.toml")
    start = read(FOLDER / "meilisearch.service")["ExecStart"].split()
    port = start[start.index("--http-addr") + 1].rpartition(":")[2]
    assert [urlsplit(node.url).port for node in found.nodes] == [int(port)] * 3
    assert urlsplit(found.state.url).port == 6379
    assert found.cluster.replicas == 2


def test_the_guide_makes_the_files_that_the_units_read() -> None:
    guide = (ROOT / "docs" / "guides" / "several-hosts.md").read_text()
    named = re.findall(r'_env = "(.*)"', (FOLDER / "miroir.toml").read_text())
    for path in UNITS:
        service = read(path)
        file = service.get("EnvironmentFile") or service["LoadCredential"].partition(":")[2]
        assert file in guide
        assert path.name in guide
    for name in (*named, "MEILI_MASTER_KEY", "requirepass"):
        assert name in guide


# together


@contextmanager
def proxy(folder: Path, topology: Path, keys: dict[str, str]) -> Iterator[str]:
    """`miroir serve` as a container of the compose file runs it, when its own check has found it alive: its address."""
    folder.mkdir()
    log = folder / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "miroir_cli", "serve", "--port", "0"],
            cwd=folder,
            env=clean_environment(HOME=str(folder), MIROIR_TOPOLOGY=str(topology), **keys),
            stderr=errors,
        )
    try:
        until = time.monotonic() + 60
        while (found := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())) is None:
            assert time.monotonic() < until and process.poll() is None, log.read_text()
            time.sleep(0.05)
        check = [word.replace(":7700/", f":{found[1]}/") for word in PROXIES["miroir-1"]["healthcheck"]["test"][2:]]
        while subprocess.run([sys.executable, *check], capture_output=True, check=False).returncode:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield found[0]
    finally:
        process.terminate()
        assert process.wait(60) in (0, 143)


def test_what_is_written_through_one_proxy_is_found_through_the_other(engines: list[Engine], tmp_path: Path) -> None:
    """The topology file of the compose file, with embedded nodes and a Redis that has a password."""
    password = "a-password-of-redis"
    keys = dict.fromkeys(("MIROIR_NODE_KEY", "MIROIR_ADMIN_KEY"), "a-key-of-more-than-sixteen-bytes")
    with running_redis(tmp_path / "redis") as redis, ExitStack() as stack:
        with Redis(port=redis.port) as opened:
            opened.config_set("requirepass", password)
        text = (FOLDER / "compose.toml").read_text().replace("0.0.0.0", "127.0.0.1")
        text = text.replace("redis://redis:6379/0", redis.url)
        for number, engine in enumerate(engines, 1):
            text = text.replace(f"http://n{number}:7700", engine.url)
        path = tmp_path / "compose.toml"
        path.write_text(text)
        keys["MIROIR_STATE_PASSWORD"] = password
        first, second = (stack.enter_context(proxy(tmp_path / name, path, keys)) for name in PROXIES)
        with httpx.Client(headers={"Authorization": f"Bearer {keys['MIROIR_NODE_KEY']}"}, timeout=60) as client:
            book = {"id": 1, "title": "The Left Hand of Darkness"}
            task = client.post(f"{first}/indexes/books/documents", json=[book]).raise_for_status().json()["taskUid"]
            until = time.monotonic() + 60
            while (found := client.get(f"{second}/tasks/{task}").json())["status"] in ("enqueued", "processing"):
                assert time.monotonic() < until
                time.sleep(0.05)
            assert found["status"] == "succeeded", found
            assert client.get(f"{second}/indexes/books/documents/1").json() == book
