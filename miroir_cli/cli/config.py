"""`miroir config`: whether the topology file is right, and what it comes to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.doctor import STYLES, FailOn, finding_json
from miroir_cli.cli.failure import one_line
from miroir_cli.cli.table import counted
from miroir_cli.errors import TopologyInvalid

if TYPE_CHECKING:
    from miroir_cli.checkup.configuration import ConfigReport, Located
    from miroir_cli.checkup.finding import Finding

GROUP = """
Check the topology file, and show what it comes to.

`check` tells all that is wrong at once, and what the file asks for that the cluster does not have yet. `show` has every
setting with its default, and where it comes from. Neither changes anything.

Examples:
  miroir config check
  miroir config show
"""

app = typer.Typer()
config = typer.Typer(no_args_is_help=True, help=GROUP)
app.add_typer(config, name="config")


@config.command()
def check(
    ctx: typer.Context,
    online: Annotated[
        bool, typer.Option("--online", help="Ask the nodes, and Redis, as well, and try their keys.")
    ] = False,
    fail_on: Annotated[
        FailOn, typer.Option(help="The least severity that makes the exit status 6; `none`: it is always 0.")
    ] = FailOn.ERROR,
) -> None:
    """Check the topology file, and show what it would change.

    Reads the file, the keys that it names and the state file, and asks no server unless `--online` says so. Every
    problem is told at once, with its line, the key and the likely spelling; after that, what the file asks for and the
    cluster does not have yet, with the command that does it. It changes nothing. The exit status is 6 when something
    is as bad as `--fail-on` says, 0 otherwise.

    Examples:
      miroir config check
      miroir config check --online
      miroir config check --json --fail-on warning     # in CI
    """

    async def command(console: Console) -> None:
        from miroir_cli.checkup.configuration import check_configuration
        from miroir_cli.checkup.finding import Severity, at_least, count

        path = _path(console)
        report = await check_configuration(path, online=online)
        console.show(_report_json(report), lambda: _show(console, report))
        bad = [] if fail_on is FailOn.NONE else at_least(_findings(report), Severity(fail_on.value))
        if bad:
            raise TopologyInvalid(f"found {count(bad)} in `{path}`", hint="see `docs/reference/topology.md`")

    run(ctx, command)


@config.command()
def show(ctx: typer.Context) -> None:
    """Show every setting with its value and where that is from.

    Defaults are filled in, keys are shown by where they come from and never themselves, and variables that take the
    place of a setting are named. Nothing is asked of nodes.

    Examples:
      miroir config show
      miroir config show --json > effective.json
    """

    async def command(console: Console) -> None:
        from miroir_cli.cli.table import Column
        from miroir_cli.topology.effective import effective
        from miroir_cli.topology.file import check_topology, parse_toml, read_text, unwrap
        from miroir_cli.topology.keys import source_of
        from miroir_cli.topology.lines import lines_of
        from miroir_cli.topology.schema import read

        path = _path(console)
        text = read_text(path)
        topology = check_topology(text, path)
        content, _ = read(unwrap(path, parse_toml(path, text)))
        settings = effective(content, lines_of(text), source_of=source_of, environ=os.environ)
        found_by = _found_by(console, path)
        document = {
            "file": str(path),
            "found_by": found_by,
            "state_file": None if topology.state.shared else str(topology.state_path),
            "settings": [
                {
                    "key": each.key,
                    "value": each.value,
                    "source": each.source,
                    "line": each.line,
                    "variable": each.variable,
                }
                for each in settings
            ],
        }
        columns = (Column(name="setting", keep=True), Column(name="value", wrap=True), Column(name="from", keep=True))
        rows = [(each.key, _written(each.value), each.origin) for each in settings]

        def render() -> None:
            place = "Redis" if topology.state.shared else topology.state_path
            console.print(f"{path} ({found_by}), state in {place}")
            console.print()
            console.table(columns, rows)

        console.show(document, render)

    run(ctx, command)


def _path(console: Console) -> Path:
    from miroir_cli.topology.file import find_topology

    return find_topology(console.options.topology, os.environ)


def _found_by(console: Console, path: Path) -> str:
    """How the file was found, in words."""
    if console.options.topology is not None:
        named = os.environ.get("MIROIR_TOPOLOGY") == str(console.options.topology)
        return "MIROIR_TOPOLOGY" if named else "--topology"
    return "in this folder" if path.parent == Path() else "in the folder of your settings"


def _findings(report: ConfigReport) -> list[Finding]:
    return [each.finding for each in report.findings]


def _report_json(report: ConfigReport) -> dict[str, Any]:
    from miroir_cli.checkup.finding import Severity

    wrong = any(each.finding.severity is Severity.ERROR for each in report.findings)
    return {
        "file": str(report.path),
        "valid": not wrong,
        "findings": [{**finding_json(each.finding), "line": each.line} for each in report.findings],
        "changes": [finding_json(each) for each in report.changes],
    }


def _show(console: Console, report: ConfigReport) -> None:
    for each in report.findings:
        severity = each.finding.severity.value
        word = console.painted(f"{severity}:", STYLES[severity])
        console.print(f"{_place(report.path, each)}: {word} {one_line(each.finding.message)}")
        console.print(f"  {one_line(each.finding.hint)}")
    if report.topology is None:
        return
    topology = report.topology
    groups = topology.groups()
    many = f" in {counted(len(groups), 'group')}" if len(groups) > 1 else ""
    copies = counted(topology.cluster.replicas * len(groups), "copy", "copies")
    said = f"cluster `{topology.cluster.name}`, {counted(len(topology.nodes), 'node')}{many}, {copies} of each shard"
    console.print(f"{report.path}: {'read' if report.findings else 'all is well'}: {said}")
    _show_changes(console, report.changes)


def _show_changes(console: Console, changes: Iterable[Finding]) -> None:
    """What the file would change, those with one command together."""
    by_hint: dict[str, list[str]] = {}
    for change in changes:
        by_hint.setdefault(change.hint, []).append(change.message)
    for hint, messages in by_hint.items():
        for message in messages:
            console.print(f"change: {one_line(message)}")
        console.print(f"  {one_line(hint)}")


def _place(path: Path, located: Located) -> str:
    return f"{path}:{located.line}" if located.line is not None else f"{path}"


def _written(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
