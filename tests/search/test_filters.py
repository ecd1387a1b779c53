from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miroir_cli.errors import ReservedField, UsageError
from miroir_cli.model import ShardId, shard_filter
from miroir_cli.search.filters import rewrite


@pytest.mark.parametrize(
    ("client", "sent"),
    [
        (None, []),
        ("", []),
        ("  ", []),
        ([], []),
        ("a = 1 OR b = 2", ["a = 1 OR b = 2"]),
        (["a = 1", ["b = 2", "c = 3"]], ["a = 1", ["b = 2", "c = 3"]]),
        ("color != red", ["NOT color = red"]),
        ("color!=red", ["NOT color=red"]),
        ("NOT color != red", ["NOT NOT color = red"]),
        ("a = 1 AND (b.c != 'x' OR d > 2)", ["a = 1 AND (NOT b.c = 'x' OR d > 2)"]),
        ("'my field' != \"a != b\"", ["NOT 'my field' = \"a != b\""]),
        ("title = 'it\\'s != that'", ["title = 'it\\'s != that'"]),
        (["a != 1", ["b != 2", "c = '!='"]], ["NOT a = 1", ["NOT b = 2", "c = '!='"]]),
        ("tags IN [a, 'b != c'] AND x != y", ["tags IN [a, 'b != c'] AND NOT x = y"]),
        ("!= red", ["!= red"]),
        (7, [7]),
    ],
)
def test_different_from_becomes_not_equal_and_nothing_else_changes(client: Any, sent: list[Any]) -> None:
    assert rewrite(client) == sent


@given(st.text(alphabet="ab!=<> ()'\"\\[],.-_", max_size=30).filter(lambda text: "!=" not in text and text.strip()))
def test_text_without_different_from_is_sent_as_it_is(text: str) -> None:
    assert rewrite(text) == [text]


@given(st.text(alphabet="ab!=<> ()'\"\\[],.-_", max_size=30))
def test_rewriting_never_fails_and_loses_nothing(text: str) -> None:
    sent = rewrite(text)
    assert "".join(sent).replace("NOT ", "").replace("!", "") == (text if sent else "").replace("!", "")


@pytest.mark.parametrize(
    "text",
    [
        '"\\u{5f}miroir_shard" EXISTS',
        "'\\x5fmiroir_shard' EXISTS",
        "'\\137miroir\\u005fx' = 1",
        '_miroir_shard = "§"',
        "a = 1 OR _miroir_x EXISTS",
        "'_miroir_shard' != 1",
        '"_miroir_shard"=1',
    ],
)
def test_names_of_miroirs_own_are_refused(text: str) -> None:
    for client in (text, [text], [["a = 1", text]]):
        with pytest.raises(ReservedField, match="_miroir_"):
            rewrite(client)


def test_joins_are_refused_and_texts_that_look_like_one_are_not() -> None:
    with pytest.raises(UsageError, match="_foreign"):
        rewrite("_foreign(authors, name = x)")
    assert rewrite("title = '_foreign'") == ["title = '_foreign'"]


def test_the_shard_filter_names_each_shard_in_punctuation() -> None:
    assert shard_filter([ShardId(0), ShardId(7)]) == '_miroir_shard IN ["§", "¶¶"]'
