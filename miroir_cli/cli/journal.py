"""`miroir journal`: what was done to the cluster, by whom and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.failure import one_line
from miroir_cli.cli.runs import how_far, process_of, run_state, show_differences, show_errors, show_steps
from miroir_cli.cli.since import SinceOption
from miroir_cli.cli.since import since as moment
from miroir_cli.cli.table import Column, Styled, clock_time, counted
from miroir_cli.migration.step import describe_shards
from miroir_cli.store.journal import RunKind

GROUP = """
Show what was done to the cluster, by whom and when.

Every command that changed something is kept with who gave it, where, and how it ended; every run that moved, mended or
compared shards with its steps and all that happened to it.

Examples:
  miroir journal list
  miroir journal show c1        # a command
"""

app = typer.Typer()
journal = typer.Typer(no_args_is_help=True, help=GROUP)
app.add_typer(journal, name="journal")

ENTRY_COLUMNS = (
    Column(name="id", right=True, keep=True),
    Column(name="began", keep=True),
    Column(name="state", keep=True),
    Column(name="what"),
    Column(name="seconds", right=True, keep=True, optional=True),
    Column(name="documents", right=True, keep=True, optional=True),
    Column(name="who", optional=True),
)
STATE_STYLES = {"failed": "bold red", "unfinished": "bold yellow", "interrupted": "bold yellow", "running": "green"}
EVENT_COLUMNS = (Column(name="when", keep=True), Column(name="what", wrap=True))
MOST_EVENTS = 40
"""Lines of the journal that are shown; all of them, and each by itself, with `-v`."""


@journal.command(name="list")
def list_(
    ctx: typer.Context,
    since: SinceOption = None,
    who: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only by this user, or on this host (a part of the name).")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed or was never finished.")] = False,
    word: Annotated[
        str | None, typer.Option("--command", metavar="WORD", help="Only with this word in the command line.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many to show, both together.")
    ] = 20,
) -> None:
    """List the commands and runs that changed the cluster.

    The newest first. A command has an id such as `c12`, a run, which moves, mends or compares replicas, a number alone.
    Commands that only read, and those with `--dry-run`, are not in the journal. Secrets are removed from command lines
    before they are written. 10,000 commands of 400 days are kept, and 200 runs.

    Examples:
      miroir journal list
      miroir journal list --failed --since 7d
      miroir journal list --who backup --command import
    """

    async def command(console: Console) -> None:
        from miroir_cli.migration.history import list_journal
        from miroir_cli.store.journal import JournalQuery

        query = JournalQuery(since=moment(since), who=who, failed=failed, word=word, limit=limit)
        async with console.cluster() as cluster:
            found = await list_journal(cluster, query)
        entries = sorted((*found["runs"], *found["commands"]), key=_newest_first, reverse=True)[:limit]
        console.show(found, lambda: console.table(ENTRY_COLUMNS, map(_row, entries)))
        if not entries:
            console.say("nothing in the journal" if query == JournalQuery(limit=limit) else "nothing that matches")

    run(ctx, command)


@journal.command()
def show(
    ctx: typer.Context,
    id: Annotated[
        str, typer.Argument(metavar="ENTRY", help="A run's number, or a command's, such as `c12`.", show_default=False)
    ],
) -> None:
    """Show a command, or a run with its steps.

    Of a command who gave it, when, where and how it ended; of a run all that happened to it. The ids are those of
    `miroir journal list`. A run is told in sentences; `-v` has every line of its journal.

    Examples:
      miroir journal show c1
      miroir journal show 1 -v
    """

    async def command(console: Console) -> None:
        from miroir_cli.migration.history import show_entry

        async with console.cluster() as cluster:
            found = await show_entry(cluster, id)
        shown = _show_command if found["kind"] == "command" else _show_run
        console.show(found, lambda: shown(console, found))

    run(ctx, command)


def _newest_first(entry: Mapping[str, Any]) -> tuple[int, bool]:
    return entry["started_at"], entry["kind"] != "command"


def _row(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return _command_row(entry) if entry["kind"] == "command" else _run_row(entry)


def _command_row(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        found["id"],
        clock_time(found["started_at"]),
        _state(found["state"]),
        found["line"],
        None if found["seconds"] is None else f"{found['seconds']:.1f}",
        None,
        f"{found['user']}@{found['host']}",
    )


def _run_row(found: Mapping[str, Any]) -> tuple[Any, ...]:
    summary = found["summary"]
    shards, documents = summary.get("shards"), summary.get("documents")
    if found["kind"] != RunKind.VERIFY and found["moves"] is not None:
        shards, documents = found["moves"] + summary.get("drops", 0), found["documents_moved"]
    parts = [f"run: {found['title']}"]
    if shards is not None:
        parts.append(counted(shards, "shard"))
    if differ := summary.get("differences"):
        parts.append(counted(differ, "replica differs", "replicas differ"))
    return (
        str(found["run"]),
        clock_time(found["started_at"]),
        _state(run_state(found)),
        ", ".join(parts),
        None if found["seconds"] is None else f"{found['seconds']:.1f}",
        documents,
        None,
    )


def _state(state: str) -> Styled:
    return Styled(text=state, style=STATE_STYLES.get(state, ""))


def _show_command(console: Console, found: Mapping[str, Any]) -> None:
    """One line for each thing that is known; long ones are wrapped by the terminal, and whole in a pipe."""
    ended = ""
    if found["finished_at"] is not None:
        seconds = f"{found['seconds']:.1f} s"
        ended = f", ended {clock_time(found['finished_at'], seconds=True)} after {seconds}"
    console.print(
        f"command {found['id']}: {found['words']}, {found['state']}, "
        f"began {clock_time(found['started_at'], seconds=True)}{ended}"
    )
    console.print(one_line(found["line"]))
    behind = f" ({found['behind']} with sudo)" if found["behind"] else ""
    console.print(f"by {found['user']}@{found['host']}{behind}, process {found['pid']}")
    if found["folder"]:
        console.print(f"in {found['folder']}, with {found['topology']} (cluster `{found['cluster']}`)")
    if found["exit_status"] is not None:
        code = f" ({found['code']})" if found["code"] else ""
        result = f": {found['result']}" if found["result"] else ""
        console.print(f"exit status {found['exit_status']}{code}{result}")
    elif found["state"] == "unfinished":
        console.print("its process is gone without having said how it ended: it was killed, or the power failed")
    for number in found["runs"]:
        console.print(f"run {number}: `miroir journal show {number}`")


def _show_run(console: Console, found: Mapping[str, Any]) -> None:
    ended = f", ended {clock_time(found['finished_at'])}" if found["finished_at"] else ""
    kind = f" ({found['kind']})" if found["kind"] != found["title"] else ""
    began = clock_time(found["started_at"])
    console.print(f"run {found['run']}: {found['title']}{kind}, {run_state(found)}, began {began}{ended}")
    console.print(f"last driven by {process_of(found)}: {found['command']}")
    console.print(how_far(found))
    if found["kind"] == RunKind.VERIFY:
        _show_differences(console, found)
    elif found["steps"]:
        console.print()
        show_steps(console, found["steps"])
    show_errors(console, found["steps"])
    console.print()
    lines = _each(found) if console.options.verbose else _told(found)
    console.table(EVENT_COLUMNS, lines)


def _show_differences(console: Console, found: Mapping[str, Any]) -> None:
    if found["differences"]:
        console.print()
        show_differences(console, found["differences"])
    elif found["state"] == "done":
        console.print("no replica differs")


def _each(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every line of the journal by itself."""
    steps = {step["number"]: step for step in found["steps"]}
    for event in found["events"]:
        step = steps.get(event["step"])
        if step is None:
            yield clock_time(event["at"], seconds=True), _of_run(event)
        else:
            yield clock_time(event["at"], seconds=True), _of_steps(event, [step], times=1)


