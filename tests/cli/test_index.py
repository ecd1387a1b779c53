"""`miroir index` over three embedded nodes: what is printed, the JSON shapes and the exit statuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miroir_cli.cli.index_settings import parse_pairs
from miroir_cli.dev.engine.testing import Engine
from miroir_cli.errors import SettingsInvalid, UsageError
from tests.backends import both_backends
from tests.conftest import Miroir

DESCRIPTION = {"uid", "primary_key", "shards", "replicas", "in_sync", "stale", "created_at"}


@pytest.fixture
def books(ready: Miroir) -> Miroir:
    """`miroir` with an index `books`."""
    assert ready("index", "create", "books", "--primary-key", "id").status == 0
    return ready


def test_creating_says_what_was_created_and_what_comes_next(ready: Miroir) -> None:
    done = ready("index", "create", "books", "-k", "id", "--shards", "4")
    assert done.status == 0
    assert done.out == "created index `books`: primary key `id`, 4 shards, 2 replicas of each\n"
    assert done.err == "hint: run `miroir import books FILE` to fill it\n"


def test_creating_as_json(ready: Miroir) -> None:
    found = ready("index", "create", "books", "-k", "id", "--json").json
    assert set(found) == {*DESCRIPTION, "next"}
    assert (found["uid"], found["shards"], found["replicas"], found["in_sync"]) == ("books", 6, 2, 12)


def test_a_dry_run_creates_nothing(ready: Miroir) -> None:
    found = ready("index", "create", "books", "-k", "id", "--dry-run", "--json").json
    assert found["dry_run"] is True
    assert sum(node["shards"] for node in found["nodes"]) == 12
    assert ready("index", "list", "--json").json["indexes"] == []


def test_an_index_cannot_be_created_twice(books: Miroir) -> None:
    done = books("index", "create", "books", "-k", "id")
    assert done.status == 2
    assert "exists already" in done.err


def test_settings_are_checked_before_anything_is_sent(ready: Miroir, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"sortableAttribute": ["year"]}')
    done = ready("index", "create", "books", "-k", "id", "--settings", "settings.json")
    assert done.status == 6
    assert "settings.json: unknown setting `sortableAttribute`, did you mean `sortableAttributes`?" in done.err
    assert ready("index", "list", "--json").json["indexes"] == []


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "no such file"), ("{", "is not JSON"), ("[]", "is not a JSON object")]
)
def test_a_settings_file_that_cannot_be_used_is_named(
    ready: Miroir, tmp_path: Path, content: str | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / "settings.json").write_text(content)
    done = ready("index", "create", "books", "-k", "id", "--settings", "settings.json")
    assert done.status == 2
    assert "`settings.json`" in done.err and problem in done.err


def test_listing(books: Miroir) -> None:
    done = books("index", "list")
    assert done.out.splitlines()[2].split() == ["books", "0", "6", "12", "2", "id"]
    found = books("index", "list", "--json").json
    assert [set(index) for index in found["indexes"]] == [DESCRIPTION]


def test_showing_where_the_shards_are_without_anything_reserved(books: Miroir) -> None:
    done = books("index", "show", "books")
    assert "4 serving" in done.out
    found = books("index", "show", "books", "--json").json
    assert {*DESCRIPTION, "tie_break", "settings", "placement"} == set(found)
    assert len(found["placement"]) == 12
    assert "_miroir" not in done.out + json.dumps(found)


def test_statistics(books: Miroir) -> None:
    found = books("index", "stats", "books", "--json").json
    assert found["numberOfDocuments"] == 0
    assert found["missingShards"] == []
    assert books("index", "stats", "books").out.startswith("0 documents\n")


def test_statistics_that_lack_shards_say_so(books: Miroir, engines: list[Engine]) -> None:
    engines[0].stop()
    engines[1].stop()
    done = books("index", "stats", "books", "--json")
    assert done.status == 3
    assert done.json["missingShards"]
    assert "could not be counted" in done.err


def test_an_index_that_is_not_there_is_named_with_the_likely_one(books: Miroir) -> None:
    for words in (["index", "show", "boks"], ["index", "stats", "boks"], ["index", "settings", "get", "boks"]):
        done = books(*words)
        assert done.status == 4
        assert done.err == "error: index `boks` not found\n\nhint: did you mean `books`?\n"


def test_deleting_asks_first(books: Miroir) -> None:
    refused = books("index", "delete", "books")
    assert refused.status == 2
    assert "--yes" in refused.err
    tried = books("index", "delete", "books", "--dry-run", "--json")
    assert tried.json == {"uid": "books", "deleted": False, "nodes": ["n1", "n2", "n3"]}
    done = books("index", "delete", "books", "--yes")
    assert done.out == "deleted index `books` from n1, n2, n3\n"
    assert books("index", "delete", "books", "--yes").status == 4


# settings


@both_backends
def test_settings_change_everywhere_and_read_back_as_one_meilisearch_would_show_them(books: Miroir) -> None:
    done = books("index", "settings", "set", "books", 'sortableAttributes=["year"]', "searchCutoffMs=300")
    assert done.status == 0
    assert "sortableAttributes" in done.out and "(default)" in done.out
    assert "in force on n1, n2, n3" in done.err
    found = books("index", "settings", "get", "books")
    assert json.loads(found.out)["sortableAttributes"] == ["year"]
    assert "_miroir" not in found.out
    one = books("index", "settings", "get", "books", "searchCutoffMs", "--json")
    assert one.json == {"searchCutoffMs": 300}


def test_settings_that_are_got_can_be_set(books: Miroir, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(books("index", "settings", "get", "books").out)
    assert books("index", "settings", "set", "books", "--file", "settings.json").status == 0


def test_settings_come_from_standard_input(books: Miroir) -> None:
    done = books("index", "settings", "set", "books", "--file", "-", "--json", stdin='{"stopWords": ["the"]}')
    assert done.json["changed"] == [{"key": "stopWords", "before": None, "after": ["the"]}]


def test_a_dry_run_changes_no_settings(books: Miroir) -> None:
    tried = books("index", "settings", "set", "books", 'stopWords=["the"]', "--dry-run", "--json")
    assert tried.json["dry_run"] is True
    assert books("index", "settings", "get", "books", "stopWords", "--json").json == {"stopWords": []}


def test_a_reset_brings_the_default_back(books: Miroir) -> None:
    books("index", "settings", "set", "books", 'stopWords=["the"]')
    done = books("index", "settings", "reset", "books", "stopWords", "--json")
    assert done.json["changed"] == [{"key": "stopWords", "before": ["the"], "after": None}]
    again = books("index", "settings", "reset", "books")
    assert again.out == "nothing to change\n"


def test_differences_have_an_exit_status_on_request(books: Miroir, tmp_path: Path) -> None:
    (tmp_path / "wanted.json").write_text('{"stopWords": ["the"]}')
    words = ["index", "settings", "diff", "books", "wanted.json"]
    assert books(*words).status == 0
    done = books(*words, "--detailed-exitcode", "--json")
    assert done.status == 9
    assert done.json["differences"] == [{"key": "stopWords", "before": None, "after": ["the"]}]
    books("index", "settings", "set", "books", "--file", "wanted.json")
    assert books(*words, "--detailed-exitcode").status == 0


def test_unknown_settings_are_named_with_the_likely_one(books: Miroir) -> None:
    got = books("index", "settings", "get", "books", "stopWord")
    assert (got.status, "did you mean `stopWords`?" in got.err) == (6, True)
    done = books("index", "settings", "set", "books", "stopWord=[]")
    assert (done.status, "`stopWords`" in done.err) == (6, True)


def test_reserved_names_are_refused_in_settings(books: Miroir) -> None:
    done = books("index", "settings", "set", "books", 'sortableAttributes=["_miroir_shard"]')
    assert done.status == 2


def test_pairs_are_json_values() -> None:
    assert parse_pairs(['a=["x=y"]', "b=null", 'c="text"']) == {"a": ["x=y"], "b": None, "c": "text"}
    with pytest.raises(UsageError):
        parse_pairs(["a"])
    with pytest.raises(SettingsInvalid):
        parse_pairs(["a=text"])


def test_a_dry_deletion_of_documents_counts_and_deletes_nothing(books: Miroir, tmp_path: Path) -> None:
    (tmp_path / "b.ndjson").write_text('{"id": 1}\n{"id": 2}\n')
    assert books("import", "books", str(tmp_path / "b.ndjson")).status == 0
    for selection in (["1"], ["--all"]):
        found = books("delete", "books", *selection, "--dry-run", "--json")
        assert found.json["documents"] == (1 if selection == ["1"] else 2)
    assert books("index", "stats", "books", "--json").json["numberOfDocuments"] == 2


def test_an_index_that_is_not_frozen_need_not_be_unfrozen(books: Miroir) -> None:
    assert books("index", "unfreeze", "books").out == "index `books` was not frozen\n"
    assert books("index", "unfreeze", "books", "--dry-run").out == "index `books` is not frozen\n"
    assert books("index", "unfreeze", "nope").status == 4


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("search books x --filter title=1", "`filterableAttributes` first"),
        ("search books x --sort title:asc", "`sortableAttributes` first"),
        ("search books x --facets nope", "`filterableAttributes` first"),
        ("facet-search books nope x", "`filterableAttributes` first"),
        ("browse books --filter title=", "such as `--filter"),
        ("browse books --sort title", "such as `--sort"),
        ("similar books 1 --embedder nope", "settings get INDEX"),
        ("get books 999", "`miroir browse books` lists"),
        ("import books missing.ndjson", "check its path"),
        ("index settings diff books missing.json", "check its path"),
        ("tasks list --status nope", "miroir tasks list --help"),
        ("journal show abc", "run `miroir journal list`"),
    ],
)
def test_a_mistake_is_answered_with_the_next_step(stocked: Miroir, line: str, hint: str) -> None:
    done = stocked(*line.split())
    assert done.status in (2, 4)
    error, _, said = done.err.partition("\n\nhint: ")
    assert error.startswith("error: ") and hint in said, done.err
