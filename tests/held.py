"""`python -m tests.held ARGUMENTS...`: the command for scripts in tests; its JSON documents are held to their schemas.

A document that is not what its schema promises ends it with exit status 99.
"""

from __future__ import annotations

import os
import subprocess
import sys

COMMAND = [sys.executable, "-m", "miroir_cli"]
BROKEN = 99


def main(words: list[str]) -> int:
    if "--json" not in words or "--watch" in words:
        os.execv(sys.executable, [*COMMAND, *words])
    done = subprocess.run([*COMMAND, *words], stdout=subprocess.PIPE, check=False)
    sys.stdout.buffer.write(done.stdout)
    sys.stdout.flush()
    from tests.schemas import check_output

    try:
        check_output(words, done.stdout.decode())
    except AssertionError as error:
        sys.stderr.write(f"{error}\n")
        return BROKEN
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
