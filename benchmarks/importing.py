"""How an import into several nodes compares with posting the same file to one node.

    python -m benchmarks.importing --meilisearch BINARY [--documents 120000] [--nodes 3] [--replicas 1,2] [--file FILE]

Starts fresh nodes for every run, one run after the other. The baseline posts the file to one node in tasks of 20,000
documents, all enqueued ahead, and waits for the last one. Prints one JSON document: seconds of each, their ratio, and
of the miroir process its peak of resident memory and its share of the machine's processor time. The processor time of
the nodes is there because it says more than seconds do on a machine that has other work.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

TASK_DOCUMENTS = 20_000


def processor_seconds(pids: Iterable[int]) -> float:
    """User and system time of processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return round(ticks / os.sysconf("SC_CLK_TCK"), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """Running nodes."""

    urls: list[str]
    pids: list[int]


@contextmanager
def meilisearch(binary: Path, folder: Path, count: int, *, options: Sequence[str] = ()) -> Iterator[Nodes]:
    """Fresh nodes with these options, ended with the block."""
    running: list[subprocess.Popen[bytes]] = []
    urls: list[str] = []
    try:
        for number in range(count):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                address = f"127.0.0.1:{probe.getsockname()[1]}"
            home = folder / f"node{number}"
            home.mkdir()
            running.append(
                subprocess.Popen(
                    [binary.absolute(), "--no-analytics", "--db-path", "data", "--http-addr", address, *options],
                    cwd=home,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            urls.append(f"http://{address}")
        for url in urls:
            wait_until_healthy(url)
        yield Nodes(urls=urls, pids=[process.pid for process in running])
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def documents(rows: int) -> Iterator[dict[str, Any]]:
    """Rows of about 260 bytes whose words are as unequally frequent as those of a language."""
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(20_000)]
    often = list(itertools.accumulate(1 / rank for rank in range(1, len(words) + 1)))
    for number in range(rows):
        yield {
            "id": number,
            "title": " ".join(chance.choices(words, cum_weights=often, k=5)),
            "text": " ".join(chance.choices(words, cum_weights=often, k=20)),
            "genres": chance.choices(words[:30], k=2),
            "year": chance.randint(1900, 2025),
        }


def wait_until_healthy(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise SystemExit(f"{url} does not answer")


def post_to_one(url: str, file: Path) -> float:
    """Seconds for one node to take and index the file."""
    with httpx.Client(base_url=url, timeout=300) as client:
        wait_for(client, client.post("/indexes", json={"uid": "books", "primaryKey": "id"}).json()["taskUid"])
        started = time.perf_counter()
        task = -1
        lines: list[bytes] = []
        with file.open("rb") as source:
            for line in source:
                lines.append(line)
                if len(lines) == TASK_DOCUMENTS:
                    task = post(client, lines)
                    lines = []
        task = post(client, lines) if lines else task
        wait_for(client, task)
        return time.perf_counter() - started


def post(client: httpx.Client, lines: list[bytes]) -> int:
    headers = {"Content-Type": "application/x-ndjson"}
    answer = client.post("/indexes/books/documents", content=b"".join(lines), headers=headers)
    return int(answer.json()["taskUid"])


def wait_for(client: httpx.Client, task: int) -> None:
    while (found := client.get(f"/tasks/{task}").json())["status"] not in ("succeeded", "failed"):
        time.sleep(0.05)
    if found["status"] == "failed":
        raise SystemExit(found["error"]["message"])


def run_import(urls: list[str], file: Path, folder: Path, replicas: int) -> dict[str, Any]:
    """`miroir import` in a process of its own, and what it used."""
    lines = ["[cluster]", 'name = "bench"', f"replicas = {replicas}"]
    for number, url in enumerate(urls, 1):
        lines += ["[[nodes]]", f'name = "n{number}"', f'url = "{url}"']
    (folder / "miroir.toml").write_text("\n".join(lines) + "\n")
    miroir = [sys.executable, "-m", "miroir_cli", "--json", "-t", str(folder / "miroir.toml")]
    subprocess.run([*miroir, "index", "create", "books", "--primary-key", "id"], check=True, capture_output=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen([*miroir, "-q", "import", "books", str(file)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    status = Path(f"/proc/{process.pid}/status")
    peak = 0.0
    while process.poll() is None:
        text = status.read_text()
        if "VmHWM:" in text:
            peak = max(peak, int(text.partition("VmHWM:")[2].split()[0]) / 1024)
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    summary = json.loads(process.stdout.read())
    if process.returncode:
        raise SystemExit(f"the import ended with status {process.returncode}: {summary}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(seconds, 2),
        "documents": summary["documents"],
        "batches": summary["batches"],
        "peak_mb": round(peak, 1),
        "processor_seconds": round(used, 2),
        "share_of_machine": round(used / seconds / (os.cpu_count() or 1), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meilisearch", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=120_000)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--replicas", default="1,2")
    parser.add_argument("--file", type=Path, default=None, help="NDJSON with the primary key `id`")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the nodes end too
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = arguments.file or folder / "rows.ndjson"
        if arguments.file is None:
            with file.open("wb") as target:
                target.writelines(msgspec.json.encode(row) + b"\n" for row in documents(arguments.documents))
        with meilisearch(arguments.meilisearch, folder, 1) as nodes:
            one = post_to_one(nodes.urls[0], file)
            used = processor_seconds(nodes.pids)
        result: dict[str, Any] = {"mb": round(file.stat().st_size / 1e6, 1)}
        result |= {"one_node_seconds": round(one, 2), "one_node_processor_seconds": used}
        for replicas in map(int, arguments.replicas.split(",")):
            place = folder / f"rf{replicas}"
            place.mkdir()
            with meilisearch(arguments.meilisearch, place, arguments.nodes) as nodes:
                run = run_import(nodes.urls, file, place, replicas)
                run["nodes_processor_seconds"] = processor_seconds(nodes.pids)
            run["ratio"] = round(run["seconds"] / one, 3)
            result[f"replicas_{replicas}"] = run
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
