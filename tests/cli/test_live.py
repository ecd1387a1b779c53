"""The live picture of `status --watch`, line by line, and the grid of nodes and shards."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rich.text import Text

from miroir_cli.cli.grid import counts, grid, height_of, legend
from miroir_cli.cli.live import bar, maps, picture
from miroir_cli.migration.watching import IndexView, NodeView, View, WorkView
from miroir_cli.model import NodeName, Replica, ReplicaState, ShardId

STATES = {
    "#": ReplicaState.SERVING,
    ">": ReplicaState.JOINING,
    "<": ReplicaState.LEAVING,
    "!": ReplicaState.STALE,
    "x": ReplicaState.LOST,
}


def replicas(**rows: str) -> tuple[Replica, ...]:
    """Replicas from a drawing: a line of signs for each node."""
    return tuple(
        Replica(shard=ShardId(shard), node=NodeName(node), state=STATES[sign], since=1)
        for node, row in rows.items()
        for shard, sign in enumerate(row)
        if sign != "."
    )


def plain(lines: Sequence[Text]) -> list[str]:
    return [line.plain.rstrip() for line in lines]


def up(name: str, *, documents: int = 10, queue: int = 0, age: float = 1.0) -> NodeView:
    return NodeView(name=name, state="up", age=age, documents=documents, queue=queue)


NODES = (up("n1", documents=1200), up("n2", queue=3), NodeView(name="n3", state="down", age=75, error="`n3` is away"))
BOOKS = IndexView(
    uid="books", shards=12, replicas=replicas(n1="######......", n2="..<.##!###..", n3="####......##", n4="..>."), age=1
)
QUIET = View(
    cluster="prod",
    epoch=7,
    nodes=(up("n1"), up("n2")),
    indexes=(IndexView(uid="books", shards=3, replicas=replicas(n1="###", n2="###"), documents=10, age=1.0),),
)


def test_a_grid_has_one_sign_for_each_replica() -> None:
    lines = grid(BOOKS.replicas, shards=12, nodes=["n1", "n2", "n3", "n4"], away={"n3"}, width=80)
    assert plain(lines) == [
        "    0         10",
        "n1  ######......",
        "n2  ..<.##!###..",
        "n3  ????......??",
        "n4  ..>.........",
    ]
    assert legend(BOOKS.replicas, {"n3"}).plain == (
        "# in sync   > joining   < leaving   ! stale   ? its node does not answer"
    )
    assert counts(BOOKS.replicas, {"n3"}) == "17 in sync, 1 joining, 1 leaving, 1 stale, 6 unreachable now"
    assert counts((), ()) == "no replica"


def test_many_shards_go_on_below_in_whole_tens() -> None:
    found = replicas(n1="#" * 45, n2="!" * 45)
    lines = grid(found, shards=45, nodes=["n1", "n2"], away=(), width=28)
    assert plain(lines) == [
        "    0         10",
        "n1  ####################",
        "n2  !!!!!!!!!!!!!!!!!!!!",
        "    20        30",
        "n1  ####################",
        "n2  !!!!!!!!!!!!!!!!!!!!",
        "    40",
        "n1  #####",
        "n2  !!!!!",
    ]
    assert len(lines) == height_of(shards=45, nodes=["n1", "n2"], width=28)
    assert len(grid(found, shards=45, nodes=["n1", "n2"], away=(), width=None)) == 3


def test_a_long_name_is_shortened_in_its_middle_on_a_terminal_only() -> None:
    name = "search-node-in-the-basement-04"
    found = replicas(**{name: "#"})
    assert plain(grid(found, shards=1, nodes=[name], away=(), width=60))[1] == "search-nod…sement-04  #"
    assert plain(grid(found, shards=1, nodes=[name], away=(), width=None))[1] == f"{name}  #"


def test_a_quiet_cluster() -> None:
    assert plain(picture(QUIET, width=80, height=24, clock="12:30:05")) == [
        "cluster `prod`, epoch 7: 2 of 2 nodes up        12:30:05, every 2 s, ctrl-C ends",
        "",
        "node  state  stale  documents  queue  shards  as of",
        "───────────────────────────────────────────────────",
        "n1    up         0         10      0       3  now",
        "n2    up         0         10      0       3  now",
        "",
        "books: 10 documents, 3 shards, 6 in sync",
        "    0",
        "n1  ###",
        "n2  ###",
        "",
        "# in sync",
    ]


def test_what_is_wrong_and_what_is_under_way_come_first() -> None:
    run = WorkView(name="run 3: add node n4", state="running", documents=250, total=1000, share=0.25, rate=50, left=15)
    view = View(
        cluster="prod",
        epoch=7,
        nodes=(*NODES, up("n4")),
        indexes=(BOOKS,),
        work=(
            run,
            WorkView(name="import films", state="waits", documents=5000),
            WorkView(name="run 4: repair", state="interrupted", documents=0, total=10, share=0.0),
        ),
        warnings=("index `books` is frozen: its nodes have unequal settings",),
    )
    assert plain(picture(view, width=80, height=24, clock="12:30:05")) == [
        "cluster `prod`, epoch 7: 3 of 4 nodes up        12:30:05, every 2 s, ctrl-C ends",
        "! index `books`: no replica of 1 shard is in sync",
        "! `n3` is away",
        "! index `books` is frozen: its nodes have unequal settings",
        "",
        "run 3: add node n4  [#####---------------]  25%  250 of 1,000, 15 s left",
        "import films        [....................]    ?  waits, 5,000",
        "run 4: repair       [--------------------]   0%  interrupted, 0 of 10",
        "",
        "node  state  stale  documents  queue  shards  as of",
        "──────────────────────────────────────────────────────",
        "n1    up         0      1,200      0       6  now",
        "n2    up         1         10      3       7  now",
        "n3    down       0          -      -       6  75 s ago",
        "n4    up         0         10      0       1  now",
        "",
        "books: 12 shards, 17 in sync, 1 joining, 1 leaving, 1 stale, 6 unreachable now",
        "    0         10",
        "n1  ######......",
        "n2  ..<.##!###..",
        "n3  ????......??",
        "n4  ..>.........",
        "",
        "# in sync   > joining   < leaving   ! stale   ? its node does not answer",
    ]


def test_where_there_is_no_room_the_rest_is_counted() -> None:
    nodes = tuple(up(f"n{number}") for number in range(1, 31))
    nodes = (*nodes[:20], NodeView(name="n21", state="down", error="`n21` is away"), *nodes[21:])
    indexes = tuple(
        IndexView(uid=f"index-{number}", shards=1, replicas=replicas(n1="!" if number == 7 else "#"))
        for number in range(12)
    )
    view = View(cluster="prod", epoch=7, nodes=nodes, indexes=indexes)
    lines = plain(picture(view, width=80, height=20))
    assert len(lines) <= 20
    assert "n21   down       0          -      -       0  -" in lines, lines
    assert any(line == "and 23 more nodes, 23 of them up and in sync" for line in lines), lines
    assert any(line.startswith("index-7: ") for line in lines), "what is not whole is listed"
    assert any(line == "and 10 more indexes, 10 of them whole" for line in lines), lines
    assert lines[-1] == "# in sync   ! stale"


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
@pytest.mark.parametrize("height", [5, 10, 24, 40, 100])
@pytest.mark.parametrize(
    ("count", "indexes", "shards"), [(1, 0, 1), (3, 2, 24), (40, 1, 512), (5, 60, 8), (40, 9, 128)]
)
def test_the_picture_never_leaves_the_terminal(width: int, height: int, count: int, indexes: int, shards: int) -> None:
    nodes = tuple(up(f"a-node-with-a-rather-long-name-{number}") for number in range(count))
    found = tuple(
        IndexView(
            uid=f"index-of-a-catalogue-{number}",
            shards=shards,
            replicas=replicas(**{node.name: "#" * shards for node in nodes[:2]}),
            documents=1_000_000,
            age=70.0,
        )
        for number in range(indexes)
    )
    work = tuple(WorkView(name=f"import an-index-{n}", state="running", documents=10**9, rate=1e5) for n in range(9))
    view = View(cluster="c" * 30, epoch=10**6, nodes=nodes, indexes=found, work=work, warnings=("w" * 300,) * 9)
    lines = picture(view, width=width, height=height)
    assert len(lines) <= height
    assert max(line.cell_len for line in lines) <= width
    if height >= 24 and width >= 80:
        shown = "\n".join(plain(lines))
        assert "a-node-with" in shown
        assert not indexes or "index-of-a" in shown


def test_no_colour_is_needed_to_read_it() -> None:
    for line in picture(QUIET, width=80, height=24):
        assert "\x1b" not in line.plain


def test_a_bar_says_how_much_and_when_nobody_knows() -> None:
    assert bar(0.999).plain == "[###################-]  99%"
    assert bar(1.0).plain == "[####################] 100%"
    assert bar(None).plain == "[....................]    ?"


def test_all_grids_are_printed_however_high() -> None:
    view = View(cluster="c", epoch=1, nodes=QUIET.nodes, indexes=QUIET.indexes * 2)
    assert plain(maps(view, width=None)) == [
        *(["books: 10 documents, 3 shards, 6 in sync", "    0", "n1  ###", "n2  ###", ""] * 2),
        "# in sync",
    ]


def test_what_nodes_and_files_are_called_does_not_drive_the_terminal() -> None:
    evil = "a\x1b]0;title\x07\x1b[31m\nb"
    work = WorkView(name=evil, state="running", documents=1, total=2)
    view = View(
        cluster="c",
        epoch=1,
        nodes=(NodeView(name="n1", state="down", age=1.0, error=evil),),
        indexes=(),
        work=(work,),
        warnings=(evil,),
    )
    lines = plain(picture(view, width=80, height=24))
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if line.startswith("! ")] == ["! a\\x1b]0;title\\x1b[31m b"] * 2
