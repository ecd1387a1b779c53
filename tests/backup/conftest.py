"""The same nodes and commands as the tests of the command line have."""

from __future__ import annotations

from tests.cli.conftest import engines, logging_as_before, nodes, ready, spare, stocked

__all__ = ["engines", "logging_as_before", "nodes", "ready", "spare", "stocked"]
