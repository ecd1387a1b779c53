"""How runs and their steps look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.cli.table import Column, clock_time, counted

if TYPE_CHECKING:
    from miroir_cli.cli.console import Console

GO_ON: Final = "run `miroir rebalance run` to go on with it"
STEP_COLUMNS = (
    Column(name="step", right=True, keep=True),
    Column(name="state", keep=True),
    Column(name="shard", keep=True),
    Column(name="from", keep=True),
    Column(name="to", keep=True),
    Column(name="copied", right=True, keep=True),
    Column(name="error", optional=True),
)


def show_run(console: Console, found: Mapping[str, Any]) -> None:
    """A run for people: one line of what it is, one of how far, and the steps in hand."""
    console.print(f"run {found['run']}: {found['title']}, {run_state(found)} since {clock_time(found['started_at'])}")
    documents = f"{found['documents_moved']:,}"
    if found["documents"] is not None:
        documents += f" of {found['documents']:,}"
    limit = f", at most {found['rate']:,} documents a second" if found["rate"] else ""
    console.print(f"{found['switched']} of {counted(found['moves'], 'move')}, {documents} documents copied{limit}")
    steps = [step for step in found["steps"] if step["state"] not in ("pending", "done") or step["error"]]
    if steps:
        console.table(STEP_COLUMNS, [step_row(step) for step in steps])
    if not found["alive"] and found["finished_at"] is None:
        console.say(f"hint: {GO_ON}")


def run_state(found: Mapping[str, Any]) -> str:
    """The state of a run in a word: one that should be under way and has no process is `interrupted`."""
    if found["finished_at"] is not None or found["state"] == "stopped":
        return str(found["state"])
    if not found["alive"]:
        return "interrupted"
    return "paused" if found["wanted"] == "pause" else "running"


def step_row(step: Mapping[str, Any]) -> tuple[Any, ...]:
    """A step as one row under `STEP_COLUMNS`."""
    documents = step["documents"]
    copied = f"{step['copied']:,}" if documents is None else f"{step['copied']:,} of {documents:,}"
    shard = f"{step['index']} {step['shard']}"
    return (step["number"], step["state"], shard, step["from"], step["to"], copied, step["error"])
