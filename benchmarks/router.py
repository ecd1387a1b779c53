"""How fast documents are read, checked, routed and made into payloads, with a sink in place of the nodes.

    python -m benchmarks.router [--rows 3000000] [--format ndjson|parquet|csv|json] [--rich] [--nodes 3] [--folder DIR]

`--rich` has what calls for further looks at the text: keys that are strings, names with `_`, quotes, accents.

A file of about 84 MB is generated and read as often as it takes to reach the number of rows, so that neither disk nor
memory grows with it. Prints one JSON document: MB of NDJSON per second of wall clock and of processor time (one
thread), the slowest reading of the file, and the peak of resident memory after a tenth of the rows and at the end.

For NDJSON every other reading is that of an alternative, in another process: decode nothing but the primary key with
a msgspec Struct and put the reserved field in front, with no check, no shard and one payload. `of_alternative` is
miroir's speed as a share of that (the median of all readings); it makes runs comparable when others use the machine.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from miroir_cli.documents.batches import LARGEST, Cutter
from miroir_cli.documents.route import Router
from miroir_cli.documents.sources import find_inputs
from miroir_cli.model import SHARD_FIELD, ShardId, spell_shard

ROWS_A_FILE = 100_000
SHARDS = 24


def documents(rows: int) -> Iterator[dict[str, Any]]:
    """Rows of about 890 bytes as JSON: text, numbers, a date, a nested object, an array."""
    chance = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(5000)]
    for number in range(rows):
        yield {
            "id": number,
            "title": " ".join(chance.choices(words, k=6)),
            "overview": " ".join(chance.choices(words, k=98)),
            "genres": chance.sample(words, 3),
            "year": chance.randint(1900, 2025),
            "price": round(chance.random() * 100, 2),
            "released": f"{chance.randint(1900, 2025)}-05-06",
            "place": {"city": chance.choice(words), "zip": str(chance.randint(10000, 99999))},
        }


def enriched(row: dict[str, Any]) -> dict[str, Any]:
    overview = row["overview"].replace("e", "é")
    return {**row, "id": f"row-{row['id']}", "overview": f'{overview[:300]} "{overview[300:]}"', "zip_code": "12345"}


def write_file(path: Path, rows: Sequence[dict[str, Any]], format: str) -> None:
    if format == "parquet":
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(list(rows)), path, row_group_size=20_000)
    elif format == "csv":
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id:number", "title", "overview", "genres", "year:number", "price:number", "released"])
            for row in rows:
                writer.writerow([str(value) for value in row.values()][:7])
    elif format == "json":
        path.write_bytes(msgspec.json.encode(rows))
    else:
        path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def peak_megabytes() -> float:
    """The most memory that was resident, of this program alone: `ru_maxrss` remembers the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def spliced(path: Path) -> float:
    """The alternative, over one file: MB per second of processor time."""
    decode = msgspec.json.Decoder(msgspec.defstruct("Key", [("id", int | str)], gc=False)).decode
    opening = f'{{"{SHARD_FIELD}":"{spell_shard(ShardId(0))}",'.encode()
    lines: list[bytes] = []
    processor = time.process_time()
    with path.open("rb") as file:
        for line in file:
            decode(line)
            lines.append(opening + line[1:])
            if len(lines) == 10_000:
                b"".join(lines)  # the sink
                lines.clear()
    return path.stat().st_size / 1e6 / (time.process_time() - processor)


def spliced_apart(path: Path) -> float:
    """The same in a process of its own: the memory that it leaves behind would make miroir's look faster."""
    command = [sys.executable, "-m", "benchmarks.router", "--alternative", "--file", str(path)]
    return float(subprocess.run(command, check=True, capture_output=True).stdout)


def measure(path: Path, *, rows: int, nodes: int, alternative: bool) -> dict[str, object]:
    router = Router(primary_key="id", shards=SHARDS)
    shares = [[ShardId(shard) for shard in range(node, SHARDS, nodes)] for node in range(nodes)]
    rates: list[float] = []
    others: list[float] = []
    read = routed = sent = 0
    early = wall = used = 0.0
    while read < rows:
        cutter = Cutter(find_inputs([str(path)]), router)
        began, processor, before = time.perf_counter(), time.process_time(), routed
        while (cut := cutter.next(LARGEST)) is not None:
            read += sum(cut.batch.distinct().values())
            routed += cut.batch.size
            for share in shares:
                sent += len(cut.batch.payload(share))  # the sink
        wall, processor = wall + time.perf_counter() - began, time.process_time() - processor
        used += processor
        rates.append((routed - before) / 1e6 / processor)
        cutter.close()
        early = early or (peak_megabytes() if read >= rows / 10 else 0.0)
        if alternative:
            others.append(spliced_apart(path))
    result: dict[str, object] = {
        "rows": read,
        "ndjson_mb": round(routed / 1e6),
        "bytes_a_row": round(routed / read),
        "mb_per_second": round(routed / 1e6 / wall),
        "mb_per_processor_second": round(routed / 1e6 / used),
        "lowest": round(min(rates)),
    }
    if alternative:
        ratios = [rate / other for rate, other in zip(rates, others, strict=True)]
        result |= {"alternative": round(median(others)), "of_alternative": round(median(ratios), 2)}
    return result | {
        "sent_mb": round(sent / 1e6),
        "peak_mb_after_a_tenth": round(early, 1),
        "peak_mb": round(peak_megabytes(), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--format", choices=["ndjson", "json", "csv", "parquet"], default="ndjson")
    parser.add_argument("--rich", action="store_true")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--file", type=Path, default=None, help="an existing file instead of a generated one")
    parser.add_argument("--alternative", action="store_true", help="only the alternative, over that file")
    arguments = parser.parse_args()
    if arguments.alternative:
        sys.stdout.write(f"{spliced(arguments.file)}\n")
        return
    if arguments.file is not None:
        alternative = arguments.format == "ndjson"
        result = measure(arguments.file, rows=arguments.rows, nodes=arguments.nodes, alternative=alternative)
        sys.stdout.write(json.dumps({"format": arguments.format, **result}) + "\n")
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / f"rows.{arguments.format}"
        found = documents(min(arguments.rows, ROWS_A_FILE))
        write_file(path, list(map(enriched, found) if arguments.rich else found), arguments.format)
        # A process of its own, so that the memory that generating took does not count.
        command = [sys.executable, "-m", "benchmarks.router", "--rows", str(arguments.rows)]
        command += ["--format", arguments.format, "--nodes", str(arguments.nodes), "--file", str(path)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
