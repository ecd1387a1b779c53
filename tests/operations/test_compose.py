"""The compose file, its topology file and the Containerfile agree with each other and with what both servers read."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from miroir_cli.dev.engine.testing import Engine
from miroir_cli.topology.file import Topology, load_topology
from tests.conftest import ROOT, clean_environment
from tests.faults.servers import BINARY

FOLDER = ROOT / "docs" / "operations"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SERVERS = {name: each for name, each in SERVICES.items() if name != "miroir"}
MIROIR = SERVICES["miroir"]
CONTAINERFILE = (FOLDER / "Containerfile").read_text()


def topology() -> Topology:
    return load_topology(FOLDER / "compose.toml")


def test_compose_understands_the_file() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(FOLDER / "compose.yml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_topology_names_the_services_and_their_ports() -> None:
    nodes = {node.name: urlsplit(node.url) for node in topology().nodes}
    assert set(nodes) == set(SERVERS) == set(MIROIR["depends_on"])
    for name, url in nodes.items():
        listening = SERVERS[name]["environment"]["MEILI_HTTP_ADDR"]
        assert url.hostname == name and listening == f"0.0.0.0:{url.port}"
        assert f"http://127.0.0.1:{url.port}/health" in SERVERS[name]["healthcheck"]["test"]
        assert MIROIR["depends_on"][name] == {"condition": "service_healthy"}


def test_every_server_has_a_volume_of_its_own_and_the_state_has_one() -> None:
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]]
    named = [name for name in mounted if not name.startswith(".")]
    assert sorted(named) == sorted(COMPOSE["volumes"]) and len(set(named)) == len(named)
    for server in SERVERS.values():
        folder = server["volumes"][0].split(":")[1]
        assert server["environment"]["MEILI_DB_PATH"].startswith(f"{folder}/")
    assert f"state:{topology().state_path.parent}" in MIROIR["volumes"]
    assert f"VOLUME {topology().state_path.parent}" in CONTAINERFILE


def test_the_proxy_is_given_what_the_topology_asks_for() -> None:
    environment, found = MIROIR["environment"], topology()
    keys = {node.key.env for node in found.nodes if node.key is not None} | {found.serve.admin_key.env}  # type: ignore[union-attr]
    assert set(environment) == keys | {"MIROIR_TOPOLOGY"}
    master = {server["environment"]["MEILI_MASTER_KEY"] for server in SERVERS.values()}
    assert master == {environment["MIROIR_NODE_KEY"]}
    mounted = next(volume for volume in MIROIR["volumes"] if volume.startswith("./"))
    assert mounted == f"./compose.toml:{environment['MIROIR_TOPOLOGY']}:ro"
    assert f'"--topology", "{environment["MIROIR_TOPOLOGY"]}"' in CONTAINERFILE


def test_the_proxy_listens_where_it_is_asked() -> None:
    port = topology().serve.port
    assert topology().serve.host == "0.0.0.0"
    assert MIROIR["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"EXPOSE {port}" in CONTAINERFILE and f'"--port", "{port}"' in CONTAINERFILE
    for check in (str(MIROIR["healthcheck"]["test"]), CONTAINERFILE):
        assert f"http://127.0.0.1:{port}/_miroir/ready" in check


def test_secrets_are_asked_for_and_not_written_down() -> None:
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if name.endswith("_KEY"):
                assert re.fullmatch(r"\$\{(MEILI_MASTER_KEY|MIROIR_ADMIN_KEY):\?put it into \.env\}", value)


def test_meilisearch_is_new_enough() -> None:
    for server in SERVERS.values():
        version = server["image"].removeprefix("getmeili/meilisearch:v").split(".")
        assert (int(version[0]), int(version[1])) >= (1, 26)


@pytest.mark.live
def test_meilisearch_knows_its_variables() -> None:
    if BINARY is None:
        pytest.skip("no `meilisearch` on PATH and MIROIR_MEILISEARCH is not set")
    help = subprocess.run([BINARY, "--help"], capture_output=True, text=True, check=True).stdout
    for name in next(iter(SERVERS.values()))["environment"]:
        assert f"[env: {name}=" in help


def test_the_containerfile_starts_what_exists() -> None:
    found = {
        word: json.loads(rest) for word, rest in re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", CONTAINERFILE, re.MULTILINE)
    }
    assert found["ENTRYPOINT"][0] == "miroir"
    words = [*found["ENTRYPOINT"][1:], *found["CMD"], "--help"]
    done = subprocess.run(
        [sys.executable, "-m", "miroir_cli", *words], capture_output=True, env=clean_environment(), check=False
    )
    assert done.returncode == 0
    for line in CONTAINERFILE.splitlines():
        if line.startswith("RUN "):
            assert shlex.split(line)


@pytest.fixture
def served(engines: list[Engine], tmp_path: Path) -> Topology:
    """The topology of the compose file with embedded nodes at its addresses."""
    text = (FOLDER / "compose.toml").read_text().replace("/var/lib/miroir", str(tmp_path / "state"))
    for number, engine in enumerate(engines, 1):
        text = text.replace(f"http://n{number}:7700", engine.url)
    (tmp_path / "compose.toml").write_text(text.replace("0.0.0.0", "127.0.0.1"))
    return load_topology(tmp_path / "compose.toml")


def test_the_commands_of_the_guide_run_in_the_container_as_it_is_set_up(served: Topology, tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "guides" / "containers.md").read_text()
    lines = re.findall(r"^docker compose exec (?:-T )?miroir (miroir .*)$", guide, re.MULTILINE)
    assert len(lines) == 4
    (tmp_path / "books.ndjson").write_text('{"id": 1, "title": "The Left Hand of Darkness"}\n')
    script = "\n".join(lines).replace("miroir ", f"'{sys.executable}' -m miroir_cli ")
    keys = {name: "unused-and-long-enough" for name in MIROIR["environment"] if name.endswith("_KEY")}
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=tmp_path,
        env=clean_environment(HOME=str(tmp_path), MIROIR_TOPOLOGY=str(served.path), **keys),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "The Left Hand of Darkness" in done.stdout, done.stderr


def test_the_proxy_starts_with_an_empty_volume_and_is_healthy_by_the_files_own_check(
    served: Topology, tmp_path: Path
) -> None:
    environment = {name: "a-key-of-more-than-sixteen-bytes" for name in MIROIR["environment"] if name.endswith("_KEY")}
    log = tmp_path / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "miroir_cli", "serve", "--port", "0"],
            env=clean_environment(HOME=str(tmp_path), MIROIR_TOPOLOGY=str(served.path), **environment),
            stderr=errors,
        )
    try:
        until = time.monotonic() + 40
        while (address := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())) is None:
            assert time.monotonic() < until and process.poll() is None, log.read_text()
            time.sleep(0.05)
        check = [word.replace(":7700/", f":{address[1]}/") for word in MIROIR["healthcheck"]["test"][1:]]
        assert check[0] == "python"
        while subprocess.run([sys.executable, *check[1:]], capture_output=True, env=os.environ, check=False).returncode:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
    finally:
        process.terminate()
        assert process.wait(30) in (0, 143)
