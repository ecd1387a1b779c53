"""Before a change: the cluster and the plan are shown, one question is asked; over the whole command tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from miroir_cli.cli.app import app
from miroir_cli.cli.caution import CHANGES, Caution
from miroir_cli.dev.engine.testing import Engine
from tests.backends import lose_state
from tests.cli.conftest import edit
from tests.conftest import ROOT, Miroir

OVERVIEW = "cluster `test` as it is: "
QUESTION = re.compile(r"\[y/N\] |Type `([^`]+)` to go on: ")


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command below the root by its words."""
    if isinstance(command, TyperGroup):
        context: Any = None
        for name in command.list_commands(context):
            yield from leaves(command.get_command(context, name), (*words, name))
    else:
        yield " ".join(words), command


COMMANDS = dict(leaves(get_command(app)))


def spellings(words: str) -> set[str]:
    return {spelling for parameter in COMMANDS[words].params for spelling in parameter.opts}


# the table


def test_the_table_names_commands_that_there_are() -> None:
    assert set(CHANGES) <= set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS)
def test_what_changes_something_can_be_tried_and_what_asks_can_be_answered_ahead(words: str) -> None:
    cases = CHANGES.get(words, ())
    assert ("--dry-run" in spellings(words)) == bool(cases), f"`miroir {words}`: is it in cli/caution.py?"
    assert ("--yes" in spellings(words)) == any(case.caution.may_ask for case in cases)
    assert ("-y" in spellings(words)) == ("--yes" in spellings(words))


def test_the_guide_has_the_table() -> None:
    page = (ROOT / "docs" / "guides" / "before-a-change.md").read_text()
    for words, cases in CHANGES.items():
        for case in cases:
            row = f"| `miroir {words}` | {case.when} | {MEANINGS[case.caution]} | {case.why} |"
            assert row in page, row


MEANINGS = {
    Caution.ACTS: "no question",
    Caution.SHOWS: "asks on a terminal",
    Caution.ASKS: "asks; scripts say `--yes`",
    Caution.NAMES: "asks for the name; scripts say `--yes`",
}


# every command, with a line that would change something


class World:
    """A cluster of three with an index, and what the commands need to have something to do."""

    def __init__(self, miroir: Miroir, folder: Path, spare: Engine, engines: list[Engine]) -> None:
        self.miroir, self.folder, self.spare, self.engines = miroir, folder, spare, engines

    def wish_for_less(self) -> None:
        edit(self.folder, "replicas = 2", "replicas = 1")

    def begin_a_run(self) -> None:
        edit(self.folder, "replicas = 2", "replicas = 3")
        assert self.miroir("rebalance", "run", "--yes", "--rate", "1", "--max-duration", "1s").status == 5

    def miss_a_write(self) -> None:
        self.engines[2].stop()
        self.miroir("delete", "books", "1", env={})
        self.engines[2].start()

    def lose_an_only_copy(self) -> None:
        self.wish_for_less()
        assert self.miroir("rebalance", "run", "--yes").status == 0
        self.engines[2].stop()

    def lose_all_copies(self) -> None:
        """n3 is away for a write, and then the nodes that have it are."""
        self.miss_a_write()
        for engine in self.engines[:2]:
            engine.stop()

    def stock_the_spare(self) -> None:
        with httpx.Client(base_url=self.spare.url) as client:
            task = client.post("/indexes/old/documents", json=[{"id": 1}]).json()["taskUid"]
            while client.get(f"/tasks/{task}").json()["status"] in ("enqueued", "processing"):
                continue

    def back_up(self) -> None:
        assert self.miroir("backup", "create", "backups").status == 0

    def make_an_alias(self) -> None:
        assert self.miroir("index", "create", "films", "-k", "id").status == 0
        assert self.miroir("alias", "create", "live", "books").status == 0

    def lose_the_state(self) -> None:
        lose_state(self.folder)

    def lose_the_state_and_a_node(self) -> None:
        self.lose_the_state()
        self.engines[2].stop()

    def snapshot(self) -> tuple[str, object]:
        """What a command may not change by itself: the file, and what is where, also on the spare server."""
        text = (self.folder / "miroir.toml").read_text()
        spare = httpx.get(f"{self.spare.url}/indexes").json()["total"]
        with suppress(ValueError):
            found = self.miroir("status", "--json").json
            return text, (found["cluster"], found["indexes"], spare)
        return text, spare


