"""The Helm chart as Helm renders it: `render(values)` and what is found in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

CHART = ROOT / "charts" / "miroir"
EXAMPLES = sorted((CHART / "ci").glob("*.yaml"))

REFUSED_BY_SCHEMA = "values don't meet the specifications of the schema(s)"
REFUSED_BY_TEMPLATE = "execution error at"

Manifest = dict[str, Any]
Values = Mapping[str, Any]


def helm(*arguments: str, values: str = "") -> subprocess.CompletedProcess[str]:
    """Run the `helm` of this environment; `values` are what it reads from its standard input."""
    program = shutil.which("helm", path=Path(sys.executable).parent)
    assert program is not None, "helm-binary of the dev extra is not installed"
    return subprocess.run([program, *arguments], input=values, capture_output=True, text=True, check=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The manifests of a release that is called `r`, in the namespace `search`."""

    manifests: tuple[Manifest, ...]
    text: str

    def kinds(self) -> set[tuple[str, str]]:
        return {(each["kind"], each["metadata"]["name"]) for each in self.manifests}

    def one(self, kind: str, name: str) -> Manifest:
        (found,) = [each for each in self.all(kind) if each["metadata"]["name"] == name]
        return found

    def all(self, kind: str) -> list[Manifest]:
        return [each for each in self.manifests if each["kind"] == kind]

    def pods(self) -> list[Manifest]:
        """The templates of pods."""
        return [each["spec"]["template"] for each in self.manifests if "template" in each.get("spec", {})]

    def containers(self) -> list[Manifest]:
        return [container for pod in self.pods() for container in pod["spec"]["containers"]]

    @property
    def topology(self) -> str:
        """The topology file that the proxies are given."""
        (found,) = [each for each in self.all("ConfigMap") if each["metadata"]["name"].endswith("-topology")]
        return str(found["data"]["miroir.toml"])


def template(values: Values, *, chart: Path = CHART) -> subprocess.CompletedProcess[str]:
    """Helm's own answer to values that come on top of the defaults."""
    words = ("template", "r", str(chart), "--namespace", "search", "--values", "-")
    return helm(*words, values=json.dumps(dict(values)))


def render(values: Values | Path | None = None) -> Rendered:
    """What is rendered with these values on top of the defaults, or those of a file."""
    if isinstance(values, Path):
        values = yaml.safe_load(values.read_text())
    return _render(json.dumps(values or {}, sort_keys=True))


@cache
def _render(values: str) -> Rendered:
    done = template(json.loads(values))
    assert done.returncode == 0, done.stderr
    manifests = [each for each in yaml.safe_load_all(done.stdout) if each is not None]
    return Rendered(manifests=tuple(manifests), text=done.stdout)


def set_in(path: str, value: object) -> dict[str, Any]:
    """Values that set one thing: `set_in("a.b", 1)` is `{"a": {"b": 1}}`."""
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def together(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Several values as one, as Helm puts them together."""
    found: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            both = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
            found[name] = together(found[name], value) if both else value
    return found


def texts_in(value: object) -> Iterable[str]:
    """All texts in a manifest."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)
