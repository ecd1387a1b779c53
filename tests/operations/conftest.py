"""The world of the command line's tests: three embedded nodes and a topology file."""

from tests.cli.conftest import engines, nodes, ready, stocked

__all__ = ["engines", "nodes", "ready", "stocked"]
