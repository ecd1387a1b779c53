"""What a backup and a restore take, beside what an export and an import of the same documents take.

    python -m benchmarks.backups --meilisearch BINARY [--documents 100000] [--nodes 3] [--replicas 2]

Real servers, each command in a process of its own, one after the other. Prints one JSON document: seconds of each
command and the two ratios, the size of the backup, and how long a copy from one server takes, first and again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.importing import documents, meilisearch, post_to_one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meilisearch", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=2)
    wish = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="miroir-backups-") as name:
        folder = Path(name)
        file = folder / "books.ndjson"
        with file.open("wb") as out:
            out.writelines(msgspec.json.encode(document) + b"\n" for document in documents(wish.documents))
        with meilisearch(wish.meilisearch, folder, wish.nodes + 1) as nodes:
            found = measure(nodes.urls[:-1], nodes.urls[-1], file, folder, wish.replicas)
    print(json.dumps({"documents": wish.documents, **found}, indent=2))


def measure(urls: list[str], spare: str, file: Path, folder: Path, replicas: int) -> dict[str, Any]:
    lines = ["[cluster]", 'name = "bench"', f"replicas = {replicas}"]
    for number, url in enumerate(urls, 1):
        lines += ["[[nodes]]", f'name = "n{number}"', f'url = "{url}"']
    (folder / "miroir.toml").write_text("\n".join(lines) + "\n")

    def run(*words: str) -> tuple[float, Any]:
        began = time.perf_counter()
        line = [sys.executable, "-m", "miroir_cli", "-q", "-t", str(folder / "miroir.toml"), *words, "--json"]
        done = subprocess.run(line, stdout=subprocess.PIPE, check=True)
        return round(time.perf_counter() - began, 2), json.loads(done.stdout)

    run("index", "create", "books", "--primary-key", "id")
    imported, _ = run("import", "books", str(file))
    exported, _ = run("export", "books", "--vectors", "--output", str(folder / "out.ndjson"))
    made, backup = run("backup", "create", str(folder / "backups"))
    verified, _ = run("backup", "verify", str(folder / "backups"))
    restored, _ = run("backup", "restore", str(folder / "backups"), "--as", "again")
    run("index", "delete", "again", "--yes")
    posted = round(post_to_one(spare, file), 2)
    copied, _ = run("import", "copy", "--from", spare, "--from-index", "books")
    compared, _ = run("import", "copy", "--from", spare, "--from-index", "books")
    return {
        "file_bytes": file.stat().st_size,
        "backup_bytes": backup["bytes"],
        "import": imported,
        "export": exported,
        "backup create": made,
        "backup verify": verified,
        "backup restore": restored,
        "posted to one": posted,
        "import --from": copied,
        "import --from, again": compared,
        "create_to_export": round(made / exported, 2),
        "restore_to_import": round(restored / imported, 2),
    }


if __name__ == "__main__":
    main()
