"""`miroir plan-capacity`: what it takes, says and refuses."""

from __future__ import annotations

import pytest

from miroir_cli.cli.capacity import read_size
from miroir_cli.errors import UsageError
from tests.conftest import Miroir

BOOKS = ("plan-capacity", "--documents", "5000000", "--bytes-per-document", "800")


def test_it_needs_no_cluster_and_says_that_it_estimates(miroir: Miroir) -> None:
    done = miroir(*BOOKS)
    assert done.status == 0 and not done.err
    assert done.out.startswith("5,000,000 documents of 800 bytes, 2 replicas, 3 nodes of 4 cores: an estimate\n")
    for part in (
        "database",
        "disk, with room to work",
        "memory, to be quick",
        "memory, one node less",
        "first import:",
    ):
        assert part in done.out
    assert "fit" not in done.out, "nothing was said that could be enough"


def test_what_there_is_gets_a_verdict_and_a_number_of_nodes(miroir: Miroir) -> None:
    done = miroir(*BOOKS, "--node-memory", "16GiB", "--node-disk", "1TB", "--queries-per-second", "100")
    assert "this may fit; " in done.out and "nodes" in done.out.splitlines()[-1]
    assert done.out.count("may fit") >= 2
    small = miroir(*BOOKS, "--node-memory", "100MB")
    assert small.status == 0 and "this does not fit; " in small.out


def test_the_document_has_the_same(miroir: Miroir) -> None:
    found = miroir(*BOOKS, "--node-memory", "16GiB", "--queries-per-second", "100", "--json").json
    assert found["demand"]["documents"] == 5_000_000 and found["demand"]["node_memory"] == 16 * 2**30
    assert found["memory"]["low"] < found["memory"]["high"] and found["memory"]["verdict"] == "may fit"
    assert found["disk"]["verdict"] == "not asked" and found["disk"]["given"] is None
    assert found["fits"] == "perhaps" and found["enough"]["nodes"] > found["perhaps_enough"]["nodes"] >= 2
    assert miroir(*BOOKS, "--json").json["fits"] is None


def test_an_index_tells_what_was_not_said(stocked: Miroir) -> None:
    found = stocked("plan-capacity", "--from-cluster", "books", "--json").json["demand"]
    assert (found["documents"], found["nodes"], found["replicas"], found["groups"]) == (60, 3, 2, 1)
    assert 20 < found["bytes_per_document"] < 100 and found["database_ratio"] > 0
    more = stocked("plan-capacity", "--from-cluster", "books", "--documents", "6000", "--nodes", "4", "--json").json
    assert (more["demand"]["documents"], more["demand"]["nodes"]) == (6_000, 4)
    assert more["demand"]["bytes_per_document"] == found["bytes_per_document"]


def test_an_empty_index_tells_nothing(ready: Miroir) -> None:
    assert ready("index", "create", "empty", "-k", "id").status == 0
    done = ready("plan-capacity", "--from-cluster", "empty")
    assert done.status == 2 and "hint: import a sample first: `miroir import empty FILE`" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan-capacity",), "`--documents` is not given"),
        (("plan-capacity", "--documents", "5"), "`--bytes-per-document` is not given"),
        ((*BOOKS, "--nodes", "5", "--groups", "2"), "5 nodes cannot be 2 equal groups"),
        ((*BOOKS, "--nodes", "2", "--replicas", "3"), "2 nodes in a group are too few for 3 replicas"),
        ((*BOOKS, "--node-memory", "lots"), "`--node-memory` is `lots`, expected a size"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(miroir: Miroir, arguments: tuple[str, ...], message: str) -> None:
    done = miroir(*arguments)
    assert done.status == 2 and done.err.startswith(f"error: {message}") and "\nhint: " in done.err


@pytest.mark.parametrize(
    ("text", "size"),
    [("16GiB", 16 * 2**30), ("1.5 GB", 1_500_000_000), ("200g", 200_000_000_000), ("512", 512), ("2 tib", 2 * 2**40)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert read_size("--node-memory", text) == size


@pytest.mark.parametrize("text", ["", "GB", "5XB", "1ib", "0", "-3GB"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected a size"):
        read_size("--node-memory", text)
