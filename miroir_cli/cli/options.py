"""Options and arguments that several commands have: one meaning, one spelling, one text."""

from __future__ import annotations

from typing import Annotated, Final

import typer

SAFETY: Final = "Safety"
SPEED: Final = "How fast"
RETURNED: Final = "What comes back"
WANTED: Final = "What to search"

Index = Annotated[str, typer.Argument(metavar="INDEX", help="The index's uid.", show_default=False)]
IndexOrAll = Annotated[
    str | None, typer.Argument(metavar="[INDEX]", help="The index's uid; all indexes without it.", show_default=False)
]

DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show what would be done, and do nothing.", rich_help_panel=SAFETY),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", rich_help_panel=SAFETY)]

Parallel = Annotated[
    int | None, typer.Option("--parallel", min=1, metavar="N", help="Shards at the same time.", rich_help_panel=SPEED)
]
Rate = Annotated[
    int | None,
    typer.Option("--rate", min=1, metavar="N", help="At most so many documents a second.", rich_help_panel=SPEED),
]
RetryFor = Annotated[
    float,
    typer.Option(
        "--retry-for",
        min=0,
        metavar="SECONDS",
        help="How long to try again with nodes that are busy or away.",
        rich_help_panel=SPEED,
    ),
]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again until ctrl-C.")]
Interval = Annotated[float, typer.Option("--interval", min=0.2, metavar="SECONDS", help="Pause between two looks.")]
DetailedExitcode = Annotated[
    bool, typer.Option("--detailed-exitcode", help="Exit with 9 when something is to be done.")
]

Filter = Annotated[
    str | None,
    typer.Option(
        "--filter", "-f", metavar="FILTER", help="Only what matches, such as `year < 1950`.", rich_help_panel=WANTED
    ),
]
Sort = Annotated[
    list[str] | None,
    typer.Option(
        "--sort",
        "-s",
        metavar="FIELD:asc|desc",
        help="Sort by a field; may be repeated.",
        rich_help_panel=WANTED,
    ),
]
Fields = Annotated[
    str | None,
    typer.Option(
        "--fields",
        "--attributes",
        "-a",
        metavar="A,B",
        help="Only these fields.",
        rich_help_panel=RETURNED,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", "-n", min=0, metavar="N", help="How many to show (20).", rich_help_panel=RETURNED),
]
Offset = Annotated[
    int | None, typer.Option("--offset", min=0, metavar="N", help="How many to skip.", rich_help_panel=RETURNED)
]