Line = tuple[str, Caution, str, Callable[[World], object] | None]

LINES: tuple[Line, ...] = (
    ("node add n4=SPARE", Caution.ASKS, "", None),
    ("node drain n3", Caution.ASKS, "", None),
    ("node remove n3", Caution.ASKS, "", None),
    ("node remove n3 --no-drain --force", Caution.NAMES, "n3", World.lose_an_only_copy),
    ("node replace n3 n4=SPARE", Caution.ASKS, "", None),
    ("node replace n3 n4=SPARE --force", Caution.NAMES, "n3", World.lose_an_only_copy),
    ("rebalance run", Caution.ASKS, "", World.wish_for_less),
    ("rebalance pause", Caution.ACTS, "", World.begin_a_run),
    ("rebalance resume --max-duration 1s", Caution.ACTS, "", World.begin_a_run),
    ("rebalance rate 2", Caution.ACTS, "", World.begin_a_run),
    ("rebalance cancel", Caution.ASKS, "", World.begin_a_run),
    ("index create films -k id", Caution.SHOWS, "", None),
    ("index delete books", Caution.NAMES, "books", None),
    ("index swap books films", Caution.ACTS, "", lambda world: world.miroir("index", "create", "films", "-k", "id")),
    ("index rename books novels", Caution.ACTS, "", None),
    ("alias create live books", Caution.ACTS, "", None),
    ("alias flip live films", Caution.ACTS, "", World.make_an_alias),
    ("alias delete live", Caution.ACTS, "", World.make_an_alias),
    ("index unfreeze books", Caution.ACTS, "", None),
    ('index settings set books sortableAttributes=["title"]', Caution.SHOWS, "", None),
    ("index settings reset books", Caution.SHOWS, "", lambda world: world.miroir(
        "index", "settings", "set", "books", 'sortableAttributes=["title"]'
    )),
    ("import books books.ndjson", Caution.ACTS, "", None),
    ("import copy --from SPARE --from-index old --delete", Caution.ASKS, "", World.stock_the_spare),
    ("export books --output out.ndjson", Caution.ACTS, "", None),
    ("export books --to SPARE --delete", Caution.ASKS, "", None),
    ("backup create backups", Caution.ACTS, "", None),
    ("backup restore backups --as again", Caution.ACTS, "", World.back_up),
    ("backup restore backups --replace", Caution.NAMES, "books", World.back_up),
    ("delete books 1 2", Caution.SHOWS, "", None),
    ("delete books --filter id=1", Caution.ASKS, "", lambda world: world.miroir(
        "index", "settings", "set", "books", 'filterableAttributes=["id"]'
    )),
    ("delete books --all", Caution.NAMES, "books", None),
    ("repair", Caution.SHOWS, "", World.miss_a_write),
    ("repair books --accept-data-loss --no-compare", Caution.NAMES, "books", World.lose_all_copies),
    ("state recover", Caution.ASKS, "", World.lose_the_state),
    ("state recover --accept-loss n3", Caution.NAMES, "test", World.lose_the_state_and_a_node),
)  # fmt: skip
ELSEWHERE = {"init", "dev up", "dev down", "tasks cancel", "backup prune"}
"""Without a cluster, or with something to cancel; see their own tests."""


def test_every_case_of_the_table_has_a_line() -> None:
    wanted = {(words, case.caution) for words, cases in CHANGES.items() for case in cases if words not in ELSEWHERE}
    have = {
        (words, caution)
        for line, caution, _, _ in LINES
        for words in CHANGES
        if line.startswith(f"{words} ") or line == words
    }
    assert wanted == have


