"""What documents cost a Meilisearch node: the coefficients of `miroir plan-capacity`.

    python -m benchmarks.sizing --meilisearch BINARY [--sizes 20000,80000] [--words 20,150] [--queries 400]
    python -m benchmarks.sizing --meilisearch BINARY --file FILE     # NDJSON of your own

For each size and length of text a fresh node takes the documents in tasks of 20,000, all enqueued ahead, then answers
searches as miroir asks them: a filter that names a third of the shards, and the details of the ranking. Prints one JSON
object a line: bytes of NDJSON; of them, as multiples, the database on disk afterwards and the most it took meanwhile;
resident memory; processor time of the node for a megabyte and for a search; seconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.importing import TASK_DOCUMENTS, meilisearch, processor_seconds

SHARDS = 24
SETTINGS = {"filterableAttributes": ["shard", "genres", "year"], "sortableAttributes": ["year"]}


def words_of_a_language() -> tuple[list[str], list[float]]:
    """Words and how often they are, one after the other added up."""
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(20_000)]
    return words, list(itertools.accumulate(1 / rank for rank in range(1, len(words) + 1)))


def documents(rows: int, length: int) -> Iterator[bytes]:
    """Documents with a text of so many words, as NDJSON."""
    chance = random.Random(2)
    words, often = words_of_a_language()
    for number in range(rows):
        document = {
            "id": number,
            "title": " ".join(chance.choices(words, cum_weights=often, k=5)),
            "text": " ".join(chance.choices(words, cum_weights=often, k=length)),
            "genres": chance.choices(words[:30], k=2),
            "year": chance.randint(1900, 2025),
            "shard": f"s{number % SHARDS}",
        }
        yield json.dumps(document).encode() + b"\n"


def folder_bytes(folder: Path) -> int:
    """What a folder takes on disk: Meilisearch's files have holes."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except OSError:
            continue
    return total


class Peak(threading.Thread):
    """The most that a folder took."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.bytes, self.over = folder, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.3):
            self.bytes = max(self.bytes, folder_bytes(self.folder))


def memory(pid: int, name: str) -> int:
    """`VmRSS` or `VmHWM` of a process, and of the first how much is not of files, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)


def wait_for(client: httpx.Client) -> None:
    while client.get("/tasks", params={"statuses": "enqueued,processing", "limit": 1}).json()["total"]:
        time.sleep(0.2)


def fill(client: httpx.Client, source: Iterable[bytes]) -> tuple[int, int]:
    """Send everything ahead and wait; returns the number of documents and their bytes."""
    rows = total = 0
    lines_left = iter(source)
    while lines := list(itertools.islice(lines_left, TASK_DOCUMENTS)):
        payload = b"".join(lines)
        rows, total = rows + len(lines), total + len(payload)
        headers = {"Content-Type": "application/x-ndjson"}
        client.post("/indexes/books/documents", content=payload, headers=headers).raise_for_status()
    wait_for(client)
    return rows, total


def search(client: httpx.Client, queries: int) -> list[float]:
    """The seconds of each search."""
    chance = random.Random(3)
    words, often = words_of_a_language()
    took = []
    for _ in range(queries):
        shards = chance.sample(range(SHARDS), SHARDS // 3)
        body: dict[str, Any] = {
            "q": " ".join(chance.choices(words, cum_weights=often, k=chance.randint(1, 3))),
            "filter": [f"shard IN [{', '.join(f's{each}' for each in shards)}]"],
            "showRankingScoreDetails": True,
            "limit": 20,
        }
        if chance.random() < 0.3:
            body["filter"].append(f"year > {chance.randint(1900, 2020)}")
        begin = time.perf_counter()
        client.post("/indexes/books/search", json=body, headers={"Accept-Encoding": "identity"}).raise_for_status()
        took.append(time.perf_counter() - begin)
    return took


def measure(binary: Path, source: Iterable[bytes], queries: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with meilisearch(binary, folder, 1) as nodes, httpx.Client(base_url=nodes.urls[0], timeout=60) as client:
            pid = nodes.pids[0]
            empty = folder_bytes(folder)
            client.post("/indexes", json={"uid": "books", "primaryKey": "id"}).raise_for_status()
            client.patch("/indexes/books/settings", json=SETTINGS).raise_for_status()
            wait_for(client)
            before, begin = processor_seconds(nodes.pids), time.perf_counter()
            peak = Peak(folder)
            peak.start()
            rows, size = fill(client, source)
            seconds, spent = time.perf_counter() - begin, processor_seconds(nodes.pids) - before
            peak.over.set()
            peak.join()
            stats = client.get("/stats").json()
            disk = folder_bytes(folder)
            most = memory(pid, "VmHWM")
            search(client, queries // 4)
            before = processor_seconds(nodes.pids)
            took = search(client, queries)
            each = (processor_seconds(nodes.pids) - before) / queries
            return {
                "documents": rows,
                "bytes": size,
                "bytes_per_document": round(size / rows),
                "disk_per_byte": round((disk - empty) / size, 2),
                "database_per_byte": round(stats["databaseSize"] / size, 2),
                "used_per_byte": round(stats["usedDatabaseSize"] / size, 2),
                "peak_disk_per_byte": round((max(peak.bytes, disk) - empty) / size, 2),
                "resident_peak_mib": most >> 20,
                "resident_unshared_mib": memory(pid, "RssAnon") >> 20,
                "import_seconds": round(seconds, 1),
                "import_processor_seconds_per_megabyte": round(spent / size * 1e6, 2),
                "search_p50_ms": round(median(took) * 1000, 2),
                "search_processor_ms": round(each * 1000, 2),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meilisearch", type=Path, required=True)
    parser.add_argument("--sizes", default="20000,80000")
    parser.add_argument("--words", default="20,150")
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--file", type=Path, help="NDJSON to take instead, with an `id` in each document")
    options = parser.parse_args()
    if options.file is not None:
        lines = [line + b"\n" for line in options.file.read_bytes().splitlines()]
        print(json.dumps(measure(options.meilisearch, lines, options.queries)), flush=True)
        return
    for length in map(int, options.words.split(",")):
        for rows in map(int, options.sizes.split(",")):
            print(json.dumps(measure(options.meilisearch, documents(rows, length), options.queries)), flush=True)


if __name__ == "__main__":
    main()
