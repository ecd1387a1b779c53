"""Write what follows from the code: pages of docs/reference, and more; `--check` compares instead.

commands.md (and the summaries of `miroir --help`) from the command line's own definitions, errors.md from the error
tree and errors.toml, topology.md from the example file and the keys that the reader knows, settings.md from the
settings that are checked, embedded-node.md from the differences that the contract suite asserts, api.md from the
proxy's routes and the differences that the compatibility suite asserts, json.md from the published schemas,
dependencies.md from release/dependencies.py, memory.md from benchmarks/memory_kinds.py; the alert rules of the Helm
chart from docs/operations/alerts.yml, because a chart reads no file outside of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from docs.command_tree import commands, summaries, table  # noqa: E402
from docs.completion_scripts import completion_scripts  # noqa: E402
from docs.dependency_page import dependency_lines  # noqa: E402
from docs.error_page import error_lines  # noqa: E402
from docs.json_documents import json_documents  # noqa: E402
from docs.manual_pages import manual_pages  # noqa: E402
from docs.memory_page import memory_lines  # noqa: E402
from miroir_cli.dev.engine.differences import DIFFERENCES as ENGINE_DIFFERENCES  # noqa: E402
from miroir_cli.errors import TopologyInvalid  # noqa: E402
from miroir_cli.indexes.settings import KEYS  # noqa: E402
from miroir_cli.metrics import CATALOGUE, JOBS, PREFIX, Metric  # noqa: E402
from miroir_cli.proxy.catalogue import ROUTES  # noqa: E402
from miroir_cli.proxy.router import NotDone, Route  # noqa: E402
from miroir_cli.topology.schema import parse  # noqa: E402
from tests.compat.corpus import PARTS  # noqa: E402
from tests.compat.differences import DIFFERENCES  # noqa: E402
from tests.compat.upstream import SUITES, Suite  # noqa: E402

REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Written by docs/generate.py; change the code, then run `make docs`. -->\n"

EXIT_STATUSES = {
    0: "done",
    1: "unexpected; `-vv` shows where it came from",
    2: "the command line, a request or a document is wrong",
    3: "partial: some documents, nodes or shards failed, and they are named; `doctor` found errors or warnings",
    4: "not found",
    5: "temporary: run it again and it resumes",
    6: "the topology file, the settings or the state are invalid",
    8: "locked by another run (who, since when)",
    9: "changes are pending (`--detailed-exitcode`)",
    12: "authentication",
    13: "verify found differences",
    14: "refused, because it would lose data or coverage",
    130: "interrupted by ctrl-C (or a question answered with no), the journal saved",
    141: "the reader of standard output went away",
    143: "interrupted by SIGTERM, the journal saved",
}

MANAGED_SETTINGS = {
    "filterableAttributes": "gets miroir's shard marker added on the nodes, hidden from every answer",
    "rankingRules": "gets `<primary key>:asc` added as the last rule on the nodes (not with `--no-tie-break`), hidden",
    "faceting": "`maxValuesPerFacet` is raised on the nodes (to 1,000 at least, and to all values where a facet is "
    "ordered by count or there is a `distinctAttribute`); your value is applied when the answers are merged",
    "pagination": "`maxTotalHits` is raised on the nodes; your value is applied when the answers are merged",
    "displayedAttributes": "what the merge has to read is displayed on the nodes as well, and cut from every answer",
    "nonSeparatorTokens": "must not use one of the six signs that spell shard numbers",
    "dictionary": "must not use one of the six signs that spell shard numbers",
}


# errors


def error_page() -> str:
    return "\n".join([NOTE, *error_lines(table, EXIT_STATUSES)])


# topology and settings


def topology() -> str:
    example = (REFERENCE / "miroir.example.toml").read_text()
    lines = [NOTE, "# The topology file", ""]
    lines += [
        "`miroir init` writes it. It is found in this order: `--topology`, `MIROIR_TOPOLOGY`, `./miroir.toml`,",
        "`~/.config/miroir/miroir.toml`. The nodes' keys are never written into it. A key of the file that miroir does",
        "not know is an error that names its path and the likely key.",
        "",
    ]
    lines += table(["table", "keys"], [(f"`{name}`", key_list(name)) for name in known_keys()])
    lines += ["## Example", "", "```toml", example.rstrip("\n"), "```", ""]
    return "\n".join(lines)


def key_list(name: str) -> str:
    return ", ".join(f"`{key}`" for key in known_keys()[name])


def known_keys() -> dict[str, list[str]]:
    """The keys of every table, as the reader itself lists them when it meets one that it does not know."""
    cluster, node = {"name": "x"}, {"name": "n1", "url": "http://a:1"}
    wrong = {"zzzzzzzz": 1}
    files: dict[str, dict[str, Any]] = {
        "[cluster]": {"cluster": {**cluster, **wrong}, "nodes": [node]},
        "[state]": {"cluster": cluster, "state": wrong, "nodes": [node]},
        "[defaults]": {"cluster": cluster, "defaults": wrong, "nodes": [node]},
        "[[nodes]]": {"cluster": cluster, "nodes": [{**node, **wrong}]},
        "[serve]": {"cluster": cluster, "serve": wrong, "nodes": [node]},
        "[serve.admin]": {"cluster": cluster, "serve": {"admin": wrong}, "nodes": [node]},
    }
    return {name: listed_keys(content) for name, content in files.items()}


def listed_keys(content: dict[str, Any]) -> list[str]:
    try:
        parse(content, source="example")
    except TopologyInvalid as error:
        return (error.hint or "").partition("known here: ")[2].split(", ")
    raise AssertionError("an unknown key was accepted")


def settings() -> str:
    lines = [NOTE, "# Index settings", ""]
    lines += [
        "The settings of an index are those of Meilisearch, with its names and JSON values. They are checked before",
        "anything is sent, applied on every node under the index's order lock, and read back. In a file given to",
        "`index create --settings` or `index settings set --file`, null means the default.",
        "",
    ]
    lines += table(["setting", "what miroir does with it"], [(f"`{k}`", MANAGED_SETTINGS.get(k, "")) for k in KEYS])
    return "\n".join(lines)


# the embedded node


def embedded_node() -> str:
    lines = [NOTE, "# The embedded node", ""]
    lines += [
        "`miroir dev` and `miroir demo` start it where no `meilisearch` is found, and most tests run on it. It speaks",
        "Meilisearch's API and keeps its data on disk, and it is for development only: `status` warns when a cluster",
        "mixes it with real servers. One contract suite (`tests/contract`) holds it and Meilisearch to the same",
        "answers; these differences are known, and the suite fails when one of them is gone.",
        "",
    ]
    lines += table(["difference", "what it is"], [(f"`{name}`", text) for name, text in ENGINE_DIFFERENCES.items()])
    return "\n".join(lines)


# metrics


def metrics_page() -> str:
    lines = [NOTE, "# Metrics", ""]
    lines += [
        "## Of `miroir serve`",
        "",
        "`miroir serve` shows them at `/_miroir/metrics` (with the admin key) and, as Meilisearch does, at `/metrics`",
        "(with a key that may do `metrics.get`), in Prometheus's text format, for all workers together. Times in",
        "seconds. [alerts.yml](../operations/alerts.yml) has rules, [grafana.json](../operations/grafana.json)",
        "a dashboard.",
        "",
    ]
    lines += table(["metric", "kind", "labels", "what it is"], metric_rows(CATALOGUE))
    lines += [
        "## Of a command that ends",
        "",
        "`--metrics-file FILE` of the commands that run at night ([nightly](../guides/nightly.md)) writes these when",
        "the command ends, whatever its exit status, for node_exporter's textfile collector. The file is exchanged",
        "whole and readable by everybody. A failure keeps the time of the last success that the file had. A process",
        "that was killed with SIGKILL writes nothing: watch the age of the last success.",
        "",
    ]
    lines += table(["metric", "kind", "labels", "what it is"], metric_rows(JOBS))
    return "\n".join(lines)


def metric_rows(metrics: Sequence[Metric]) -> list[tuple[str, ...]]:
    return [
        (f"`{PREFIX}{metric.name}`", metric.kind, ", ".join(f"`{label}`" for label in metric.labels), metric.help)
        for metric in sorted(metrics, key=lambda metric: metric.name)
    ]


# the API


def api() -> str:
    lines = [NOTE, "# The API of `miroir serve`", ""]
    lines += [
        "Meilisearch's API, for a whole cluster; what miroir adds is under `/_miroir/` and describes itself at",
        "`/_miroir/openapi.json`. A route that says *as Meilisearch* gives the same bytes as one server: status, body,",
        "errors and the tasks that follow, but for times, drawn ids and sizes on disk.",
        "",
        "## Routes",
        "",
    ]
    shown = [route for route in ROUTES if not route.pattern.startswith("/_miroir/")]
    rows = [(f"`{route.method} {route.pattern}`", _treatment(route)) for route in shown]
    lines += table(["route", "what a cluster answers"], sorted(rows, key=lambda row: row[0].split()[1:] + [row[0]]))
    lines += ["## Differences", ""]
    lines += table(["difference", "why"], [(name, each.reason) for name, each in DIFFERENCES.items()])
    asked = sum(map(len, PARTS.values()))
    lines += [
        "## How this is known",
        "",
        f"`tests/compat` sends {asked} requests, good and bad, to one Meilisearch and to `miroir serve` over three,",
        "and compares the answers byte by byte; and it walks through the calls of three public clients (`meilisearch`",
        "and `meilisearch-python-sdk` from PyPI, `meilisearch` from npm) on both. A difference that is not in the list",
        "above fails the tests, and so does one of the list that is gone:",
        "",
        "```text",
        ".venv/bin/python -m pytest -m live tests/compat",
        "```",
        "",
    ]
    for suite in SUITES:
        lines += _suite(suite)
    return "\n".join(lines)


def _treatment(route: Route) -> str:
    if isinstance(route.handler, NotDone):
        return f"refused: {route.handler.reason}"
    pattern = f"{route.method} {route.pattern}"
    named = [name for name, each in DIFFERENCES.items() if pattern in each.routes]
    return ", ".join(named) if named else "as Meilisearch"


def _suite(suite: Suite) -> list[str]:
    lines = [f"### The tests of {suite.name} {suite.version}", ""]
    lines += [
        f"{suite.passed} of its tests pass on one Meilisearch 1.50; of those, {suite.passed - len(suite.apart)} pass",
        "on a cluster of three with two copies as well.",
        "",
        "```text",
        suite.command.strip(),
        "```",
        "",
    ]
    return lines + (table(["test", "why not"], [(f"`{name}`", why) for name, why in suite.apart.items()]))


# all of them


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": lambda: f"{NOTE}\n{commands()}",
    "errors.md": error_page,
    "topology.md": topology,
    "settings.md": settings,
    "embedded-node.md": embedded_node,
    "metrics.md": metrics_page,
    "api.md": api,
    "json.md": lambda: f"{NOTE}{json_documents()}",
    "dependencies.md": lambda: "\n".join([NOTE, *dependency_lines(table)]),
    "memory.md": lambda: "\n".join([NOTE, *memory_lines(table)]),
}


FILES: tuple[Callable[[], Mapping[str, str]], ...] = (
    summaries,
    completion_scripts,
    lambda: manual_pages(EXIT_STATUSES),
    lambda: {"charts/miroir/files/alerts.yml": (ROOT / "docs" / "operations" / "alerts.yml").read_text()},
)
"""What is written elsewhere, by path."""

FOLDERS: tuple[str, ...] = ("completions", "man")
"""Folders in which all files are written here: what is not any more is taken away."""


def files() -> dict[str, str]:
    """Every generated file: its path from the root, and what must be in it."""
    found = {f"docs/reference/{name}": render() for name, render in PAGES.items()}
    for render in FILES:
        found |= render()
    return {name: text.rstrip("\n") + "\n" for name, text in found.items()}


def main() -> int:
    wanted = files()
    stale = []
    for name, text in wanted.items():
        path = ROOT / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
    for path in [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*"))]:
        if path.relative_to(ROOT).as_posix() not in wanted:
            stale.append(path.relative_to(ROOT).as_posix())
            if "--check" not in sys.argv:
                path.unlink()
    if stale:
        sys.stderr.write(f"{'not current' if '--check' in sys.argv else 'written'}: {', '.join(stale)}\n")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
