from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.search.facet_values import FacetValues, facet_values, normalise, number_text


@pytest.mark.parametrize(
    ("document", "numbers", "strings"),
    [
        ({"f": 3}, [3.0], {}),
        ({"f": [3, 3.0, "3", True, None, ["x", [2]]]}, [3.0, 2.0], {"3": "3", "true": "true", "x": "x"}),
        ({"f": " Été "}, [], {"e\u0301te\u0301": " Été "}),
        ({"f": ["RED", "red"]}, [], {"red": "RED"}),
        ({"f": {}}, [], {}),
        ({"g": 1}, [], {}),
        ({"f": [{"g": 1}]}, [], {}),
    ],
)
def test_values_are_numbers_and_normalised_strings(document: Any, numbers: list[float], strings: Any) -> None:
    assert facet_values(document, "f") == FacetValues(numbers=frozenset(numbers), strings=strings)


@pytest.mark.parametrize("blank", ["", ["a", ""]])
def test_a_text_without_a_character_is_no_value_but_remembered(blank: Any) -> None:
    found = facet_values({"f": blank}, "f")
    assert found.blank
    assert found.all <= {"a"}


def test_a_text_of_spaces_is_a_value_and_blank() -> None:
    assert facet_values({"f": "  "}, "f") == FacetValues(numbers=frozenset(), strings={"": "  "}, blank=True)


def test_dotted_names_lead_into_objects_and_arrays_of_them() -> None:
    document = {"a": [{"b": {"c": 1}}, {"b": [{"c": 2}], "b.c": 3}], "a.b": {"c": 4}, "a.b.c": 5, "d": 6}
    assert facet_values(document, "a.b.c").numbers == {1, 2, 3, 4, 5}


def test_no_more_of_a_text_counts_than_a_node_compares() -> None:
    long = "é" * 300
    (key,) = facet_values({"f": long}, "f").strings
    assert key == "e\u0301" * 156


def test_texts_are_compared_trimmed_decomposed_and_in_lower_case() -> None:
    assert normalise("  Ｆｕｌｌ ÉTÉ ") == "full e\u0301te\u0301"


@pytest.mark.parametrize(
    ("value", "text"), [(3.0, "3"), (-0.5, "-0.5"), (1e21, "1000000000000000000000"), (1e-7, "0.0000001")]
)
def test_numbers_are_written_out(value: float, text: str) -> None:
    assert number_text(value) == text
