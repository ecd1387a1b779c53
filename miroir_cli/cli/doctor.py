"""`miroir doctor`: what is wrong, and what to type."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.failure import one_line
from miroir_cli.errors import PartialError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from miroir_cli.checkup.finding import Finding

app = typer.Typer()

STYLES = {"error": "1;31", "warning": "1;33", "info": "1;36"}


class FailOn(StrEnum):
    """From which severity on a check-up fails."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    NONE = "none"


Check = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Only this check, or this group of checks such as `node`. Repeat it."),
]
Skip = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Not this check, or this group. Repeat it.")]


@app.command()
def doctor(
    ctx: typer.Context,
    check: Check = None,
    skip: Skip = None,
    fail_on: Annotated[
        FailOn, typer.Option(help="The least severity that makes the exit status 3; `none`: it is always 0.")
    ] = FailOn.WARNING,
    list_checks: Annotated[bool, typer.Option("--list-checks", help="List the checks and look at nothing.")] = False,
) -> None:
    """Check nodes, replicas, state and keys, and say what to type.

    Looks at every node, the state file, the locks, the keys and this machine, and prints what is wrong and the command
    that mends it, the worst first. It changes nothing and needs no state file. The exit status is 3 when something is
    as bad as `--fail-on` says, 0 otherwise.

    Examples:
      miroir doctor
      miroir doctor --check node --check state     # only these two groups
      miroir doctor --skip node.versions --fail-on error
      miroir doctor --list-checks
    """

    async def command(console: Console) -> None:
        from miroir_cli.checkup.catalogue import selected
        from miroir_cli.checkup.examine import check_up

        checks = selected(check or (), skip or ())
        if list_checks:
            _show_checks(console, checks)
            return
        report = await check_up(console.topology(), checks=checks)
        document = {"findings": [finding_json(each) for each in report.findings], "checked": report.checked}
        console.show(document, lambda: show_findings(console, report.findings, checked=report.checked))
        fail(report.findings, fail_on)

    run(ctx, command)


def _show_checks(console: Console, checks: frozenset[str]) -> None:
    from miroir_cli.checkup.catalogue import CHECKS
    from miroir_cli.cli.table import Column

    listed = [each for each in CHECKS if each.name in checks]
    document = [{"check": each.name, "severity": each.severity, "about": each.about} for each in listed]
    columns = (Column(name="check", keep=True), Column(name="at worst", keep=True), Column(name="looks at", wrap=True))
    rows = [(each.name, each.severity.value, each.about) for each in listed]
    console.show({"checks": document}, lambda: console.table(columns, rows))


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding as `--json` prints it."""
    return {
        "severity": finding.severity.value,
        "check": finding.check,
        "where": finding.where,
        "message": finding.message,
        "hint": finding.hint,
        "next": list(finding.next),
    }


def show_findings(console: Console, findings: Iterable[Finding], *, checked: int) -> None:
    """Two lines for each finding: what is wrong, and below it what to do."""
    shown = list(findings)
    for finding in shown:
        severity = finding.severity.value
        console.print(f"{console.painted(f'{severity}:', STYLES[severity])} {one_line(finding.message)}")
        console.print(f"  {one_line(finding.hint)}")
    if not shown:
        console.print(f"all is well: {checked} checks found nothing")


def fail(findings: Iterable[Finding], fail_on: FailOn) -> None:
    """Raise `PartialError` when something is as bad as that, or worse."""
    from miroir_cli.checkup.finding import Severity, at_least, count

    if fail_on is FailOn.NONE:
        return
    bad = at_least(findings, Severity(fail_on.value))
    if bad:
        raise PartialError(f"found {count(bad)}", hint="begin with the first one, then run `miroir doctor` again")
