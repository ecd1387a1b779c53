"""How long the command takes to start: `python -m benchmarks.start [--runs N]`.

`miroir --help`, `miroir status` (three embedded nodes, one index) and what a shell asks when somebody presses the tab
key, as processes of their own, taking turns with `python -c "import typer, rich.console"`, below which no command of
ours can come. Prints the medians.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from miroir_cli.dev.engine.testing import running_engine


def seconds(command: list[str], folder: Path) -> float:
    begin = time.perf_counter()
    subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=11)
    runs: int = parser.parse_args().runs
    miroir = [sys.executable, "-m", "miroir_cli"]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        engines = [stack.enter_context(running_engine(folder / f"disk{number}")) for number in range(3)]
        lines = ["[cluster]", 'name = "start"', "replicas = 2"]
        for number, engine in enumerate(engines):
            lines += ["[[nodes]]", f'name = "n{number}"', f'url = "{engine.url}"']
        (folder / "miroir.toml").write_text("\n".join(lines) + "\n")
        subprocess.run([*miroir, "-q", "index", "create", "books", "--primary-key", "id"], cwd=folder, check=True)
        commands = {
            "import typer and rich": [sys.executable, "-c", "import typer, rich.console"],
            "miroir --help": [*miroir, "--help"],
            "miroir import --help": [*miroir, "import", "--help"],
            "indexes for the tab key": [*miroir, "__complete", "indexes"],
            "miroir status": [*miroir, "status"],
        }
        took: dict[str, list[float]] = {label: [] for label in commands}
        for run in range(runs + 1):
            for label, command in commands.items():
                spent = seconds(command, folder)
                if run:
                    took[label].append(spent)
    base = median(took["import typer and rich"])
    for label, times in took.items():
        print(f"{label}: median {median(times) * 1000:.0f} ms, {median(times) / base:.2f} of the first")


if __name__ == "__main__":
    main()
