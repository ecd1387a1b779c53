"""A terminal that shows one picture, drawn over and over: no scrolling, no flicker, and as it was afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from miroir_cli.cli.prose import plain_terminal

if TYPE_CHECKING:
    from rich.text import Text

ENTER: Final = "\x1b[?1049h\x1b[?25l"
"""The alternate screen, without a cursor."""

LEAVE: Final = "\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
REST_OF_LINE: Final = "\x1b[K"
REST_OF_SCREEN: Final = "\x1b[J"


def can_draw() -> bool:
    """Whether standard output is a terminal that can be drawn on."""
    return sys.stdout.isatty() and not plain_terminal()


class Screen:
    """The open screen. `resized` is set when the terminal has another size."""

    def __init__(self) -> None:
        self.resized = asyncio.Event()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        size = os.get_terminal_size(sys.stdout.fileno())
        return size.columns or 80, size.lines or 24

    def draw(self, lines: Iterable[Text]) -> None:
        """Show these lines instead of what was there, in one write."""
        from rich.console import Console

        console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        with console.capture() as captured:
            for line in lines:
                console.print(line, soft_wrap=True)
        drawn = f"{REST_OF_LINE}\r\n".join(captured.get().rstrip("\n").split("\n"))
        sys.stdout.write(f"{HOME}{drawn}{REST_OF_LINE}{REST_OF_SCREEN}")
        sys.stdout.flush()

    async def wait(self, seconds: float) -> None:
        """Until the time is over or the terminal has another size."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.resized.wait(), seconds)
        self.resized.clear()


@asynccontextmanager
async def screen() -> AsyncIterator[Screen]:
    """The alternate screen of the terminal; left, whatever happens, with the terminal as it was."""
    opened = Screen()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, opened.resized.set)
    sys.stdout.write(ENTER)
    sys.stdout.flush()
    try:
        yield opened
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
