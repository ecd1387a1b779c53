"""What documents and searches ask of nodes: how the estimates go together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miroir_cli.topology.sizing import DATABASE, MOST_NODES, Demand, Range, estimate, nodes_asked, smallest

BOOKS = Demand(documents=3_000_000, bytes_per_document=1_000)


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    replicas, groups = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    return Demand(
        documents=draw(st.integers(1, 10**9)),
        bytes_per_document=draw(st.integers(1, 10**5)),
        replicas=replicas,
        groups=groups,
        nodes=groups * draw(st.integers(replicas, 20)),
        node_cores=draw(st.integers(1, 64)),
        node_memory=draw(st.none() | st.integers(10**8, 10**13)),
        node_disk=draw(st.none() | st.integers(10**8, 10**14)),
        queries_per_second=draw(st.none() | st.floats(0, 10**5)),
    )


def ranges(demand: Demand) -> list[Range]:
    found = estimate(demand)
    return [found.database, found.import_seconds, found.nodes_asked, *(need.estimate for need in found.needs)]


def test_three_million_books_on_three_nodes() -> None:
    found = estimate(BOOKS)
    assert found.documents_per_node == 2_000_000
    assert found.database == Range(low=2e9 * DATABASE.low, high=2e9 * DATABASE.high)
    assert found.disk.estimate.low > found.database.low and found.disk.estimate.high > found.database.high
    assert found.nodes_asked == Range(low=2, high=3)
    assert found.fits == "yes" and {need.verdict for need in found.needs} == {"not asked"}
    assert found.after_loss is not None and found.after_loss.high > found.memory.estimate.high


@given(demands())
@settings(max_examples=100, deadline=None)
def test_every_estimate_is_a_range(demand: Demand) -> None:
    for each in ranges(demand):
        assert 0 < each.low <= each.high


@given(demands())
@settings(max_examples=100, deadline=None)
def test_more_documents_never_need_less(demand: Demand) -> None:
    less, more = estimate(demand), estimate(replace(demand, documents=demand.documents * 2))
    for one, other in ((less.disk, more.disk), (less.memory, more.memory)):
        assert other.estimate.low > one.estimate.low and other.estimate.high > one.estimate.high
    assert more.searches.estimate.low <= less.searches.estimate.low
    assert more.import_seconds.high > less.import_seconds.high


@given(demands())
@settings(max_examples=40, deadline=None)
def test_the_smallest_cluster_is_enough_and_no_smaller_one_is(demand: Demand) -> None:
    found, perhaps = smallest(demand), smallest(demand, sure=False)
    if found is None:
        assert (
            estimate(replace(demand, nodes=demand.replicas * (MOST_NODES // demand.replicas), groups=1)).fits != "yes"
        )
        return
    assert estimate(found).fits == "yes" and found.nodes % found.groups == 0
    assert found.nodes_per_group >= demand.replicas
    assert perhaps is not None and perhaps.nodes <= found.nodes
    fewer = found.nodes - 1
    if fewer >= demand.replicas:
        assert estimate(replace(found, nodes=fewer, groups=1)).fits != "yes"


@pytest.mark.parametrize(
    ("memory", "verdict", "fits"), [(60e9, "fits", "yes"), (10e9, "may fit", "perhaps"), (1e8, "does not fit", "no")]
)
def test_what_there_is_lies_beyond_within_or_before_the_range(memory: float, verdict: str, fits: str) -> None:
    found = estimate(replace(BOOKS, node_memory=int(memory)))
    assert (found.memory.verdict, found.fits) == (verdict, fits)


def test_more_groups_are_for_searches_and_more_nodes_for_documents() -> None:
    quick = smallest(replace(BOOKS, queries_per_second=2_000))
    assert quick is not None and quick.groups > 1
    large = smallest(replace(BOOKS, node_memory=8 * 10**9))
    assert large is not None and large.groups == 1 and large.nodes > 3


def test_a_sample_narrows_the_range() -> None:
    guessed, told = estimate(BOOKS).database, estimate(replace(BOOKS, database_ratio=5.0)).database
    assert guessed.low < told.low < 2e9 * 5 < told.high < guessed.high


def test_only_with_every_copy_on_other_nodes_can_a_loss_be_made_up_for() -> None:
    assert estimate(replace(BOOKS, nodes=2)).after_loss is None


@pytest.mark.parametrize(("nodes", "replicas", "low", "high"), [(3, 1, 3, 3), (3, 2, 2, 3), (3, 3, 1, 2), (6, 2, 3, 4)])
def test_a_search_asks_as_few_nodes_as_have_all_shards(nodes: int, replicas: int, low: int, high: int) -> None:
    assert nodes_asked(nodes, replicas) == Range(low=low, high=high)
