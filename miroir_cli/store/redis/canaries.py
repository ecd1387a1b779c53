"""Canaries: a hash `miroir:canary:<id>` each, and the sorted set `miroir:canary_runs:<id>` of how they went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from miroir_cli.store.encoding import from_json, to_json
from miroir_cli.store.records_canaries import KEPT_CANARY_RUNS, Canary, CanaryRun, CanaryStatus
from miroir_cli.store.redis.access import Part
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.values import texts

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction

CANARIES: Final = listing("canary")


class Canaries(Part):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def save_canary(self, canary: Canary) -> None:
        await self.access.write(lambda transaction: save_canary(transaction, canary))

    async def canary(self, id: str) -> Canary | None:
        found = await self.access.read(lambda transaction: transaction.hash(key("canary", id)))
        return _canary_of(found) if found else None

    async def canaries(self) -> tuple[Canary, ...]:
        return await self.access.read(read_canaries)

    async def delete_canary(self, id: str) -> bool:
        return await self.access.write(lambda transaction: delete_canary(transaction, id))

    async def add_canary_run(self, run: CanaryRun) -> bool:
        return await self.access.write(lambda transaction: add_run(transaction, run))

    async def canary_runs(self, id: str, *, limit: int = KEPT_CANARY_RUNS) -> tuple[CanaryRun, ...]:
        return await self.access.read(lambda transaction: read_runs(transaction, id, limit=limit))


async def save_canary(transaction: Transaction, canary: Canary) -> None:
    (await transaction.hash(key("canary", canary.id))).replace(
        texts(
            {
                "id": canary.id,
                "name": canary.name,
                "index_uid": canary.index_uid,
                "interval_s": canary.interval_s,
                "query": to_json(canary.query),
                "assertions": to_json(canary.assertions),
                "enabled": canary.enabled,
                "created_at": canary.created_at,
            }
        )
    )
    transaction.add(CANARIES, canary.id, 0)


def _canary_of(fields: Mapping[str, str]) -> Canary:
    return Canary(
        id=fields["id"],
        name=fields["name"],
        index_uid=fields["index_uid"],
        interval_s=int(fields["interval_s"]),
        query=from_json(fields["query"]),
        assertions=tuple(from_json(fields["assertions"])),
        enabled=fields["enabled"] == "1",
        created_at=int(fields["created_at"]),
    )


async def read_canaries(transaction: Transaction) -> tuple[Canary, ...]:
    found = await transaction.hashes(key("canary", id) for id in await transaction.names(CANARIES))
    return tuple(map(_canary_of, found))


async def delete_canary(transaction: Transaction, id: str) -> bool:
    found = await transaction.hash(key("canary", id))
    if not found:
        return False
    found.clear()
    transaction.discard(CANARIES, id)
    transaction.empty(key("canary_runs", id))
    return True


# -- how they went


async def add_run(transaction: Transaction, run: CanaryRun) -> bool:
    if not await transaction.hash(key("canary", run.canary_id)):
        return False
    runs = key("canary_runs", run.canary_id)
    transaction.also("ZREMRANGEBYSCORE", runs, run.ran_at, run.ran_at)
    transaction.also("ZADD", runs, run.ran_at, _run_text(run))
    transaction.also("ZREMRANGEBYRANK", runs, 0, -KEPT_CANARY_RUNS - 1)
    return True


def _run_text(run: CanaryRun) -> str:
    return to_json(
        {
            "ran_at": run.ran_at,
            "status": run.status.value,
            "latency_ms": run.latency_ms,
            "failed_assertions": run.failed_assertions,
        }
    )


async def read_runs(transaction: Transaction, id: str, *, limit: int) -> tuple[CanaryRun, ...]:
    newest = await transaction.ranged(key("canary_runs", id), limit=limit, reverse=True)
    return tuple(_run_of(id, member.name) for member in newest)


def _run_of(id: str, text: str) -> CanaryRun:
    fields = from_json(text)
    return CanaryRun(
        canary_id=id,
        ran_at=fields["ran_at"],
        status=CanaryStatus(fields["status"]),
        latency_ms=fields["latency_ms"],
        failed_assertions=tuple(fields["failed_assertions"]),
    )
