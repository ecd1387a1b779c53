"""Who may answer from memory while Redis is silent for it, and by which epoch at least.

`miroir:listeners:<process>:<nonce>` is what such a process has said last, and their listing has them by the moment at
which that runs out. Whoever is about to take away what an older state shows waits until each of them has said that it
knows a newer one, or has said nothing for so long that it answers nobody any more.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import msgspec

from miroir_cli.store.fence import clock
from miroir_cli.store.journal import Process
from miroir_cli.store.locks import Unaware
from miroir_cli.store.processes import kernel, lives_here, this_process
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.lease_scripts import SAY

if TYPE_CHECKING:
    from miroir_cli.store.redis.access import Access

LISTENERS: Final = listing("listeners")


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a process. `kernel` tells which processes its own kernel can see; `epoch` 0: it has not said yet
    what it knows."""

    host: str
    pid: int
    born: str
    kernel: str
    epoch: int

    @property
    def process(self) -> Process:
        return Process(host=self.host, pid=self.pid, born=self.born)

    @property
    def gone(self) -> bool:
        """Whether the process is certainly dead: only its own kernel can tell."""
        return self.kernel == kernel() and not lives_here(self.process)


class Listening:
    """This process among them: the protocol `miroir_cli.store.protocol.Listener`. What it says lasts `term` seconds."""

    def __init__(self, access: Access, *, term: float) -> None:
        self._access = access
        self._term = term
        self._name: str | None = None
        self.until = 0.0

    async def say(self, epoch: int) -> bool:
        began = clock()
        if self._name is not None and began < self.until and await self._say(self._name, epoch, fresh=False):
            self.until = began + self._term
            return True
        # a name of its own each time: one without an answer may be there all the same
        name = f"{this_process()}:{secrets.token_hex(4)}"
        began = clock()
        await self._say(name, 0, fresh=True)
        self._name, self.until = name, began + self._term
        return False

    async def leave(self) -> None:
        name, self._name, self.until = self._name, None, 0.0
        if name is not None:
            await self._access.ask("DEL", key("listeners", name))
            await self._access.ask("ZREM", LISTENERS, name)

    async def _say(self, name: str, epoch: int, *, fresh: bool) -> bool:
        this = this_process()
        said = Said(host=this.host, pid=this.pid, born=this.born, kernel=kernel(), epoch=epoch)
        text = msgspec.json.encode(said).decode()
        arguments = (name, text, round(self._term * 1000), int(fresh))
        return bool(await self._access.run(SAY, keys=(key("listeners", name), LISTENERS), arguments=arguments))


async def read_unaware(access: Access, epoch: int) -> tuple[Unaware, ...]:
    """Those that may answer by a state older than this epoch. What a dead process of this host has said goes."""
    names = await access.ask("ZRANGE", LISTENERS, 0, -1)
    if not names:
        return ()
    texts = await access.ask("MGET", *(key("listeners", name) for name in names))
    found: list[Unaware] = []
    for name, text in zip(names, texts, strict=True):
        said = None if text is None else msgspec.json.decode(text, type=Said)
        if said is None or said.epoch >= epoch:
            continue
        if said.gone:
            await access.ask("DEL", key("listeners", name))
            await access.ask("ZREM", LISTENERS, name)
            continue
        lasting = await access.ask("PTTL", key("listeners", name))
        found.append(Unaware(process=said.process, epoch=said.epoch, seconds=max(0, lasting) / 1000))
    return tuple(found)
