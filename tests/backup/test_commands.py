"""`miroir backup` as people and scripts use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miroir_cli.dev.engine.testing import Engine
from tests.backends import both_backends
from tests.conftest import Miroir


def exported(miroir: Miroir, uid: str) -> list[str]:
    done = miroir("export", uid, "--vectors")
    assert done.status == 0, done.err
    return done.out.splitlines()


@both_backends
def test_a_backup_is_made_listed_shown_checked_and_restored(stocked: Miroir, tmp_path: Path) -> None:
    made = stocked("backup", "create", "backups", "--json")
    assert made.status == 0, made.err
    assert (made.json["documents"], made.json["resumed"], made.json["skipped"]) == (60, False, [])
    listed = stocked("backup", "list", "backups", "--json").json["backups"]
    assert [(each["backup"], each["state"], each["indexes"]) for each in listed] == [
        (made.json["backup"], "complete", ["books"])
    ]
    shown = stocked("backup", "show", "backups", "--json").json
    assert [part["shard"] for part in shown["indexes"][0]["parts"]] == list(range(6))
    checked = stocked("backup", "verify", "backups", "--live", "--json")
    assert checked.status == 0, checked.err
    assert checked.json["live"] == [{"index": "books", "documents": 60, "missing": 0, "different": 0, "extra": 0}]
    restored = stocked("backup", "restore", "backups", "--as", "again", "--shards", "3", "--compare", "--json")
    assert restored.status == 0, restored.err
    assert restored.json["indexes"] == [{"index": "again", "documents": 60, "rejected": 0, "differences": []}]
    assert exported(stocked, "again") == exported(stocked, "books")
    assert stocked("index", "show", "again", "--json").json["shards"] == 3
    refused = stocked("backup", "restore", "backups")
    assert refused.status == 2
    assert "index `books` exists already" in refused.err and "--as" in refused.err


def test_what_people_read(stocked: Miroir) -> None:
    made = stocked("backup", "create", "backups")
    assert " 60 documents of 1 index, " in made.out
    id = made.out.split()[1].rstrip(":")
    assert id in stocked("backup", "list", "backups").out
    assert "books" in stocked("backup", "show", "backups", id[:10]).out
    assert "sound" in stocked("backup", "verify", "backups").out
    assert "created" in stocked("backup", "restore", "backups", "--as", "b2", "--dry-run").out
    assert "b2" in stocked("backup", "restore", "backups", "--as", "b2").out
    assert id in stocked("backup", "prune", "backups", "--keep-last", "1").out


def test_a_backup_of_one_index_does_not_let_one_of_all_go(stocked: Miroir) -> None:
    whole = stocked("backup", "create", "backups", "--json").json["backup"]
    one = stocked("backup", "create", "backups", "--index", "books", "--json").json["backup"]
    pruned = stocked("backup", "prune", "backups", "--keep-last", "1", "--yes", "--json")
    assert pruned.status == 0, pruned.err
    assert [each["backup"] for each in pruned.json["kept"]] == [one, whole]
    assert pruned.json["deleted"] == []


def test_into_one_server_and_the_same_answers(stocked: Miroir, spare: Engine) -> None:
    assert stocked("backup", "create", "backups").status == 0
    done = stocked("backup", "restore", "backups", "--to", spare.url, "--compare", "--json", "-t", "nowhere.toml")
    assert done.status == 0, done.err
    assert (done.json["into"], done.json["documents"]) == (spare.url, 60)
    again = stocked("backup", "restore", "backups", "--to", spare.url, "--json")
    assert again.status == 0 and again.json["resumed"]


def test_nothing_else_is_overwritten(stocked: Miroir, spare: Engine, tmp_path: Path) -> None:
    assert stocked("backup", "create", "backups").status == 0
    (tmp_path / "more.ndjson").write_text(json.dumps({"id": 100, "title": "Mine"}))
    assert stocked("import", "books", "more.ndjson").status == 0
    asked = stocked("backup", "restore", "backups", "--replace")
    assert asked.status == 2 and "--yes" in asked.err
    assert stocked("index", "stats", "books", "--json").json["numberOfDocuments"] == 61
    done = stocked("backup", "restore", "backups", "--replace", "--yes", "--json")
    assert done.status == 0, done.err
    assert stocked("index", "stats", "books", "--json").json["numberOfDocuments"] == 60


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_a_restore_remembers_where_the_state_of_its_user_is_kept(stocked: Miroir, tmp_path: Path, home: Path) -> None:
    """A host that reads its topology file in a folder that is not its own, as under systemd."""
    assert stocked("backup", "create", "backups").status == 0
    (tmp_path / ".miroir").write_text("nobody can write into this")
    done = stocked("backup", "restore", "backups", "--as", "again", "--json")
    assert done.status == 0, done.err
    assert done.json["indexes"][0]["documents"] == 60
    assert list((home / ".local" / "state" / "miroir").glob("*/restores"))
