from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miroir_cli.errors import UsageError
from miroir_cli.search.rank import rank_keys


def hit(key: Any, **rules: Any) -> dict[str, Any]:
    """A hit with score details; the rules are given in their order, `sort__asc` for `sort:asc`."""
    details = {
        name.replace("__", ":"): {"order": order, **(rule if isinstance(rule, dict) else {"value": rule})}
        for order, (name, rule) in enumerate(rules.items())
    }
    return {"id": key, "_rankingScoreDetails": details}


def order(*hits: dict[str, Any], candidates: int = 10) -> list[Any]:
    keys = rank_keys(hits, primary_key="id", candidates=candidates)
    return [hits[place]["id"] for place in sorted(range(len(hits)), key=keys.__getitem__)]


def words(count: int) -> dict[str, Any]:
    return {"matchingWords": count, "maxMatchingWords": 3, "score": count / 3}


def typo(count: int, most: int) -> dict[str, Any]:
    return {"typoCount": count, "maxTypoCount": most, "score": (most + 1 - count) / (most + 1)}


def exact(kind: str, **more: int) -> dict[str, Any]:
    return {"matchType": kind, "score": 0.5, **more}


def test_more_words_come_first() -> None:
    assert order(hit(1, words=words(1)), hit(2, words=words(3)), hit(3, words=words(2))) == [2, 3, 1]


def test_typos_are_counted_and_their_fractions_ignored() -> None:
    """The same number of typos has another score on a node whose words allow for more."""
    assert order(hit(1, typo=typo(1, 3)), hit(2, typo=typo(1, 2)), hit(3, typo=typo(0, 1))) == [3, 1, 2]


def test_fractions_of_the_other_rules_are_compared_as_they_are() -> None:
    for rule in ("proximity", "attributeRank", "wordPosition"):
        assert order(hit(1, **{rule: {"score": 0.5}}), hit(2, **{rule: {"score": 0.75}})) == [2, 1]


def test_the_older_attribute_rule_ranks_by_field_then_by_position() -> None:
    def attribute(field: float, position: float) -> dict[str, Any]:
        return {"attributeRankingOrderScore": field, "queryWordDistanceScore": position, "score": 0.1}

    assert order(hit(1, attribute=attribute(0.5, 0.9)), hit(2, attribute=attribute(0.8, 0.1))) == [2, 1]
    assert order(hit(1, attribute=attribute(0.5, 0.1)), hit(2, attribute=attribute(0.5, 0.2))) == [2, 1]


def test_exactness_ranks_by_kind_then_by_exact_words() -> None:
    found = order(
        hit(1, exactness=exact("noExactMatch", matchingWords=1)),
        hit(2, exactness=exact("noExactMatch", matchingWords=2)),
        hit(3, exactness=exact("matchesStart")),
        hit(4, exactness=exact("exactMatch")),
    )
    assert found == [4, 3, 2, 1]


def test_an_earlier_rule_decides() -> None:
    assert order(hit(1, words=words(2), typo=typo(0, 1)), hit(2, words=words(3), typo=typo(1, 1))) == [2, 1]


def test_numbers_then_texts_then_nothing_in_both_directions() -> None:
    values = {1: None, 2: "b", 3: 2.0, 4: "a", 5: -1.5, 6: "ab"}
    ascending = order(*(hit(key, price__asc=value) for key, value in values.items()))
    descending = order(*(hit(key, price__desc=value) for key, value in values.items()))
    assert ascending == [5, 3, 4, 6, 2, 1]
    assert descending == [3, 5, 2, 6, 4, 1]


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=5), unique=True))
def test_texts_are_ordered_by_code_point_both_ways(texts: list[str]) -> None:
    by_text = dict(enumerate(texts))
    ascending = order(*(hit(place, t__asc=text) for place, text in by_text.items()))
    descending = order(*(hit(place, t__desc=text) for place, text in by_text.items()))
    assert [by_text[place] for place in ascending] == sorted(texts)
    assert [by_text[place] for place in descending] == sorted(texts, reverse=True)


