"""`miroir demo`: a cluster of three local nodes, real data, searches, a node that dies and returns, one that leaves.

Everything shown is a `miroir` command that is really run; what is claimed is checked, and a claim that does not hold
ends the demo with an error.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from miroir_cli.dev.engines import EngineChoice
from miroir_cli.dev.nodes import FIRST_PORT, kill, status
from miroir_cli.dev.process import port_in_use
from miroir_cli.dev.stage import PLAIN_TEXT, Stage, stage
from miroir_cli.errors import MiroirError, UsageError

DATA: Final = Path(__file__).parent / "data" / "clocks.ndjson.gz"
INDEX: Final = "clocks"
NODES: Final = 3
VICTIM: Final = "n2"
LEAVER: Final = "n3"
SETTINGS: Final = {
    "searchableAttributes": ["title", "country", "area", "text"],
    "filterableAttributes": ["kind", "country", "region", "year", "_geo"],
    "sortableAttributes": ["year", "timestamp", "_geo"],
}
SHOWN: Final = ("--attributes", "date,kind,place")
LAST_SEARCH: Final = (
    *("search", INDEX, "summer time begins", "--filter", "year = 1916", "--sort", "timestamp:asc"),
    *("--facets", "region", *SHOWN, "--limit", "4"),
)
COMPARED: Final = ("hits", "estimatedTotalHits", "facetDistribution")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSummary:
    """What the demo did. `directory` is None when it is gone."""

    nodes: int
    killed: str
    same_answer: bool
    seconds: float
    directory: str | None


async def demo(
    *, choice: EngineChoice, first_port: int | None, keep: bool, plain: bool, quiet: bool, environ: Mapping[str, str]
) -> DemoSummary:
    """Play the demo on standard output (on standard error when `quiet`, which leaves the other to the result).

    Raises MiroirError when a command fails or the answers differ after a node died or left. Nodes and files are gone
    afterwards, whatever happened, unless they are to be kept.
    """
    began = time.monotonic()
    out = sys.stderr if quiet else sys.stdout
    async with stage(keep=keep, plain=plain, out=out, environ=environ) as played:
        if keep:
            played.tell(f"Everything is kept in {played.directory}", style=PLAIN_TEXT)
        await _build(played, choice, first_port or _free_ports())
        await _search(played)
        answer = await _lose_a_node(played)
        await _take_it_back(played)
        await _let_a_node_go(played, answer)
    seconds = time.monotonic() - began
    _say_goodbye(played, keep=keep, seconds=seconds)
    return DemoSummary(
        nodes=NODES,
        killed=VICTIM,
        same_answer=True,
        seconds=round(seconds, 1),
        directory=str(played.directory) if keep else None,
    )


async def _build(played: Stage, choice: EngineChoice, first_port: int) -> None:
    (played.directory / "settings.json").write_bytes(msgspec.json.encode(SETTINGS))
    shutil.copy(DATA, played.directory)
    played.tell("1. Three search servers on this machine, each document on two of them")
    wanted = ["--engine", choice.value] if choice is not EngineChoice.AUTO else []
    elsewhere = ["--port", str(first_port)] if first_port != FIRST_PORT else []
    await played.run("dev", "up", *wanted, *elsewhere)
    played.tell("2. One index, spread over all of them")
    await played.run("index", "create", INDEX, "--primary-key", "id", "--settings", "settings.json")
    played.tell("3. Real data: each time that somebody changed the clocks of the world, 1835 to 1979")
    await played.run("import", INDEX, DATA.name)


async def _search(played: Stage) -> None:
    played.tell("4. Search it as if it were one server: two words mistyped")
    await played.run("search", INDEX, "duoble sumer time", *SHOWN, "--limit", "3")
    played.tell("The changes of 1940 that are nearest to Paris")
    where = ("--filter", "year = 1940", "--sort", "_geoPoint(48.86,2.35):asc")
    await played.run("search", INDEX, *where, *SHOWN, "--limit", "4")
    played.tell("1916, when summer time began to spread: where, and in which order")
    await played.run(*LAST_SEARCH)


async def _lose_a_node(played: Stage) -> Mapping[str, Any]:
    """Search before and after; the answer to the last search."""
    before: Mapping[str, Any] = await played.ask(*LAST_SEARCH)
    played.tell(f"5. Now `{VICTIM}` dies, with two thirds of the index on it, and we ask again")
    nodes = {node.name: node.pid for node in await status(played.topology)}
    await played.type(f"kill -9 {nodes[VICTIM]}")
    kill(played.topology, VICTIM)
    await played.run(*LAST_SEARCH)
    after = await played.ask(*LAST_SEARCH)
    check_same(before, after)
    played.tell("The same hits in the same order, the same total, the same counts.", style=PLAIN_TEXT)
    return before


async def _take_it_back(played: Stage) -> None:
    played.tell(f"6. While `{VICTIM}` is away, something is deleted; then it comes back and is mended")
    await played.run("delete", INDEX, "--filter", "year = 1979", "--yes", statuses=(0,))
    await played.run("dev", "up")
    await played.run("repair")


async def _let_a_node_go(played: Stage, answer: Mapping[str, Any]) -> None:
    played.tell(f"7. `{LEAVER}` is to go: its shards move to the others, while everybody searches on")
    await played.run("node", "drain", LEAVER, "--yes")
    await played.run(*LAST_SEARCH)
    check_same(answer, await played.ask(*LAST_SEARCH))
    await played.run("status", statuses=(0, 3))


def check_same(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raises MiroirError that says in what two answers differ, or that the second is partial."""
    different = [part for part in COMPARED if before.get(part) != after.get(part)]
    if after.get("partial"):
        different.append("partial")
    if different or not before["hits"]:
        raise MiroirError(
            f"the answer changed: {', '.join(different) or 'no hits'}",
            hint="this is a bug in miroir: please report it with the output above",
        )


def _free_ports() -> int:
    """The first of enough neighbouring ports that nobody uses."""
    for first in range(FIRST_PORT, FIRST_PORT + 1000, 10):
        if not any(port_in_use(first + more) for more in range(NODES)):
            return first
    raise UsageError(f"no {NODES} free ports next to each other from {FIRST_PORT} on")


def _say_goodbye(played: Stage, *, keep: bool, seconds: float) -> None:
    if keep:
        played.tell(f"That took {seconds:.0f} s. The nodes run on:")
        next_steps = {
            f"cd {played.directory}": "where it all is",
            "miroir search clocks ...": "ask more",
            "miroir node list": f"`{LEAVER}` has no shards",
            "miroir dev down": "stop the nodes",
        }
    else:
        played.tell(f"That took {seconds:.0f} s, and nothing of it is left. Next:")
        next_steps = {
            "miroir dev up": "local nodes to play with",
            "miroir init": "a cluster of your own servers",
            "miroir --help": "everything else",
        }
    longest = max(map(len, next_steps))
    for command, purpose in next_steps.items():
        played.out.write(f"  {command:{longest}}  {purpose}\n")
    played.out.flush()
