"""How a lease is signed by who holds it, and what that says to others."""

from __future__ import annotations

import secrets
import time

import msgspec

from miroir_cli.store.journal import Process
from miroir_cli.store.locks import Owner
from miroir_cli.store.processes import host_name, is_stopped, kernel, lives_here, this_process


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What tells one holding of a lease from all others. `since` is seconds since 1970, `kernel` tells which processes
    its holder's kernel can see."""

    host: str
    pid: int
    born: str
    kernel: str
    command: str
    since: float
    nonce: str

    @property
    def owner(self) -> Owner:
        return Owner(pid=self.pid, command=self.command, since=self.since, host=self.host)

    @property
    def gone(self) -> bool:
        """Whether the holder is certainly dead: only its own kernel can tell."""
        return self.kernel == kernel() and not lives_here(Process(host=self.host, pid=self.pid, born=self.born))

    @property
    def stopped(self) -> bool:
        """Whether the holder is stopped, as far as can be seen from here."""
        return self.host == host_name() and self.kernel == kernel() and is_stopped(self.pid)


def sign(command: str) -> str:
    """A new signature of this process."""
    process = this_process()
    signature = Signature(
        host=process.host,
        pid=process.pid,
        born=process.born,
        kernel=kernel(),
        command=command,
        since=round(time.time(), 3),
        nonce=secrets.token_hex(8),
    )
    return msgspec.json.encode(signature).decode()


def read_signature(text: str) -> Signature | None:
    """None for what is none."""
    try:
        return msgspec.json.decode(text, type=Signature)
    except msgspec.MsgspecError:
        return None
