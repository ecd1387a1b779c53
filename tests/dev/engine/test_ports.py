from __future__ import annotations

import socket

from miroir_cli.dev.engine.ports import PORTS, free_port


def test_no_port_is_given_twice_and_none_that_somebody_listens_on() -> None:
    first = free_port()
    following = PORTS[(PORTS.index(first) + 1) % len(PORTS)]
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", following))
        busy.listen()
        given = [free_port() for _ in range(20)]
    assert len({first, *given}) == 21 and following not in given


def test_ports_are_none_that_the_system_gives_away_by_itself() -> None:
    with socket.socket() as outgoing:
        outgoing.bind(("127.0.0.1", 0))
        assert outgoing.getsockname()[1] not in PORTS
