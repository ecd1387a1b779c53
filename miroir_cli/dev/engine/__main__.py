"""`python -m miroir_cli.dev.engine --port P --data DIR [--master-key K] [--faults]`."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

from .app import create_app
from .faults import Faults
from .serving import configured


def serve(host: str, port: int, data_dir: Path, master_key: str | None = None, *, faults: bool = False) -> None:
    """Run a node until SIGTERM or SIGINT."""
    app = create_app(data_dir, master_key=master_key, faults=Faults() if faults else None)
    uvicorn.Server(configured(app, host, port)).run()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="miroir_cli.dev.engine", description="Embedded development node.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="directory that keeps the data")
    parser.add_argument("--master-key", default=None)
    parser.add_argument("--faults", action="store_true", help="allow POST /_faults")
    arguments = parser.parse_args()
    serve(arguments.host, arguments.port, arguments.data, arguments.master_key, faults=arguments.faults)


if __name__ == "__main__":
    main()
