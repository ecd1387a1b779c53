from __future__ import annotations

import pytest

from miroir_cli.errors import NodeRefusal
from miroir_cli.node.wording import clean_message
from miroir_cli.search.refusal import in_the_clients_words, means_the_node


def refusal(message: str, code: str = "invalid_search_filter") -> NodeRefusal:
    return NodeRefusal(message, status=400, node_code=code, node="n1")


@pytest.mark.parametrize(
    ("message", "cleaned"),
    [
        ("patterns are: `_miroir_shard`, `genre`.", "patterns are: `genre`."),
        ("patterns are: `_miroir_shard, genre`.", "patterns are: `genre`."),
        ("patterns are: `a`, `_miroir_shard`.", "patterns are: `a`."),
        ("patterns are: `_geo, _miroir_shard, genre`.", "patterns are: `_geo, genre`."),
        ("patterns are: `_geo, _miroir_shard`.", "patterns are: `_geo`."),
        (
            "Attribute `x` is not filterable. Available filterable attribute patterns are: `_miroir_shard`.\n1:2 x = 1",
            "Attribute `x` is not filterable. This index does not have configured filterable attributes.\n1:2 x = 1",
        ),
        (
            "Pattern `x` is not filterable. Available filterable attributes patterns are: `_miroir_shard`.",
            "Pattern `x` is not filterable. This index does not have configured filterable attributes.",
        ),
        ("patterns are: `_miroir_none`, `_miroir_shard`, `genre`.", "patterns are: `genre`."),
        ("patterns are: `_geo, _miroir_none, _miroir_shard, genre`.", "patterns are: `_geo, genre`."),
        ("patterns are: `a, _miroir_none, _miroir_shard`.", "patterns are: `a`."),
        (
            "Available filterable attributes patterns are: `_miroir_none, _miroir_shard`.",
            "This index does not have configured filterable attributes.",
        ),
        (
            "field `x` matched rule #3 in `filterableAttributes`\n  - Hint: prepend another rule before rule #3",
            "field `x` matched rule #2 in `filterableAttributes`\n  - Hint: prepend another rule before rule #2",
        ),
        (
            "Note: this attribute matches rule #1 in filterableAttributes, but\nHint: enable filtering in rule #1 by x",
            "Note: this attribute matches rule #0 in filterableAttributes, but\nHint: enable filtering in rule #0 by x",
        ),
        ("nothing of ours", "nothing of ours"),
    ],
)
def test_messages_lose_miroirs_own_names(message: str, cleaned: str) -> None:
    assert clean_message(message) == cleaned
    assert in_the_clients_words(refusal(message)).message == cleaned


def test_a_lost_index_or_lost_settings_tell_about_the_node() -> None:
    assert means_the_node(refusal("Index `books` not found.", "index_not_found"))
    assert means_the_node(refusal("Attribute `_miroir_shard` is not filterable. This index does not have any."))
    assert not means_the_node(refusal("Attribute `x` is not filterable. Available patterns are: `_miroir_shard`."))


@pytest.mark.parametrize(
    ("message", "cleaned"),
    [
        (
            "Attribute `x` is not sortable. Available sortable attributes are: `pages`.",
            "Attribute `x` is not sortable. This index does not have configured sortable attributes.",
        ),
        (
            "Attribute `x` is not sortable. Available sortable attributes are: `pages, year`.",
            "Attribute `x` is not sortable. Available sortable attributes are: `year, <..hidden-attributes>`.",
        ),
        (
            "Available facet-searchable attributes patterns are: `genre, pages`. To make it",
            "Available facet-searchable attributes patterns are: `genre, <..hidden-attributes>`. To make it",
        ),
        (
            "Available facet-searchable attributes patterns are: `pages`. To make it",
            "This index does not have configured facet-searchable attributes. To make it",
        ),
        (
            "as distinct attribute. Available filterable attributes patterns are: `genre, <..hidden-attributes>`.",
            "as distinct attribute. Available filterable attributes patterns are: `genre`.",
        ),
        (
            "Attribute `x` is not searchable. Available searchable attributes are: `genre, id, <..hidden-attributes>`.",
            "Attribute `x` is not searchable. Available searchable attributes are: `genre, <..hidden-attributes>`.",
        ),
        (
            "Pattern `x` is not filterable. Available filterable attributes patterns are: `pages`.",
            "Pattern `x` is not filterable. Available filterable attributes patterns are: `pages`.",
        ),
    ],
)
def test_names_that_the_user_does_not_display_stay_hidden_in_messages(message: str, cleaned: str) -> None:
    settings = {
        "displayedAttributes": ["genre", "year"],
        "sortableAttributes": ["pages", "year"],
        "filterableAttributes": [{"attributePatterns": ["genre"]}],
    }
    assert clean_message(message, settings) == cleaned


def test_a_fetch_names_attributes_that_are_not_displayed() -> None:
    message = "Attribute `x` is not sortable. Available sortable attributes are: `pages`."
    found = in_the_clients_words(refusal(message, "invalid_document_sort"), settings={"displayedAttributes": ["title"]})
    assert found.message == message
