"""The log: one JSON object a line on standard error, written by a thread of its own so that no request waits."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import msgspec

EVERY = 0.1
"""Seconds between two batches of lines."""

KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """A record with its extra facts as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line.update({name: value for name, value in vars(record).items() if name not in KNOWN})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class Batches(logging.Handler):
    """Writes what was logged many lines at a time: a thread that wakes up for each would take turns with requests."""

    def __init__(self, stream: TextIO, *, every: float = EVERY) -> None:
        super().__init__()
        self._stream = stream
        self._every = every
        self._waiting: deque[logging.LogRecord] = deque()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="miroir-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record until its batch is written."""
        self._waiting.append(record)

    def close(self) -> None:
        """Write what is left, then end."""
        self._ending.set()
        self._thread.join()
        super().close()

    def _write_on(self) -> None:
        ended = False
        while not ended:
            ended = self._ending.wait(self._every)
            lines: list[str] = []
            while self._waiting:
                lines.append(self.format(self._waiting.popleft()) + "\n")
            if lines:
                with suppress(OSError, ValueError):  # nobody reads the log any more
                    self._stream.write("".join(lines))
                    self._stream.flush()


@contextmanager
def json_log(*, level: int = logging.INFO) -> Iterator[None]:
    """Log what happens under `miroir` to standard error while this lasts."""
    handler = Batches(sys.stderr)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("miroir")
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
        handler.close()
