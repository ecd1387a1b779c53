"""The `miroir` command, and `python -m miroir_cli`, which is the same."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process; what a shell asks for while somebody types is answered without it."""
    if sys.argv[1:2] == ["__complete"]:
        from miroir_cli.cli.complete import complete

        return complete(sys.argv[2:])
    from miroir_cli.cli.app import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
