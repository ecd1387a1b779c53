"""The chart as it is rendered: Kubernetes understands it, it fits together, and no secret is in it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from jsonschema import Draft202012Validator

from miroir_cli import __version__
from miroir_cli.dev.engine.testing import Engine
from miroir_cli.proxy.catalogue import ROUTES
from miroir_cli.topology.file import Topology, load_topology
from tests.charts.chart import CHART, EXAMPLES, Manifest, helm, render, set_in, template, texts_in, together
from tests.conftest import ROOT, Miroir

ALERTS = ROOT / "docs" / "operations" / "alerts.yml"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
ALL = [None, *EXAMPLES]
NAMES = ["default", *(path.stem for path in EXAMPLES)]
everywhere = pytest.mark.parametrize("values", ALL, ids=NAMES)

OLDEST, NEWEST = "1.29", "1.37"
"""The versions of Kubernetes that the manifests are held to."""

TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
CUSTOM = {
    # As the Prometheus operator documents them, as far as the chart uses them.
    "ServiceMonitor": {
        "type": "object",
        "additionalProperties": False,
        "required": ["selector", "endpoints"],
        "properties": {
            "selector": {
                "type": "object",
                "additionalProperties": False,
                "required": ["matchLabels"],
                "properties": {"matchLabels": TEXTS},
            },
            "endpoints": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["port", "path", "interval"],
                    "properties": {
                        "port": {"type": "string"},
                        "path": {"type": "string", "pattern": "^/"},
                        "interval": {"type": "string", "pattern": "^[0-9]+(s|m)$"},
                        "authorization": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["credentials"],
                            "properties": {
                                "type": {"const": "Bearer"},
                                "credentials": {
                                    "type": "object",
                                    "additionalProperties": False,
                                    "required": ["name", "key"],
                                    "properties": {"name": {"type": "string"}, "key": {"type": "string"}},
                                },
                            },
                        },
                    },
                },
            },
        },
    },
    "PrometheusRule": {
        "type": "object",
        "additionalProperties": False,
        "required": ["groups"],
        "properties": {
            "groups": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["name", "rules"],
                    "properties": {
                        "name": {"type": "string"},
                        "interval": {"type": "string"},
                        "rules": {
                            "type": "array",
                            "minItems": 1,
                            "items": {
                                "type": "object",
                                "additionalProperties": False,
                                "required": ["alert", "expr"],
                                "properties": {
                                    "alert": {"type": "string"},
                                    "expr": {"type": "string"},
                                    "for": {"type": "string", "pattern": "^[0-9]+(s|m|h|d)$"},
                                    "labels": TEXTS,
                                    "annotations": TEXTS,
                                },
                            },
                        },
                    },
                },
            }
        },
    },
}


def topology(values: Path | None, folder: Path) -> Topology:
    """The topology file of the chart, as miroir reads it."""
    path = folder / "miroir.toml"
    path.write_text(render(values).topology)
    return load_topology(path)


@everywhere
def test_helm_finds_nothing_to_say(values: Path | None) -> None:
    done = helm("lint", "--strict", str(CHART), *(() if values is None else ("--values", str(values))))
    said = [line for line in done.stdout.splitlines() if line.startswith("[") and "icon is recommended" not in line]
    assert (done.returncode, said) == (0, []), done.stderr


@everywhere
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_understands_every_manifest(values: Path | None, version: str) -> None:
    manifests = render(values).manifests
    assert len(manifests) > 5
    for manifest in manifests:
        if manifest["kind"] in CUSTOM:
            assert manifest["apiVersion"] == "monitoring.coreos.com/v1"
            Draft202012Validator(CUSTOM[manifest["kind"]]).validate(manifest["spec"])
        else:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_the_oldest_version_of_kubernetes_is_the_one_that_is_tested() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={OLDEST}.0-0"
    assert f"Kubernetes {OLDEST}" in (ROOT / "docs" / "guides" / "kubernetes.md").read_text()


def test_the_chart_installs_this_miroir() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
    (miroir,) = [each for each in render().containers() if each["name"] == "miroir"]
    assert miroir["image"] == f"miroir:{__version__}"


@everywhere
def test_names_are_unique_and_labels_say_whose_they_are(values: Path | None) -> None:
    rendered = render(values)
    assert len(rendered.kinds()) == len(rendered.manifests)
    for manifest in rendered.manifests:
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "r"
        assert len(manifest["metadata"]["name"]) <= 52, "a StatefulSet's pods get a label of eleven characters more"


def test_the_longest_names_are_short_enough() -> None:
    zones = [{"name": "z" * 8, "label": "zone"}]
    values = together(set_in("fullnameOverride", "n" * 31), set_in("meilisearch.zones", zones))
    assert max(len(name) for _, name in render(values).kinds()) == 52


# what selects what


def selected(manifests: list[Manifest], labels: dict[str, str]) -> list[Manifest]:
    return [each for each in manifests if labels.items() <= each["metadata"]["labels"].items()]


@everywhere
def test_everything_that_selects_pods_finds_one_component(values: Path | None) -> None:
    rendered = render(values)
    for manifest in rendered.manifests:
        spec = manifest.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector"))
        if selector is None or manifest["kind"] == "ServiceMonitor":
            continue
        labels = selector if manifest["kind"] == "Service" else selector["matchLabels"]
        found = selected(rendered.pods(), labels)
        components = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in found}
        assert len(components) == 1, manifest["metadata"]["name"]
        if manifest["kind"] in ("StatefulSet", "Deployment"):
            assert found == [spec["template"]]


@everywhere
def test_services_name_ports_that_containers_have(values: Path | None) -> None:
    rendered = render(values)
    for service in rendered.all("Service"):
        for pod in selected(rendered.pods(), service["spec"]["selector"]):
            (container,) = pod["spec"]["containers"]
            named = {port["name"] for port in container["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


def test_upgrading_the_chart_alone_restarts_no_meilisearch() -> None:
    for pod in render().pods():
        if "proxy" not in pod["metadata"]["labels"].values():
            assert not any(text in ("0.1.0", "miroir-0.1.0") for text in texts_in(pod))


# the topology file


@everywhere
def test_the_nodes_of_the_topology_file_are_the_pods(values: Path | None, tmp_path: Path) -> None:
    rendered, found = render(values), topology(values, tmp_path)
    pods: dict[str, str | None] = {}
    for each in rendered.all("StatefulSet"):
        labels = each["spec"]["template"]["metadata"]["labels"]
        if labels["app.kubernetes.io/component"] != "meilisearch":
            continue
        service = rendered.one("Service", each["spec"]["serviceName"])
        assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
        (port,) = service["spec"]["ports"]
        affinity = each["spec"]["template"]["spec"].get("affinity", {}).get("nodeAffinity")
        zone = None
        if affinity is not None:
            (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
            (wanted,) = term["matchExpressions"]
            (zone,) = wanted["values"]
        for number in range(each["spec"]["replicas"]):
            name = f"{each['metadata']['name']}-{number}"
            node = found.node(name)
            assert node.url.startswith(f"http://{name}.{service['metadata']['name']}.search.svc.")
            assert node.url.endswith(f":{port['port']}") and len(name) <= 63
            pods[name] = zone
    assert {str(node.name): node.zone for node in found.nodes} == pods
    drained = [] if values is None else yaml.safe_load(values.read_text()).get("meilisearch", {}).get("drained", [])
    assert [str(node.name) for node in found.nodes if node.drained] == drained


def test_the_proxy_is_given_what_the_topology_asks_for(tmp_path: Path) -> None:
    rendered = render(CHART / "ci" / "sqlite.yaml")
    (proxy,) = [each for each in rendered.containers() if each["name"] == "miroir"]
    found = topology(CHART / "ci" / "sqlite.yaml", tmp_path)
    mounts = {each["mountPath"]: each for each in proxy["volumeMounts"]}
    named = {each["name"]: each.get("value") for each in proxy["env"]}
    assert mounts[named["MIROIR_TOPOLOGY"]]["subPath"] == "miroir.toml"
    assert "readOnly" not in mounts[str(found.state_path.parent)]
    assert proxy["ports"] == [{"name": "http", "containerPort": found.serve.port}]
    assert found.serve.host == "0.0.0.0" and found.serve.workers == 2 and found.serve.header_timeout == 2.5
    assert found.serve.queue == 1_000_000, "no exponent"
    assert (found.cluster.name, found.cluster.replicas, len(found.nodes)) == ("small", 1, 1)


@everywhere
def test_the_state_is_where_the_chart_says(values: Path | None, tmp_path: Path) -> None:
    rendered, state = render(values), topology(values, tmp_path).state
    own = [each for each in rendered.all("Service") if each["metadata"]["name"].endswith("-redis")]
    if own:
        (port,) = own[0]["spec"]["ports"]
        assert state.host.startswith(f"{own[0]['metadata']['name']}.search.svc.")
        assert state.url == f"redis://{state.host}:{port['port']}/0"
    else:
        assert state.url in ("sqlite:/var/lib/miroir/state.db", "rediss://state.example.org:6380/2")
    assert state.shared is ("sqlite" not in str(values))
    if state.shared:
        given = VALUES if values is None else together(VALUES, yaml.safe_load(values.read_text()))
        lease = given["state"]["redis"]["lease"]
        assert (state.lease_renewal, state.lease_expiry) == (lease["renewal"], lease["expiry"])
        assert state.stale_reads == given["state"]["redis"]["staleReads"]


@everywhere
def test_miroir_finds_nothing_wrong_with_the_file(values: Path | None, miroir: Miroir, tmp_path: Path) -> None:
    """As far as can be said without the nodes and Redis, which are not there."""
    path = topology(values, tmp_path).path
    keys = dict.fromkeys(re.findall(r'_env = "(.*)"', path.read_text()), "unused-and-long-enough")
    done = miroir("--topology", str(path), "config", "show", "--json", env=keys)
    assert done.status == 0, done.err


@everywhere
def test_every_variable_that_the_file_names_is_set_from_a_secret(values: Path | None) -> None:
    rendered = render(values)
    named = set(re.findall(r'_env = "(.*)"', rendered.topology))
    (proxy,) = [each for each in rendered.containers() if each["name"] == "miroir"]
    given = {each["name"] for each in proxy["env"] if "valueFrom" in each}
    assert given == named and "MIROIR_NODE_KEY" in given


def test_what_is_new_in_the_file_restarts_the_proxies_and_nothing_else() -> None:
    def checksums(values: dict[str, Any]) -> list[object]:
        return [pod["metadata"].get("annotations") for pod in render(values).pods()]

    before, after = checksums({}), checksums(set_in("proxy.serve.hedge", False))
    assert [a == b for a, b in zip(before, after, strict=True)].count(False) == 1


# secrets


@everywhere
def test_no_secret_is_rendered_and_none_is_anywhere_but_in_the_environment(values: Path | None) -> None:
    rendered = render(values)
    assert rendered.all("Secret") == []
    for container in rendered.containers():
        for variable in container["env"]:
            secret = re.search("KEY|PASSWORD|SECRET|TOKEN|AUTH", variable["name"]) is not None
            assert ("value" not in variable) is secret, variable
    assert re.findall(r"^\s*(?:key|password|\w+_key) = .*$", rendered.topology, re.M) == []


@everywhere
def test_secrets_are_those_that_the_values_name(values: Path | None) -> None:
    given = VALUES if values is None else together(VALUES, yaml.safe_load(values.read_text()))
    named = {(each["name"], each["key"]) for each in given["secrets"].values()}
    used = set()
    for container in render(values).containers():
        for variable in container["env"]:
            if "valueFrom" in variable:
                found = variable["valueFrom"]["secretKeyRef"]
                used.add((found["name"], found["key"]))
    assert used <= named and len(used) >= 2 - (values is not None)


# running


@everywhere
def test_pods_have_no_rights_that_they_do_not_need(values: Path | None) -> None:
    for pod in render(values).pods():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        volumes = {volume["name"] for volume in spec.get("volumes", [])} | {"data"}
        (container,) = spec["containers"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True and security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
        assert "memory" in container["resources"]["limits"] and "cpu" in container["resources"]["requests"]


@everywhere
def test_probes_ask_routes_that_are_there(values: Path | None) -> None:
    known = {route.pattern for route in ROUTES if route.method == "GET" and route.action is None}
    for container in render(values).containers():
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(name, {})
            if "httpGet" in probe:
                assert probe["httpGet"]["port"] == "http"
                assert probe["httpGet"]["path"] in known | {"/health"}
        assert "livenessProbe" in container and "readinessProbe" in container


def test_no_probe_that_asks_the_state_store_takes_a_proxy_out_of_service() -> None:
    (proxy,) = [each for each in render().containers() if each["name"] == "miroir"]
    assert proxy["startupProbe"]["httpGet"]["path"] == "/_miroir/ready"
    assert proxy["readinessProbe"]["httpGet"]["path"] == proxy["livenessProbe"]["httpGet"]["path"] == "/_miroir/live"


@everywhere
def test_pods_have_the_time_to_finish_what_has_begun(values: Path | None, tmp_path: Path) -> None:
    for pod in render(values).pods():
        (container,) = pod["spec"]["containers"]
        grace = pod["spec"]["terminationGracePeriodSeconds"]
        if container["name"] == "miroir":
            stop = re.search(r"^stop_timeout = (\d+)$", render(values).topology, re.M)
            needed = int(stop[1]) if stop else 30
            assert grace == needed + 15
            assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
        else:
            assert grace >= 60


def test_one_proxy_with_sqlite_is_stopped_before_the_next_one_starts() -> None:
    rendered = render(CHART / "ci" / "sqlite.yaml")
    assert rendered.one("Deployment", "r")["spec"]["strategy"] == {"type": "Recreate"}
    claim = rendered.one("PersistentVolumeClaim", "r-state")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert ("StatefulSet", "r-redis") not in rendered.kinds()
    assert ("PodDisruptionBudget", "r") not in rendered.kinds(), "its host could never be emptied"


def test_several_proxies_are_replaced_one_by_one() -> None:
    deployment = render().one("Deployment", "r")["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert render().one("PodDisruptionBudget", "r")["spec"]["maxUnavailable"] == 1


def test_the_autoscaler_and_the_deployment_do_not_both_say_how_many() -> None:
    rendered = render(CHART / "ci" / "everything.yaml")
    assert "replicas" not in rendered.one("Deployment", "r")["spec"]
    scaler = rendered.one("HorizontalPodAutoscaler", "r")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "r"}
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 9)


@everywhere
def test_volumes_of_data_outlive_the_release(values: Path | None) -> None:
    for each in render(values).all("StatefulSet"):
        assert each["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
        (claim,) = each["spec"]["volumeClaimTemplates"]
        assert claim["metadata"] == {"name": "data"}, "a label that changes could not be applied"


@everywhere
def test_no_more_than_one_node_is_taken_away_at_once(values: Path | None) -> None:
    rendered = render(values)
    (budget,) = [
        each
        for each in rendered.all("PodDisruptionBudget")
        if "meilisearch" in each["spec"]["selector"]["matchLabels"].values()
    ]
    assert budget["spec"]["maxUnavailable"] == 1
    nodes = [each for each in rendered.all("StatefulSet") if "meilisearch" in each["metadata"]["labels"].values()]
    for each in nodes:
        assert selected([each["spec"]["template"]], budget["spec"]["selector"]["matchLabels"])
        assert each["spec"]["podManagementPolicy"] == "Parallel" and each["spec"]["minReadySeconds"] >= 10


# the network


def peers(rule: Manifest, word: str) -> list[str]:
    return [each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in rule[word]]


def test_only_proxies_reach_nodes_and_redis() -> None:
    rendered = render()
    for name, port in (("r-meilisearch", 7700), ("r-redis", 6379)):
        (rule,) = rendered.one("NetworkPolicy", name)["spec"]["ingress"]
        assert rule["ports"] == [{"port": port, "protocol": "TCP"}] and peers(rule, "from") == ["proxy"]
    assert rendered.one("NetworkPolicy", "r-redis")["spec"]["egress"] == []
    dns, nodes, redis = rendered.one("NetworkPolicy", "r")["spec"]["egress"]
    assert {each["port"] for each in dns["ports"]} == {53}
    assert (peers(nodes, "to"), peers(redis, "to")) == (["meilisearch"], ["redis"])


def test_a_redis_elsewhere_is_reached_at_its_port() -> None:
    rendered = render(CHART / "ci" / "zones.yaml")
    assert rendered.one("NetworkPolicy", "search")["spec"]["egress"][-1] == {
        "ports": [{"port": 6380, "protocol": "TCP"}]
    }
    assert not [name for _, name in rendered.kinds() if "redis" in name]
    usual = render(set_in("state.redis.url", "redis://state.example.org"))
    assert usual.one("NetworkPolicy", "r")["spec"]["egress"][-1]["ports"][0]["port"] == 6379


def test_clients_and_ways_out_are_those_that_are_named() -> None:
    rendered = render(CHART / "ci" / "everything.yaml")
    (rule,) = rendered.one("NetworkPolicy", "r")["spec"]["ingress"]
    assert len(rule["from"]) == 2
    for name in ("r", "r-meilisearch"):
        assert "192.0.2.0/24" in set(texts_in(rendered.one("NetworkPolicy", name)["spec"]["egress"]))
    assert "from" not in render().one("NetworkPolicy", "r")["spec"]["ingress"][0]
    assert not render(CHART / "ci" / "sqlite.yaml").all("NetworkPolicy")


# metrics


def test_the_rules_are_those_of_the_alerts_file() -> None:
    assert (CHART / "files" / "alerts.yml").read_text() == ALERTS.read_text(), "run `make docs`"
    rule = render(CHART / "ci" / "everything.yaml").one("PrometheusRule", "r")
    assert rule["spec"] == yaml.safe_load(ALERTS.read_text())
    assert rule["metadata"]["labels"]["release"] == "prometheus"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here: Debian has it in `prometheus`")
def test_prometheus_understands_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(render(CHART / "ci" / "everything.yaml").one("PrometheusRule", "r")["spec"]))
    done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_are_asked_for_where_they_are_with_the_admin_key() -> None:
    rendered = render(CHART / "ci" / "everything.yaml")
    monitor = rendered.one("ServiceMonitor", "r")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["path"] in {route.pattern for route in ROUTES}
    assert endpoint["authorization"]["credentials"] == {"name": "miroir", "key": "admin-key"}
    (service,) = selected(rendered.all("Service"), monitor["spec"]["selector"]["matchLabels"])
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert not render().all("ServiceMonitor") and not render().all("PrometheusRule")


# what is said after installing


def notes(values: Path | None, folder: Path) -> str:
    """What Helm prints after installing; `helm template` leaves it out."""
    chart = folder / "miroir"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "said.yaml").write_text(
        'said: |\n  {{- include (print $.Template.BasePath "/NOTES.txt") . | nindent 2 }}\n'
    )
    done = template({} if values is None else yaml.safe_load(values.read_text()), chart=chart)
    assert done.returncode == 0, done.stderr
    (said,) = [each["said"] for each in yaml.safe_load_all(done.stdout) if each and "said" in each]
    return str(said)


@everywhere
def test_the_notes_say_where_it_is_which_secrets_it_needs_and_how_it_is_upgraded(
    values: Path | None, tmp_path: Path
) -> None:
    said, rendered = notes(values, tmp_path), render(values)
    deployment = rendered.all("Deployment")[0]["metadata"]["name"]
    assert f"exec deploy/{deployment} -- miroir rebalance run --yes" in said
    assert re.search(rf"http://{deployment}\.search\.svc\.[a-z0-9.]+:\d+\n", said)
    for text in texts_in([container["env"] for container in rendered.containers()]):
        if text.endswith("-key") or text.endswith("-password"):
            assert f"key {text} (" in said
    assert ("WARNING: one proxy with SQLite" in said) is (values is not None and values.stem == "sqlite")
    assert "MEILI_UPGRADE_DB" in said and "minReadySeconds" not in said


# the guide


def commands(guide: str, first: str) -> list[str]:
    """The commands of the guide that begin so, each on one line."""
    lines = guide.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith(first)]


GUIDE = (ROOT / "docs" / "guides" / "kubernetes.md").read_text()


def test_helm_understands_the_commands_of_the_guide() -> None:
    found = commands(GUIDE, "helm upgrade")
    assert len(found) == 4
    for line in found:
        words = shlex.split(line)
        assert words[words.index("miroir") + 1] == "charts/miroir"
        kept = [word for word in words[2:] if word not in ("--install", "--reuse-values")]
        drains = ["--set", "meilisearch.nodes=5"] if "meilisearch-4" in line else []
        done = helm("template", *[str(CHART) if word == "charts/miroir" else word for word in kept], *drains)
        assert done.returncode == 0, done.stderr
        assert ("drained = true" in done.stdout) is bool(drains)


def test_the_commands_of_the_guide_run_in_a_pod(engines: list[Engine], miroir: Miroir, tmp_path: Path) -> None:
    """On embedded nodes, in one folder that stands for the pod's."""
    values = together(set_in("state.backend", "sqlite"), set_in("proxy.replicas", 1))
    text = render(values).topology.replace("/var/lib/miroir", str(tmp_path))
    for number, engine in enumerate(engines):
        text = re.sub(rf"http://r-meilisearch-{number}\.[^\"]*", engine.url, text)
    (tmp_path / "miroir.toml").write_text(text)
    (tmp_path / "books.ndjson").write_text('{"id": 1, "title": "The Left Hand of Darkness"}\n')
    keys = dict.fromkeys(("MIROIR_NODE_KEY", "MIROIR_ADMIN_KEY"), "unused-and-long-enough")
    found = [line.partition(" -- miroir ")[2] for line in commands(GUIDE, "kubectl --namespace search exec")]
    assert len(found) == 6 and found[2].endswith(" - < books.ndjson")
    for line in found:
        done = miroir(*shlex.split(line.replace("- < ", "")), env=keys)
        assert done.status == 0, (line, done.err)
    assert "r-meilisearch-2" in done.out


@pytest.mark.parametrize("name", ["redis.yaml", "sqlite.yaml", "zones.yaml"])
def test_the_values_that_the_guide_shows_are_values(name: str) -> None:
    shown = dict(
        zip(("zones.yaml", "redis.yaml", "sqlite.yaml"), re.findall("```yaml\n(.*?)```", GUIDE, re.S), strict=True)
    )
    assert render(yaml.safe_load(shown[name])).topology
