"""When two copies of a document are the same."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miroir_cli.migration.compare import Difference, Reader, as_written, compare, same

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def raw(document: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(document))


def test_what_is_missing_what_is_too_much_and_what_differs() -> None:
    expected = {"1": raw({"id": 1}), "2": raw({"id": 2, "a": 1}), "3": raw({"id": 3})}
    found = {"2": raw({"a": 2, "id": 2}), "3": raw({"id": 3}), "4": raw({"id": 4})}
    difference = compare(expected, found)
    assert difference == Difference(missing=frozenset("1"), extra=frozenset("4"), different=frozenset("2"))
    assert difference.keys == frozenset("124")
    assert not compare(expected, expected)


@given(document=st.dictionaries(st.text(), JSON, max_size=5), order=st.randoms(use_true_random=False))
def test_the_order_of_fields_says_nothing(document: dict[str, object], order: object) -> None:
    names = list(document)
    order.shuffle(names)  # type: ignore[attr-defined]
    assert same(msgspec.json.encode(document), msgspec.json.encode({name: document[name] for name in names}))


@pytest.mark.parametrize(
    ("left", "right"),
    [(b'{"a":1}', b'{"a":1.0}'), (b'{"a":1}', b'{"a":true}'), (b'{"a":0}', b'{"a":false}'),
     (b'{"a":[1,2]}', b'{"a":[2,1]}'), (b'{"a":null}', b"{}"), (b'{"a":"1"}', b'{"a":1}')],
)  # fmt: skip
def test_values_that_look_alike_differ(left: bytes, right: bytes) -> None:
    assert not same(left, right)


def test_embeddings_that_a_node_makes_itself_do_not_count_those_of_users_do() -> None:
    def document(*, given: list[float], made: list[float]) -> bytes:
        vectors = {
            "user": {"embeddings": [given], "regenerate": False},
            "model": {"embeddings": [made], "regenerate": True},
        }
        return msgspec.json.encode({"id": 1, "_vectors": vectors})

    one = document(given=[0.5], made=[0.1])
    assert same(one, document(given=[0.5], made=[0.2]))
    assert not same(one, document(given=[0.6], made=[0.1]))
    written = msgspec.json.decode(as_written(msgspec.Raw(one)))
    assert written["_vectors"] == {
        "user": {"embeddings": [[0.5]], "regenerate": False},
        "model": {"regenerate": True},
    }


def test_a_document_without_vectors_is_written_byte_for_byte() -> None:
    odd = msgspec.Raw(b'{"id":1,"n":1.0e2,"big":12345678901234567890123}')
    assert as_written(odd) == bytes(odd)


@pytest.mark.parametrize("name", ["id", "my key", "clé", 'quo"ted', "back\\slash"])
def test_keys_are_read_whatever_they_are_called(name: str) -> None:
    answer = msgspec.json.encode({"results": [{name: 1, "a": 2}, {name: "x-2"}], "total": 7})
    reader = Reader(name)
    assert reader.keys(answer) == ["1", "x-2"]
    assert list(reader.documents(answer)) == ["1", "x-2"]
    assert reader.total(answer) == 7
