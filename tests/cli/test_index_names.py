"""`miroir index swap` and `miroir index rename`: what is printed, the JSON shapes and the exit statuses."""

from __future__ import annotations

import pytest

from tests.conftest import Miroir


@pytest.fixture
def two(stocked: Miroir) -> Miroir:
    """`books` with documents, `films` with none."""
    assert stocked("index", "create", "films", "-k", "name").status == 0
    return stocked


def counts(miroir: Miroir) -> dict[str, int]:
    return {index["uid"]: index["documents"] for index in miroir("status", "--json").json["indexes"]}


def test_a_swap_says_what_it_did_and_undoes_itself(two: Miroir) -> None:
    before = counts(two)
    tried = two("index", "swap", "books", "films", "--dry-run")
    assert (tried.status, tried.out) == (0, "would let indexes `books` and `films` change places\n")
    assert two("index", "swap", "books", "films", "--dry-run", "--json").json["swapped"] is False
    assert counts(two) == before
    done = two("index", "swap", "books", "films")
    assert (done.status, done.out) == (0, "indexes `books` and `films` have changed places\n")
    assert counts(two) == {"books": before["films"], "films": before["books"]}
    found = {index["uid"]: index["primary_key"] for index in two("index", "list", "--json").json["indexes"]}
    assert found == {"books": "name", "films": "id"}
    assert two("index", "swap", "films", "books", "--json").json == {"indexes": ["films", "books"], "swapped": True}
    assert counts(two) == before


def test_a_rename_says_what_it_did(two: Miroir) -> None:
    before = counts(two)["books"]
    assert two("index", "rename", "books", "shelf", "--dry-run").out == "would rename index `books` to `shelf`\n"
    assert two("index", "rename", "books", "shelf").out == "index `books` is called `shelf` now\n"
    assert counts(two) == {"shelf": before, "films": 0}
    again = two("index", "rename", "shelf", "books", "--json")
    assert again.json == {"uid": "books", "was": "shelf", "renamed": True}


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("swap books film", 4, "index `film` not found"),
        ("swap nowhere films", 4, "index `nowhere` not found"),
        ("rename nowhere films", 4, "index `nowhere` not found"),
        ("rename books films", 2, "`miroir index swap books films` lets them change places"),
        ("rename books a.b", 2, "`a.b` cannot be the uid of an index"),
        ("rename books _miroir_x", 2, "are miroir's own"),
        ("rename books books", 2, "exists already"),
        ("swap books books", 2, "`books` cannot change places with itself"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_cannot_be_changes_nothing(two: Miroir, words: str, status: int, said: str, dry_run: bool) -> None:
    before = counts(two)
    done = two("index", *words.split(), *(["--dry-run"] if dry_run else []))
    assert done.status == status and said in done.err, done.err
    assert counts(two) == before


def test_other_commands_speak_of_the_names_as_they_are_now(two: Miroir) -> None:
    documents = counts(two)["books"]
    two("index", "rename", "books", "shelf")
    assert two("doctor").status == 0, two("doctor").out
    listed = two("tasks", "list", "--index", "shelf", "--json").out
    assert '"shelf"' in listed and '"books"' not in listed
    assert two("tasks", "list", "--index", "books").status == 4
    assert two("verify").status == 0
    assert two("export", "shelf").out.count("\n") == documents
    assert two("search", "books", "x").status == 4
    assert two("index", "create", "books", "-k", "id").status == 0
    assert two("index", "delete", "shelf", "--yes").status == 0
    assert counts(two) == {"books": 0, "films": 0}
    assert two("doctor").status == 0
