"""Documents that a dynamic search rule pins to a place of the answer, whatever they score. Pure.

Each node pins its own documents and says at which position; the ranked hits of the whole are put around all pins.
Pins of one position stand in the order of their keys: the precedence of their rules is not in an answer.

Source: `merge_positioned_hits_into_page` of Meilisearch 1.50.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from miroir_cli.search.view import DETAILS

if TYPE_CHECKING:
    from miroir_cli.search.rank import Hit

Item = TypeVar("Item")


def is_pinned(hit: Hit) -> bool:
    return "pin" in hit.get(DETAILS, ())


def pinned(hits: Iterable[Hit]) -> list[Hit]:
    return [hit for hit in hits if "pin" in hit.get(DETAILS, ())]


def unpinned(hits: Iterable[Hit]) -> list[Hit]:
    return [hit for hit in hits if "pin" not in hit.get(DETAILS, ())]


def position_of(hit: Hit) -> int | None:
    """Where a hit is pinned; None for a hit that stands where it ranks."""
    pin: dict[str, Any] | None = (hit.get(DETAILS) or {}).get("pin")
    return None if pin is None else int(pin["position"])


def around_pins(pins: Sequence[tuple[int, Item]], ranked: Iterable[Item]) -> Iterator[Item]:
    """Ranked items with each pin at its position, or behind the last one. `pins` are ordered by position."""
    rest, place = iter(ranked), 0
    waiting = list(reversed(pins))
    while waiting:
        if waiting[-1][0] > place:
            item = next(rest, None)
            if item is None:
                break
            yield item
        else:
            yield waiting.pop()[1]
        place += 1
    yield from (item for _, item in reversed(waiting))
    yield from rest


def separate(items: Iterable[Item], hit_of: Callable[[Item], Hit]) -> tuple[list[tuple[int, Item]], list[Item]]:
    """Pins with their positions, in the order of these, and the other items."""
    pins: list[tuple[int, Item]] = []
    others: list[Item] = []
    for item in items:
        position = position_of(hit_of(item))
        if position is None:
            others.append(item)
        else:
            pins.append((position, item))
    return sorted(pins, key=lambda pin: pin[0]), others
