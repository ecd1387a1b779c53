"""The commands of the guides about backups and copies run, on one world and in their order."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from tests.backup.test_copying import finish
from tests.test_docs import DOCS, KEY, START, blocks, commands_of, engines, run_script, servers

__all__ = ["engines", "servers"]


@pytest.mark.timeout(150)
def test_the_commands_about_backups_run(servers: list[str], tmp_path: Path) -> None:
    page = DOCS / "guides" / "backup.md"
    nightly = [line.split(None, 5)[5] for line in blocks(page, "text")[0].splitlines() if not line.startswith("#")]
    assert len(nightly) == 3
    nights = "\n".join(f"({line})" for line in nightly).replace("cd /srv/search", f"cd {tmp_path}")
    script = f"{START}\n{commands_of(page, 'bash')}\n{nights}".replace("/srv/backups", str(tmp_path / "backups"))
    done = run_script(script, servers, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The Left Hand of Darkness" in done.stdout
    assert httpx.get(f"{servers[4]}/indexes/books/stats", headers=bearer()).json()["numberOfDocuments"] == 1
    lines = (tmp_path / "backup.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["flaws"] == []


@pytest.mark.timeout(150)
def test_the_commands_about_one_meilisearch_run(servers: list[str], tmp_path: Path) -> None:
    old = servers[4]
    finish(old, httpx.post(f"{old}/indexes", json={"uid": "books", "primaryKey": "id"}, headers=bearer()), bearer())
    books = [{"id": number, "title": f"Book {number}"} for number in range(30)]
    finish(old, httpx.post(f"{old}/indexes/books/documents", json=books, headers=bearer()), bearer())
    page = DOCS / "guides" / "from-one-meilisearch.md"
    start = "\n".join(line for line in blocks(DOCS / "guides" / "quick-start.md", "bash")[0].splitlines())
    done = run_script(f"{start}\n{commands_of(page, 'bash')}", servers, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^books-back +30 +", done.stdout, re.M), done.stdout
    answer = httpx.post(f"{old}/indexes/books-back/documents/fetch", json={"limit": 99}, headers=bearer()).json()
    assert sorted(answer["results"], key=lambda book: book["id"]) == books


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY}"}