@pytest.fixture
def world(stocked: Miroir, tmp_path: Path, spare: Engine, engines: list[Engine]) -> World:
    return World(stocked, tmp_path, spare, engines)


@pytest.mark.parametrize(("line", "caution", "name", "prepare"), LINES, ids=[line[0] for line in LINES])
def test_it_is_shown_and_asked_once_and_no_means_no(
    world: World, terminal: Miroir, line: str, caution: Caution, name: str, prepare: Callable[[World], object] | None
) -> None:
    if prepare is not None:
        prepare(world)
    words = line.replace("SPARE", world.spare.url).split()
    before = world.snapshot()

    tried = terminal(*words, "--dry-run")
    assert tried.status == 0, tried.err
    assert (OVERVIEW in tried.err) == (caution.may_ask and words[0] != "state")
    assert not QUESTION.search(tried.err) and tried.out.strip()
    assert world.snapshot() == before

    if caution is Caution.ACTS:
        done = terminal(*words)
        assert done.status in (0, 5), done.err
        assert not QUESTION.search(done.err)
        return

    for answer in ("y\n" if name else "n\n",):
        asked = terminal(*words, stdin=answer)
        assert asked.status == 130, asked.err
        assert "nothing was changed" in asked.err
        questions = QUESTION.findall(asked.err)
        assert questions == [name], asked.err
        assert asked.out == "" and (OVERVIEW in asked.err or words[0] == "state")
        assert world.snapshot() == before

    alone = world.miroir(*words)
    assert not QUESTION.search(alone.err)
    if caution is Caution.SHOWS:
        assert alone.status in (0, 3), alone.err
        return
    assert alone.status == 2 and "say so with `--yes`" in alone.err
    assert world.snapshot() == before

    agreed = terminal(*words, stdin=f"{name or 'y'}\n")
    assert agreed.status in (0, 3, 5), agreed.err
    assert len(QUESTION.findall(agreed.err)) == 1
    assert world.snapshot() != before


@pytest.mark.parametrize("words", [["index", "create", "films", "-k", "id"], ["node", "add", "n4=SPARE"]])
def test_with_yes_nothing_is_asked_and_with_json_the_plan_is_beside_the_document(
    world: World, terminal: Miroir, words: list[str]
) -> None:
    words = [word.replace("SPARE", world.spare.url) for word in words]
    asked = terminal(*words, "--json", stdin="n\n")
    assert asked.status == 130
    assert OVERVIEW in asked.err and "shards" in asked.err and asked.json["error"]["code"] == "miroir_interrupted"
    done = terminal(*words, "--yes", "--json")
    assert done.status == 0 and OVERVIEW not in done.err and not QUESTION.search(done.err)


def test_the_view_fits_a_terminal_of_80_columns(world: World, terminal: Miroir) -> None:
    asked = terminal("index", "delete", "books", stdin="n\n")
    view = asked.err[: asked.err.index("\n\n")].splitlines()
    assert max(map(len, view)) <= 80
    assert view[0] == "cluster `test` as it is: 3 nodes, 1 index, epoch 2"
    assert view[1].split() == ["node", "state", "shards", "stale", "documents"]
    assert [line.split()[:4] for line in view[3:]] == [[f"n{number}", "up", "4", "0"] for number in (1, 2, 3)]


def test_an_import_that_would_make_its_index_makes_none_when_it_is_tried(world: World) -> None:
    words = ["import", "films", "books.ndjson", "--create", "--primary-key", "id"]
    tried = world.miroir(*words, "--dry-run", "--json")
    assert tried.status == 0 and tried.json["documents"] == 60 and sum(tried.json["nodes"].values()) == 120
    assert [index["uid"] for index in world.miroir("index", "list", "--json").json["indexes"]] == ["books"]
    assert world.miroir(*words).status == 0
    assert world.miroir("index", "stats", "films", "--json").json["numberOfDocuments"] == 60
