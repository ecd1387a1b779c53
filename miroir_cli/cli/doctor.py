"""`miroir doctor`: what is wrong, and what to type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.failure import one_line
from miroir_cli.errors import PartialError

if TYPE_CHECKING:
    from miroir_cli.checkup.examine import Report

app = typer.Typer()

STYLES = {"error": "1;31", "warning": "1;33", "info": "1;36"}


@app.command()
def doctor(ctx: typer.Context) -> None:
    """Check the nodes, the state file and the replicas, and say for each problem what mends it.

    Changes nothing and needs no state file. Exit status 3 when there is an error or a warning, 0 otherwise.
    """

    async def command(console: Console) -> None:
        from miroir_cli.checkup.examine import check_up
        from miroir_cli.checkup.finding import count

        report = await check_up(console.topology())
        console.show(report, lambda: _show(console, report))
        found = count(report.findings)
        if found:
            raise PartialError(f"found {found}", hint="begin with the first one, then run `miroir doctor` again")

    run(ctx, command)


def _show(console: Console, report: Report) -> None:
    for finding in report.findings:
        severity = finding.severity.value
        console.print(f"{console.painted(f'{severity}:', STYLES[severity])} {one_line(finding.message)}")
        console.print(f"  {one_line(finding.hint)}")
    if not report.findings:
        console.print(f"all is well: {report.checked} checks found nothing")
