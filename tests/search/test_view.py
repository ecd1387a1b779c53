from __future__ import annotations

from typing import Any

from miroir_cli.search.view import field_order, make_view, select, show, values_of


def seen(
    hit: dict[str, Any], request: dict[str, Any], displayed: list[str] | None = None, *, added: bool = False
) -> dict[str, Any]:
    return show(hit, make_view(request, displayed, added=added, hidden_rule="id:asc"))


def test_miroirs_own_field_vanishes_from_hit_and_formatted() -> None:
    hit = {"id": 1, "_miroir_shard": "§", "_formatted": {"id": "1", "_miroir_shard": "§"}}
    assert seen(hit, {"attributesToHighlight": ["*"]}) == {"id": 1, "_formatted": {"id": "1"}}


def test_attributes_that_only_the_merge_needed_vanish() -> None:
    hit = {"id": 1, "title": "a", "_geo": {"lat": 1, "lng": 2}, "_geoDistance": 5}
    assert seen(hit, {"attributesToRetrieve": ["title"]}, added=True) == {"title": "a"}


def test_the_distance_stays_with_the_position() -> None:
    hit = {"id": 1, "_geo": {"lat": 1, "lng": 2}, "_geoDistance": 5}
    assert seen(dict(hit), {"attributesToRetrieve": ["_geo"]}, added=True) == {
        "_geo": {"lat": 1, "lng": 2},
        "_geoDistance": 5,
    }


def test_hidden_attributes_vanish_everywhere() -> None:
    hit = {
        "id": 1,
        "title": "a",
        "price": 3,
        "_formatted": {"id": "1", "title": "<em>a</em>", "price": "3"},
        "_matchesPosition": {"title": [], "price": [], "meta.note": []},
    }
    assert seen(hit, {"attributesToHighlight": ["*"]}, ["title", "meta"]) == {
        "title": "a",
        "_formatted": {"title": "<em>a</em>"},
        "_matchesPosition": {"title": [], "meta.note": []},
    }


def test_nothing_is_formatted_when_only_hidden_attributes_were_to_be() -> None:
    hit = {"title": "a", "_formatted": {"title": "a", "price": "3"}}
    assert seen(hit, {"attributesToCrop": ["price:5"]}, ["title"]) == {"title": "a"}


def test_formatted_holds_what_is_formatted_and_what_is_retrieved() -> None:
    hit = {"id": 1, "title": "a", "_formatted": {"id": "1", "title": "a", "body": "b"}}
    request = {"attributesToRetrieve": ["title"], "attributesToHighlight": ["body"]}
    assert seen(hit, request, added=True) == {"title": "a", "_formatted": {"title": "a", "body": "b"}}


def test_scores_and_details_are_shown_to_who_asked() -> None:
    hit = {"id": 1, "_rankingScore": 0.5, "_rankingScoreDetails": {"id:asc": {"order": 0, "value": 1}}}
    assert seen(dict(hit), {}) == {"id": 1}
    assert seen(dict(hit), {"showRankingScore": True}) == {"id": 1, "_rankingScore": 0.5}
    assert seen(dict(hit), {"showRankingScoreDetails": True}) == {"id": 1, "_rankingScoreDetails": {}}


def test_sort_values_of_hidden_attributes_are_masked_in_the_details() -> None:
    details = {
        "words": {"order": 0, "matchingWords": 1},
        "price:desc": {"order": 1, "value": 3.0},
        "year:asc": {"order": 2, "value": 1999.0},
        "_geoPoint(1, 2):asc": {"order": 3, "value": None, "distance": None},
        "id:asc": {"order": 4, "value": 1.0},
    }
    found = seen({"_rankingScoreDetails": details}, {"showRankingScoreDetails": True}, ["year"])
    assert found["_rankingScoreDetails"] == {
        "words": {"order": 0, "matchingWords": 1},
        "<hidden-rule-1>": {"order": 1, "value": "<hidden>"},
        "year:asc": {"order": 2, "value": 1999.0},
        "_geoPoint(1, 2):asc": {"order": 3, "value": None, "distance": None},
    }


def test_nested_names_select_inside_objects_and_arrays() -> None:
    document = {"dog": {"name": "rex", "age": 3}, "cats": [{"name": "a", "x": 1}, {"y": 2}, 7], "n": 1, "a.b": 2}
    assert select(document, ["dog.name"]) == {"dog": {"name": "rex"}}
    assert select(document, ["cats.name"]) == {"cats": [{"name": "a"}]}
    assert select(document, ["dog", "dog.name"]) == {"dog": {"name": "rex", "age": 3}}
    assert select(document, ["a.b", "n.x"]) == {"a.b": 2}
    assert select(document, ["dog.none"]) == {"dog": {}}
    assert select(document, []) == {}


def test_values_are_found_through_objects_and_arrays() -> None:
    document = {"a": {"b": [1, 2]}, "c": [{"d": 3}, {"d": None}], "a.b": 4}
    assert values_of(document, "a.b") == [4, 1, 2]
    assert values_of(document, "c.d") == [3, None]
    assert values_of(document, "x") == []


def test_fields_stand_in_one_order_whichever_node_sent_them() -> None:
    order = field_order({"searchableAttributes": ["title", "body"], "displayedAttributes": ["*"]}, "id")
    view = make_view({"showRankingScore": True}, None, added=False, hidden_rule=None, order=order)
    hit = {"zoo": 1, "body": 2, "art": 3, "id": 4, "title": 5, "_formatted": {"zoo": 1, "id": 4}, "_rankingScore": 0.5}
    shown = show(hit, view)
    assert list(shown) == ["id", "title", "body", "art", "zoo", "_formatted", "_rankingScore"]
    assert list(shown["_formatted"]) == ["id", "zoo"]
