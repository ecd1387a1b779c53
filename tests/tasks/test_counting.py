"""Counts of nodes that share shards, added so that every shard counts once."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from miroir_cli.model import ShardId
from miroir_cli.tasks.counting import weigh


def shards(*numbers: int) -> frozenset[ShardId]:
    return frozenset(map(ShardId, numbers))


def test_nodes_that_share_nothing_are_added() -> None:
    assert weigh([shards(0, 1), shards(2)], shards(0, 1, 2)) == {0: Fraction(1), 1: Fraction(1)}


def test_of_nodes_that_have_the_same_one_counts() -> None:
    weights = weigh([shards(0, 1), shards(0, 1)], shards(0, 1))
    assert weights is not None and sum(weights.values()) == 1


def test_three_nodes_with_two_of_three_shards_each_count_a_half() -> None:
    half = Fraction(1, 2)
    assert weigh([shards(0, 1), shards(1, 2), shards(0, 2)], shards(0, 1, 2)) == {0: half, 1: half, 2: half}


def test_there_may_be_no_weights() -> None:
    assert weigh([shards(0, 1), shards(1, 2)], shards(0, 1, 2)) is None
    assert weigh([shards(0, 1)], shards(0)) is None
    assert weigh([], shards(0)) is None


@given(st.lists(st.frozensets(st.integers(0, 5).map(ShardId), min_size=1), max_size=6), st.integers(0, 6))
def test_the_weighted_counts_are_the_count_of_all(parts: list[frozenset[ShardId]], number: int) -> None:
    wanted = shards(*range(number))
    weights = weigh(parts, wanted)
    if weights is not None:
        for shard in range(6):
            weight = sum(
                (weights.get(place, Fraction(0)) for place, part in enumerate(parts) if shard in part), Fraction(0)
            )
            assert weight == (1 if shard < number else 0)