def _told(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What happened to the run, and what got in the way of steps: the same of several ones together, where it was
    first. How far each step came is in their table."""
    steps = {step["number"]: step for step in found["steps"]}
    lines: dict[tuple[object, ...], tuple[Mapping[str, Any], list[Mapping[str, Any]]]] = {}
    for position, event in enumerate(found["events"]):
        step = steps.get(event["step"])
        if step is None:
            lines[position,] = (event, [])
        elif event["detail"]:
            key = (event["state"], event["detail"], step["to"] or step["from"])
            lines.setdefault(key, (event, []))[1].append(step)
    told = [
        (clock_time(event["at"], seconds=True), _of_steps(event, about, times=len(about)) if about else _of_run(event))
        for event, about in lines.values()
    ]
    hidden = len(told) - MOST_EVENTS
    return (
        [*told[: MOST_EVENTS // 2], ("", f"{hidden:,} lines more (`-v`)"), *told[-MOST_EVENTS // 2 :]]
        if hidden > 0
        else told
    )


def _of_run(event: Mapping[str, Any]) -> str:
    """Such as `resumed by process 7: miroir rebalance run`."""
    state = str(event["state"])
    what, _, value = state.partition(": ")
    match what:
        case "begun":
            said = f"begun with {event['detail']}"
        case "asked":
            said = {"go": "told to go on", "pause": "told to pause", "cancel": "told to give up"}.get(value, state)
        case "rate":
            said = (
                f"told to move at most {value} documents a second" if value != "0" else "told to go as fast as it can"
            )
        case "parallel":
            said = f"told to move {value} shards at a time"
        case "resumed":
            said = state
        case "stopped":
            return "stopped at a clean place"
        case _:
            return state
    return f"{said}, by {process_of(event)}: {event['command']}"


def _of_steps(event: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], *, times: int) -> str:
    """Such as `shards 1, 2 of index `books` on `n4`, joining: node `n4` did not answer (3 times)`."""
    distinct = {(step["index"], step["shard"]) for step in steps}
    where = steps[0]["to"] or steps[0]["from"]
    named = describe_shards(sorted(distinct)) + (f" on `{where}`" if where else "")
    again = f" ({times} times)" if times > len(distinct) else ""
    return f"{named}, {event['state']}{': ' if event['detail'] else ''}{event['detail']}{again}"
