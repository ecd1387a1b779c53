"""The world of the command line's tests, for the commands of the guide: three embedded nodes."""

from tests.cli.conftest import engines

__all__ = ["engines"]
