"""`miroir alias`, and aliases in the place of indexes: what is printed, the JSON shapes and the exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends import both_backends
from tests.conftest import Miroir, clean_environment


@pytest.fixture
def two(stocked: Miroir, tmp_path: Path) -> Miroir:
    """`books` with 60 documents, `films` with one, and `live`, which stands for `books`."""
    (tmp_path / "films.ndjson").write_text('{"id": 1, "title": "Stalker"}\n')
    for words in (
        ("index", "create", "films", "-k", "id"),
        ("import", "films", "films.ndjson"),
        ("alias", "create", "live", "books"),
    ):
        assert stocked(*words).status == 0
    return stocked


def targets(miroir: Miroir) -> dict[str, list[str]]:
    return {alias["name"]: alias["targets"] for alias in miroir("alias", "list", "--json").json["aliases"]}


@both_backends
def test_an_alias_is_made_shown_flipped_and_deleted(two: Miroir) -> None:
    before = targets(two)
    tried = two("alias", "flip", "live", "films", "--dry-run")
    assert tried.out == "alias `live` would stand for index `films` now, it stood for index `books`\n"
    assert targets(two) == before == {"live": ["books"]}
    done = two("alias", "flip", "live", "films")
    assert done.out == "alias `live` stands for index `films` now, it stood for index `books`\n"
    assert two("alias", "flip", "live", "films").out == "alias `live` stands for index `films` already\n"
    shown = two("alias", "show", "live", "--json").json
    assert [turn["targets"] for turn in shown["history"]] == [["films"], ["books"]]
    assert "films" in two("alias", "show", "live").out
    back = two("alias", "flip", "live", "books", "--from", "films", "--json").json
    assert back == {"name": "live", "kind": "single", "targets": ["books"], "was": ["films"], "flipped": True}
    late = two("alias", "flip", "live", "books", "--from", "films")
    assert late.status == 14 and "it stands for index `books` now" in late.err
    assert two("alias", "delete", "live", "--dry-run").out == "would delete alias `live` of index `books`\n"
    assert two("alias", "delete", "live", "--json").json["deleted"] is True
    assert two("alias", "list").out == "no alias yet\n"


def test_one_of_several_is_made_by_naming_several(two: Miroir) -> None:
    tried = two("alias", "create", "all", "films", "books", "--dry-run")
    assert tried.out == "alias `all` would stand for indexes `books`, `films`\n"
    made = two("alias", "create", "all", "films", "books", "--json").json
    made.pop("next")
    assert made == {"name": "all", "kind": "multi", "targets": ["books", "films"], "created": True}
    assert two("alias", "create", "one", "films", "--several", "--json").json["kind"] == "multi"
    found = two("search", "all", "--limit", "100", "--json").json
    assert found["estimatedTotalHits"] == 61
    assert {hit["_federation"]["indexUid"] for hit in found["hits"]} == {"books", "films"}
    assert "Stalker" in two("search", "all", "stalker").out
    assert "alias `all` of several indexes" in two("alias", "show", "all").out


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("create live films", 2, "`live` exists already: it is an alias of index `books`"),
        ("create films books", 2, "`films` exists already: it is an index"),
        ("create other nowhere", 4, "index `nowhere` not found"),
        ("create other live", 2, "`live` is an alias of index `books`"),
        ("create live films", 2, "`miroir alias flip live OTHER`"),
        ("create a.b books", 2, "`a.b` cannot be the name of an alias"),
        ("create _miroir_x books", 2, "are miroir's own"),
        ("flip nowhere books", 4, "alias `nowhere` not found"),
        ("flip live nowhere", 4, "index `nowhere` not found"),
        ("flip live books films", 2, "alias `live` stands for one index, and cannot for 2"),
        ("delete nowhere", 4, "alias `nowhere` not found"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_cannot_be_changes_nothing(two: Miroir, words: str, status: int, said: str, dry_run: bool) -> None:
    done = two("alias", *words.split(), *(["--dry-run"] if dry_run else []))
    assert done.status == status and said in done.err, done.err
    assert targets(two) == {"live": ["books"]}


def test_whatever_is_done_with_documents_and_settings_takes_an_alias(two: Miroir, tmp_path: Path) -> None:
    assert two("get", "live", "7").json["title"] == "Book 7"
    assert two("search", "live", "book", "--json").json["estimatedTotalHits"] == 60
    assert two("browse", "live", "--json").json["total"] == 60
    assert two("locate", "live", "7", "--json").json["index"] == "books"
    assert two("explain", "live").status == 0
    exported = two("export", "live")
    assert exported.out.count("\n") == 60 and "`live` is an alias of index `books`" in exported.err
    assert two("export", "live", "--dry-run", "--json").json["index"] == "books"
    assert two("index", "show", "live", "--json").json["uid"] == "books"
    assert two("index", "stats", "live", "--json").json["uid"] == "books"
    (tmp_path / "more.ndjson").write_text('{"id": 1000, "title": "More"}\n')
    assert two("import", "live", "more.ndjson", "--json").json["index"] == "books"
    assert two("import", "live", "more.ndjson", "--create", "-k", "id", "--json").json["index"] == "books"
    assert two("delete", "live", "1000", "--json").json["index"] == "books"
    changed = two("index", "settings", "set", "live", 'filterableAttributes=["title"]', "--json").json
    assert changed["index"] == "books"
    assert two("index", "settings", "get", "books", "--json").json["filterableAttributes"] == ["title"]
    assert two("facet-search", "live", "title", "Book 7").status == 0
    (tmp_path / "queries.json").write_text(json.dumps({"queries": [{"indexUid": "live", "q": "book"}]}))
    several = two("search", "--multi", "queries.json", "--json").json
    assert several["results"][0]["indexUid"] == "live" and several["results"][0]["estimatedTotalHits"] == 60


@pytest.mark.parametrize(
    "words",
    [
        "index delete live --yes",
        "index swap live films",
        "index rename live other",
        "index unfreeze live",
        "verify live",
        "repair live",
        "backup create place --index live",
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_is_done_with_an_index_itself_says_which_one_to_name(two: Miroir, words: str, dry_run: bool) -> None:
    if dry_run and words.startswith("verify"):
        pytest.skip("it changes nothing")
    done = two(*words.split(), *(["--dry-run"] if dry_run else []))
    assert done.status == 2, done.err
    assert "`live` is an alias of index `books`, and this is done with an index itself" in done.err


def test_names_of_aliases_are_taken_and_their_indexes_stay(two: Miroir) -> None:
    for words in ("index create live -k id", "index rename films live", "index rename films live --dry-run"):
        done = two(*words.split())
        assert done.status == 2 and "it is an alias of index `books`" in done.err, words
    for words in ("index delete books --yes", "index delete books --dry-run"):
        done = two(*words.split())
        assert done.status == 14 and "alias `live` stands for index `books`" in done.err, words


def test_one_of_several_is_only_searched(two: Miroir, tmp_path: Path) -> None:
    assert two("alias", "create", "all", "films", "books").status == 0
    for words in ("get all 1", "browse all", "export all", "index stats all", "index settings get all", "locate all 1"):
        done = two(*words.split())
        assert done.status == 2 and "stands for indexes `books`, `films`, and this needs one" in done.err, words
    for words in ("import all films.ndjson", "delete all 1", "index settings set all stopWords=null"):
        done = two(*words.split(), "--json")
        assert (done.status, done.json["error"]["code"]) == (2, "miroir_multi_alias_not_writable"), words


def test_one_of_several_is_a_query_of_a_federation(two: Miroir, tmp_path: Path) -> None:
    assert two("alias", "create", "all", "films", "books").status == 0
    for uids, name in ((["all"], "by-alias.json"), (["books", "films"], "by-name.json")):
        queries = [{"indexUid": uid, "q": "stalker book", "matchingStrategy": "last"} for uid in uids]
        (tmp_path / name).write_text(json.dumps({"federation": {"limit": 70}, "queries": queries}))
    by_alias, by_name = (two("search", "--multi", f"by-{how}.json", "--json").json for how in ("alias", "name"))
    assert {hit["_federation"].pop("queriesPosition") for hit in by_alias["hits"]} == {0}
    assert {hit["_federation"].pop("queriesPosition") for hit in by_name["hits"]} <= {0, 1}
    assert by_alias["hits"] == by_name["hits"] and by_alias["hits"]
    assert by_alias["estimatedTotalHits"] == by_name["estimatedTotalHits"]


def completed(folder: Path, kind: str) -> str:
    """What a shell is offered."""
    command = [sys.executable, "-m", "miroir_cli", "__complete", kind]
    return subprocess.run(
        command, cwd=folder, env=clean_environment(), check=True, capture_output=True, text=True
    ).stdout


def test_status_and_completions_know_aliases(two: Miroir, tmp_path: Path) -> None:
    assert [alias["name"] for alias in two("status", "--json").json["aliases"]] == ["live"]
    assert "live" in two("status").out
    assert two("alias", "create", "all", "films", "books").status == 0
    offered = [line.partition("\t") for line in completed(tmp_path, "indexes").splitlines()]
    assert [value for value, _, _ in offered] == ["books", "films", "all", "live"]
    assert completed(tmp_path, "aliases") == "all\tan alias of books, films\nlive\tan alias of books\n"


def test_a_backup_has_the_aliases_of_its_indexes(two: Miroir) -> None:
    assert two("alias", "create", "all", "films", "books").status == 0
    assert two("backup", "create", "place").status == 0
    shown = two("backup", "show", "place", "--json").json["aliases"]
    assert shown == [
        {"name": "all", "kind": "multi", "targets": ["books", "films"]},
        {"name": "live", "kind": "single", "targets": ["books"]},
    ]
    assert "alias `all` of books, films" in two("backup", "show", "place").out
    refused = two("backup", "restore", "place", "--index", "books", "--replace", "--yes")
    assert refused.status == 14 and "stands for index `books`" in refused.err
    taken = two("backup", "restore", "place", "--index", "books", "--as", "live")
    assert taken.status == 2 and "it is an alias" in taken.err
    for words in ("alias delete all", "alias delete live", "index delete books --yes", "alias create live films"):
        assert two(*words.split()).status == 0
    restored = two("backup", "restore", "place", "--index", "books", "--json").json
    assert restored["aliases"] == [] and targets(two) == {"live": ["films"]}, "what is there stays"
    for words in ("alias delete live", "index delete books --yes", "index delete films --yes"):
        assert two(*words.split()).status == 0
    assert two("backup", "restore", "place", "--json").json["aliases"] == ["all", "live"]
    assert targets(two) == {"all": ["books", "films"], "live": ["books"]}