def test_what_a_node_had_no_time_to_rank_is_worse_than_what_it_ranked() -> None:
    late = {"id": 1, "_rankingScoreDetails": {"words": {"order": 0, **words(3)}, "skipped": {"order": 1}}}
    assert order(late, hit(2, words=words(3), typo=typo(2, 2)), hit(3, words=words(2), typo=typo(0, 2))) == [2, 1, 3]


def test_equal_hits_are_ordered_by_their_keys_numbers_first() -> None:
    assert order(hit("b"), hit(10), hit("B"), hit(9)) == [9, 10, "B", "b"]


def test_a_nested_key_is_found() -> None:
    hits = [{"data": {"id": 2}, "_rankingScoreDetails": {}}, {"data": {"id": 1}, "_rankingScoreDetails": {}}]
    assert rank_keys(hits, primary_key="data.id", candidates=2) == [((0, 2),), ((0, 1),)]


def test_a_hidden_sort_value_is_refused() -> None:
    hidden = {"id": 1, "_rankingScoreDetails": {"<hidden-rule-0>": {"order": 0, "value": "<hidden>"}}}
    with pytest.raises(UsageError, match="displayedAttributes"):
        rank_keys([hidden], primary_key="id", candidates=1)


def test_no_hits_have_no_keys() -> None:
    assert rank_keys([], primary_key="id", candidates=0) == []


sort_values = st.none() | st.integers(-3, 3).map(float) | st.sampled_from(["a", "b", "ab", ""])
rows = st.tuples(st.integers(0, 3), st.integers(0, 2), sort_values, st.sampled_from([0.25, 0.5, 1.0]), sort_values)


@given(st.lists(rows, max_size=30), st.integers(1, 4), st.data())
def test_merged_shards_of_a_sorted_list_are_the_list(table: list[Any], shards: int, data: st.DataObject) -> None:
    hits = [
        hit(key, words=words(row[0]), typo=typo(row[1], 2), a__asc=row[2], proximity={"score": row[3]}, b__desc=row[4])
        for key, row in enumerate(table)
    ]
    whole = order(*hits)
    homes = [data.draw(st.integers(0, shards - 1)) for _ in hits]
    parts = [[key for key in whole if homes[key] == shard] for shard in range(shards)]
    assert order(*(hits[key] for part in parts for key in part)) == whole
    assert sorted(whole) == list(range(len(hits)))


KEYS = st.one_of(st.integers(-(2**53) - 3, 2**53 + 3), st.sampled_from(["7", "a", "B", "-1"]))
RULES = st.fixed_dictionaries(
    {"id__asc": st.none()},
    optional={
        "words": st.integers(1, 2).map(words),
        "price__desc": st.sampled_from([1, 2.5, "x", None]),
        "proximity": st.sampled_from([{"score": 0.5}, {"score": 1.0}]),
    },
)


@given(st.lists(st.tuples(KEYS, RULES), max_size=12))
def test_keys_compared_as_a_whole_give_the_same_order(found: list[tuple[Any, dict[str, Any]]]) -> None:
    names = ("words", "price__desc", "proximity", "id__asc")
    hits = []
    for key, rules in found:
        own = {**rules, "id__asc": float(key) if isinstance(key, int) else key.lower()}
        hits.append(hit(key, **{name: own[name] for name in names if name in own}))
    orders = []
    for whole in (False, True):
        keys = rank_keys(hits, primary_key="id", candidates=100, whole=whole)
        orders.append(sorted(range(len(hits)), key=keys.__getitem__))
    assert orders[0] == orders[1]


def test_a_sort_by_primary_keys_counts_where_only_the_rules_are_compared() -> None:
    hits = [hit(2, id__asc=2.0), hit(1, id__asc=1.0)]
    first, second = rank_keys(hits, primary_key="id", candidates=2)
    assert second[:-1] < first[:-1]
