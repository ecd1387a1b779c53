"""Standard output and standard error as they are: lines, colours, a reader that is gone, the log."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


def to_stderr(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def paint(text: str, style: str, *, stream: TextIO | None = None) -> str:
    """`text` in an ANSI style when the stream (standard error) is a terminal that wants colours."""
    if not (stream or sys.stderr).isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{style}m{text}\x1b[0m"


def silence(stream: TextIO) -> None:
    """Point a stream whose reader is gone to nowhere, so that the last flush does not complain."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def log_to_stderr(verbose: int) -> None:
    import logging

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger().setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
    logging.getLogger("httpx").setLevel(logging.DEBUG if verbose > 1 else logging.WARNING)  # a line for each request
