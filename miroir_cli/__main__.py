"""`python -m miroir_cli`: the same as the `miroir` command."""

import sys

from miroir_cli.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
