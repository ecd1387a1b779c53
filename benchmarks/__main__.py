"""All measurements of `docs/benchmarks.md`, one after the other: `make bench`, or `make bench ARGS="router start"`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

MEASUREMENTS = {
    "router": [
        ["benchmarks.router", "--rows", "3000000"],
        ["benchmarks.router", "--rows", "3000000", "--format", "parquet"],
    ],
    "import": [["benchmarks.importing"]],
    "backup": [["benchmarks.backups"]],
    "move": [["benchmarks.moving"], ["benchmarks.moving", "--memory", "200MiB"]],
    "sizing": [["benchmarks.sizing"], ["benchmarks.sizing", "--sizes", "320000", "--words", "20"]],
    "search": [["benchmarks.search"], ["benchmarks.search", "--replicas", "2"], ["benchmarks.replay"]],
    "facets": [["benchmarks.facets"]],
    "start": [["benchmarks.start"]],
    "serve": [["benchmarks.serving"], ["benchmarks.serving", "--replicas", "2"]],
    "epochs": [["benchmarks.epochs"]],
    "memory": [["benchmarks.memory"]],
    "registry": [["benchmarks.registry"]],
    "transports": [["benchmarks.transports"]],
}


def main() -> None:
    wanted = sys.argv[1:] or list(MEASUREMENTS)
    unknown = [name for name in wanted if name not in MEASUREMENTS]
    if unknown:
        sys.exit(f"error: no measurement `{unknown[0]}`\n\nhint: there are {', '.join(MEASUREMENTS)}")
    binary = os.environ.get("MIROIR_MEILISEARCH") or shutil.which("meilisearch")
    for name in wanted:
        for module in MEASUREMENTS[name]:
            arguments = list(module)
            if name in ("import", "backup", "move", "sizing"):
                if binary is None:
                    print(f"{name}: skipped, it needs `meilisearch` on PATH or MIROIR_MEILISEARCH", flush=True)
                    continue
                arguments += ["--meilisearch", binary]
            print(f"$ python -m {' '.join(module)}", flush=True)
            subprocess.run([sys.executable, "-m", *arguments], check=True)


if __name__ == "__main__":
    main()
