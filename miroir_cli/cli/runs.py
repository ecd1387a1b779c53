"""How runs and their steps look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.cli.console import Next
from miroir_cli.cli.prose import terminal_width
from miroir_cli.cli.table import Column, clock_time, counted
from miroir_cli.migration.step import describe_shards
from miroir_cli.store.journal import Process
from miroir_cli.store.processes import called

if TYPE_CHECKING:
    from miroir_cli.cli.console import Console

GO_ON: Final = "run `miroir rebalance run` to go on with it"
MOST_STEPS: Final = 20
"""Steps that a table shows; all of them with `-v`."""

STEP_COLUMNS = (
    Column(name="step", right=True, keep=True),
    Column(name="state", keep=True),
    Column(name="index", name_like=True, least=12),
    Column(name="shard", right=True, keep=True),
    Column(name="from", name_like=True, least=12),
    Column(name="to", name_like=True, least=12),
    Column(name="copied", right=True, keep=True, optional=True),
    Column(name="of", right=True, keep=True, optional=True),
)
DIFFERENCE_COLUMNS = (
    Column(name="index", name_like=True, least=12),
    Column(name="shard", right=True, keep=True),
    Column(name="node", name_like=True, least=12),
    Column(name="missing", right=True, keep=True),
    Column(name="extra", right=True, keep=True),
    Column(name="different", right=True, keep=True),
    Column(name="against", name_like=True, least=12, optional=True),
    Column(name="keys", optional=True, least=16),
)
MOST_KEYS: Final = 5


def process_of(found: Mapping[str, Any]) -> str:
    """The process of a run, or of a line of its journal, in words."""
    return called(Process(host=found["host"], pid=found["pid"]))


def show_run(console: Console, found: Mapping[str, Any]) -> None:
    """A run for people: one line of what it is, one of how far, the steps in hand, and what holds others up."""
    console.print(f"run {found['run']}: {found['title']}, {run_state(found)} since {clock_time(found['started_at'])}")
    limit = f", at most {found['rate']:,} documents a second" if found["rate"] else ""
    console.print(f"{how_far(found)}{limit}")
    in_hand = [step for step in found["steps"] if step["state"] in ("joining", "copying", "switching")]
    if in_hand:
        show_steps(console, in_hand)
    left = sum(step["state"] == "forgetting" for step in found["steps"])
    if left:
        console.print(f"{counted(left, 'replica')} that left {'is' if left == 1 else 'are'} still to be deleted")
    show_errors(console, found["steps"])


def next_of(found: Mapping[str, Any]) -> list[Next]:
    """The step that a run waits for: one that nobody goes on with, or that was told to pause."""
    if found["finished_at"] is not None:
        return []
    if not found["alive"]:
        return [Next(command="miroir rebalance run", purpose="to go on with it")]
    return [Next(command="miroir rebalance resume", purpose="to let it go on")] if found["wanted"] == "pause" else []


def run_state(found: Mapping[str, Any]) -> str:
    """The state of a run in a word: one that should be under way and has no process is `interrupted`."""
    if found["finished_at"] is not None or found["state"] == "stopped":
        return str(found["state"])
    if not found["alive"]:
        return "interrupted"
    return "paused" if found["wanted"] == "pause" else "running"


def how_far(found: Mapping[str, Any]) -> str:
    """How much of a run is done, in words: its moves, repairs and drops, or the shards that it has compared."""
    steps = found["steps"]
    if found["kind"] == "verify":
        compared = [step for step in steps if step["state"] == "done" and not step["error"]]
        documents = sum(step["copied"] for step in compared)
        return f"{_of(len(compared), len(steps), 'shard')} compared, {counted(documents, 'document')}"
    drops = [step for step in steps if step["to"] is None]
    parts = []
    if found["moves"] or not drops:
        documents = f"{found['documents_moved']:,}"
        if found["documents"] not in (None, found["documents_moved"]):
            documents += f" of {found['documents']:,}"
        what = "repair" if found["kind"] == "repair" else "move"
        parts = [_of(found["switched"], found["moves"], what), f"{documents} documents copied"]
    if drops:
        gone = sum(step["state"] in ("forgetting", "done") for step in drops)
        parts.append(f"{_of(gone, len(drops), 'replica')} dropped")
    return ", ".join(parts)


def _of(done: int, all_: int, what: str) -> str:
    return counted(all_, what) if done == all_ else f"{done:,} of {counted(all_, what)}"


def show_steps(console: Console, steps: Sequence[Mapping[str, Any]]) -> None:
    """A table of steps: what is not done comes first where there are too many, columns without anything go."""
    shown = list(steps)
    if len(shown) > MOST_STEPS and not console.options.verbose:
        shown.sort(key=lambda step: step["state"] == "done" and not step["error"])
        shown = sorted(shown[:MOST_STEPS], key=lambda step: step["number"])
    rows = [_step_row(step) for step in shown]
    whole = terminal_width() is None  # a pipe always has the same columns
    used = [each for each in range(len(STEP_COLUMNS)) if whole or any(row[each] is not None for row in rows)]
    console.table([STEP_COLUMNS[each] for each in used], [[row[each] for each in used] for row in rows])
    _and_more(console, len(steps) - len(shown))


def _step_row(step: Mapping[str, Any]) -> tuple[Any, ...]:
    copied = step["copied"] if step["to"] is not None else None
    whole = step["documents"] if step["to"] is not None else None
    place = (step["index"], str(step["shard"]), step["from"], step["to"])
    return (str(step["number"]), step["state"], *place, copied, whole)


def show_differences(console: Console, differences: Sequence[Mapping[str, Any]]) -> None:
    """A table of what a verification found to differ, from its JSON document."""
    shown = differences if console.options.verbose else differences[:MOST_STEPS]
    console.table(DIFFERENCE_COLUMNS, [_difference_row(each) for each in shown])
    _and_more(console, len(differences) - len(shown))


def _difference_row(each: Mapping[str, Any]) -> tuple[Any, ...]:
    kinds = [each["missing"], each["extra"], each["different"]]
    keys = sorted(key for kind in kinds for key in kind)
    shown = ", ".join(keys[:MOST_KEYS]) + (f" and {len(keys) - MOST_KEYS:,} more" if len(keys) > MOST_KEYS else "")
    return (each["index"], str(each["shard"]), each["node"], *map(len, kinds), each["reference"], shown)


def _and_more(console: Console, count: int) -> None:
    if count:
        console.print(f"and {count:,} more (`-v` shows all)")


def show_errors(console: Console, steps: Iterable[Mapping[str, Any]]) -> None:
    """What keeps steps from being done, those with the same reason together."""
    by_error: dict[tuple[str, str | None], list[tuple[str, int | None]]] = {}
    for step in steps:
        if step["error"]:
            by_error.setdefault((step["error"], step["to"] or step["from"]), []).append((step["index"], step["shard"]))
    for (error, node), named in by_error.items():
        where = f" on `{node}`" if node else ""
        console.print(f"{describe_shards(named)}{where}: {error}")
