"""Signals: the first one cancels a command and waits for its clean-up."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from miroir_cli.cli.failure import as_miroir_error
from miroir_cli.errors import Interrupted, MiroirError

Result = TypeVar("Result")


async def interruptible(work: Coroutine[Any, Any, Result], hint: str | None) -> Result:
    """Run work that ctrl-C and SIGTERM cancel; a second signal ends the process at once. `hint`: how to go on.

    Raises `Interrupted` where a signal ended the work, unless an error of its own says more.
    """
    import asyncio
    import signal

    received: list[int] = []
    task = asyncio.ensure_future(work)

    def stop(number: int) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except BaseException as error:
        if not received:
            raise
        known = as_miroir_error(error) if isinstance(error, Exception) else None
        if known is not None and known.exit_status not in (1, 130):
            raise known from error
        _interrupted(known, received[0], hint, error)


def _interrupted(known: MiroirError | None, number: int, hint: str | None, cause: BaseException) -> NoReturn:
    if isinstance(known, Interrupted):
        raise Interrupted(known.message, signal_number=number, hint=known.hint or hint) from cause
    raise Interrupted("interrupted", signal_number=number, hint=hint) from cause
