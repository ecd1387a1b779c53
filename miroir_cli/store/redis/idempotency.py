"""Idempotency keys: `miroir:idemp:<key>` is what a key stands for, as JSON, until Redis lets it run out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from miroir_cli.store.encoding import now
from miroir_cli.store.redis.keys import key as key_of
from miroir_cli.store.tasks import Reservation

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction


class Reserved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The JSON: a `Reservation` without its key."""

    digest: str
    owner: str
    reserved_at: int
    task: int | None = None


def reservation_key(key: str) -> str:
    return key_of("idemp", key)


async def reserve(tx: Transaction, reservation: Reservation, *, expires_at: int) -> Reservation | None:
    """Take a key for a request; None when that worked, otherwise what the key stands for."""
    found = await _read(tx, reservation.key)
    if found is not None:
        return Reservation(
            key=reservation.key,
            digest=found.digest,
            task=found.task,
            owner=found.owner,
            reserved_at=found.reserved_at,
        )
    moment = now()
    if expires_at > moment:
        new = Reserved(digest=reservation.digest, owner=reservation.owner, reserved_at=moment, task=reservation.task)
        tx.put(reservation_key(reservation.key), _written(new), lasting=expires_at - moment)
    return None


async def release(tx: Transaction, reservation: Reservation) -> None:
    """Give a key back that stands for no task."""
    found = await _read(tx, reservation.key)
    if found is not None and found.owner == reservation.owner and found.task is None:
        tx.put(reservation_key(reservation.key), None)


async def stand_for(tx: Transaction, key: str, task: int) -> None:
    """The key stands for this task from now on, if somebody has reserved it."""
    found = await _read(tx, key)
    if found is not None:
        tx.put(reservation_key(key), _written(replace(found, task=task)))


async def free(tx: Transaction, key: str, *, task: int) -> None:
    """Give a key back that stands for this task."""
    found = await _read(tx, key)
    if found is not None and found.task == task:
        tx.put(reservation_key(key), None)


async def _read(tx: Transaction, key: str) -> Reserved | None:
    (text,) = await tx.texts([reservation_key(key)])
    return None if text is None else msgspec.json.decode(text, type=Reserved)


def _written(reserved: Reserved) -> str:
    return msgspec.json.encode(reserved).decode()
