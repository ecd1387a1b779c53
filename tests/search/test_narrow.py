from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.model import ShardId
from miroir_cli.search.narrow import narrowed

SHARDS = {key: ShardId(number) for number, key in enumerate(["5", "7", "-3", "ab", "aB", "Ab", "AB", "0-0", "07"], 1)}


def shards(*filters: Any, key: str = "id") -> list[int] | None:
    found = narrowed(filters, key, lambda text: SHARDS[text])
    return None if found is None else list(found)


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ("id = 5", ["5"]),
        ("id=5", ["5"]),
        ("id = '5'", ["5"]),
        ("'id' = \"5.0\"", ["5"]),
        ("id = 07", ["7", "07"]),
        ("id = -3", ["-3"]),
        ("id = ' Ab '", ["ab", "aB", "Ab", "AB"]),
        ("id = 0-0", ["0-0"]),
        ("id IN [5, 7]", ["5", "7"]),
        ("id IN[5,'7',]", ["5", "7"]),
        ("id = 5 AND year > 3", ["5"]),
        ("year > 3 AND (id = 5 AND NOT a = 1)", ["5"]),
        ("id IN [5, 7] AND id = 7", ["7"]),
        ("(a = 1 OR b = 2) AND id = 5", ["5"]),
        ("_geoRadius(1, 2, 3) AND id = 5", ["5"]),
        (["id = 5", "id = 7"], ["5", "7"]),
    ],
)
def test_required_keys_are_found(filter: Any, expected: list[str]) -> None:
    assert shards(filter) == [SHARDS[key] for key in expected]


@pytest.mark.parametrize(
    "filter",
    [
        "id = 5 OR year > 3",
        "id = 5 or year > 3",
        "NOT id = 5",
        "id != 5",
        "NOT (id = 5)",
        "id > 5",
        "id >= 5",
        "id 5 TO 7",
        "id NOT IN [5]",
        "id EXISTS",
        "other = 5",
        "id.x = 5",
        "id = 9007199254740993",
        "id = abcde",
        "id = 'a\\u{62}'",
        "id = ä",
        "(id = 5",
        "id = 5) AND (a = 1",
        "id IN [5, abcde]",
        "",
        ["id = 5", "a = 1"],
        ["id = 5", ["id = 7"]],
        [],
        7,
        None,
    ],
)
def test_in_doubt_nothing_is_left_out(filter: Any) -> None:
    assert shards(filter) is None


def test_brackets_in_brackets_without_end_are_not_followed() -> None:
    assert shards("(" * 20 + "id = 5" + ")" * 20) == [SHARDS["5"]]
    assert shards("(" * 5000 + "id = 5" + ")" * 5000) is None


def test_what_nothing_can_match_is_asked_of_one_shard() -> None:
    assert shards("id IN []") is None or shards("id IN []") == [0]
    assert shards("id = 5", "id = 7") == [0]
    assert shards("id = 5.5") == [0]


def test_all_elements_are_required() -> None:
    assert shards("a = 1", "id = 5", ["id = 7", "id = 5"]) == [SHARDS["5"]]
    assert shards() is None
    assert shards("meta.id = 5", key="meta.id") == [SHARDS["5"]]
