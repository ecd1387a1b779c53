"""Sets of document numbers as Python integers: bit n stands for document n."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_POSITIONS = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))


def from_numbers(numbers: Iterable[int], limit: int) -> int:
    """Return the set of the given numbers, all below `limit`; repeats are welcome."""
    buffer = bytearray((limit >> 3) + 1)
    for number in numbers:
        buffer[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(buffer, "little")


def members(bits: int) -> Iterator[int]:
    """Yield the members in ascending order."""
    while bits and bits.bit_count() < 64:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
    if bits:
        for index, byte in enumerate(bits.to_bytes((bits.bit_length() + 7) >> 3, "little")):
            if byte:
                base = index << 3
                for bit in _POSITIONS[byte]:
                    yield base + bit


def lowest(bits: int, count: int) -> list[int]:
    """Return the `count` smallest members."""
    found: list[int] = []
    for number in members(bits):
        if len(found) >= count:
            break
        found.append(number)
    return found
