"""How processes are told apart, also from those that had their number before them, and how they are signed."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from miroir_cli.store.journal import Process
from miroir_cli.store.processes import lives_here, this_process

NOBODY = 2**22 + 1
"""No process has this number."""


def test_this_process_lives() -> None:
    assert this_process().pid == os.getpid()
    assert lives_here(this_process())


def test_a_process_of_the_same_number_that_began_at_another_time_is_another_one() -> None:
    assert not lives_here(replace(this_process(), born="1"))
    assert lives_here(replace(this_process(), born=""))
    assert not lives_here(Process(host="", pid=NOBODY))


@pytest.mark.parametrize(
    ("signed", "process"),
    [
        ("db.example.org:12.4711", Process(host="db.example.org", pid=12, born="4711")),
        ("x:12.", Process(host="x", pid=12)),
    ],
)
def test_a_signature_names_host_and_process(signed: str, process: Process) -> None:
    assert str(process) == signed
    assert Process.of(signed) == process


def test_what_was_signed_when_there_was_one_host_is_read() -> None:
    assert Process.of("12.4711") == Process(host="", pid=12, born="4711")
