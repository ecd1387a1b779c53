"""Ports for servers that tests stop and start again at the same address."""

from __future__ import annotations

import itertools
import random
import socket
from typing import Final

PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections: one of these could take the port of a stopped server."""

_turns = itertools.count(random.SystemRandom().randrange(len(PORTS)))


def free_port() -> int:
    """A port of the loopback address that nobody listens on. One process is given each again only after all the
    others, and processes begin at different ones. Raises `RuntimeError` when there is none."""
    for turn in itertools.islice(_turns, len(PORTS)):
        port = PORTS[turn % len(PORTS)]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port from {PORTS.start} to {PORTS.stop}")
