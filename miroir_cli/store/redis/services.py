"""What the proxy's further services keep: cursors, tenants, rollover policies, search pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from miroir_cli.store.encoding import from_json, now, to_json
from miroir_cli.store.records_services import CdcCursor, RolloverPolicy, SearchUiConfig, Tenant
from miroir_cli.store.redis.access import Part
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.values import texts

if TYPE_CHECKING:
    from miroir_cli.model import IndexUid, Json
    from miroir_cli.store.redis.transaction import Transaction

CURSORS: Final = listing("cdc_cursor")
TENANTS: Final = listing("tenant_map")
POLICIES: Final = listing("rollover")
PAGES: Final = listing("search_ui_config")


async def _delete(transaction: Transaction, kind: str, id: str, *, listed: str) -> bool:
    found = await transaction.hash(key(kind, id))
    if not found:
        return False
    found.clear()
    transaction.discard(listed, id)
    return True


class Cursors(Part):
    """A cursor is a text `miroir:cdc_cursor:<sink>:<index>`: the event, and when it was acknowledged."""

    async def cdc_cursor(self, sink: str, index_uid: str) -> CdcCursor | None:
        return await self.access.read(lambda transaction: read_cursor(transaction, sink, index_uid))

    async def cdc_cursors(self) -> tuple[CdcCursor, ...]:
        return await self.access.read(read_cursors)

    async def advance_cdc_cursor(self, sink: str, index_uid: str, *, expected: int | None, to: int) -> bool:
        return await self.access.write(
            lambda transaction: advance_cursor(transaction, sink, index_uid, expected=expected, to=to)
        )

    async def delete_cdc_cursor(self, sink: str, index_uid: str) -> bool:
        return await self.access.write(lambda transaction: delete_cursor(transaction, sink, index_uid))


async def read_cursor(transaction: Transaction, sink: str, index_uid: str) -> CdcCursor | None:
    (found,) = await transaction.ask([("GET", key("cdc_cursor", sink, index_uid))])
    return None if found is None else _cursor_of(sink, index_uid, found)


def _cursor_of(sink: str, index_uid: str, text: str) -> CdcCursor:
    seq, _, at = text.partition(" ")
    return CdcCursor(sink=sink, index_uid=index_uid, last_event_seq=int(seq), updated_at=int(at))


async def cursor_names(transaction: Transaction) -> list[tuple[str, str]]:
    """Sink and index of each cursor."""
    return [(sink, uid) for sink, uid in map(from_json, await transaction.names(CURSORS))]


async def read_cursors(transaction: Transaction) -> tuple[CdcCursor, ...]:
    named = await cursor_names(transaction)
    found = await transaction.ask([("GET", key("cdc_cursor", *each)) for each in named])
    return tuple(
        sorted(
            (_cursor_of(sink, uid, text) for (sink, uid), text in zip(named, found, strict=True)),
            key=lambda cursor: (cursor.sink, cursor.index_uid),
        )
    )


async def advance_cursor(transaction: Transaction, sink: str, index_uid: str, *, expected: int | None, to: int) -> bool:
    found = await read_cursor(transaction, sink, index_uid)
    if (None if found is None else found.last_event_seq) != expected:
        return False
    _put_cursor(transaction, CdcCursor(sink=sink, index_uid=index_uid, last_event_seq=to, updated_at=now()))
    return True


def _put_cursor(transaction: Transaction, cursor: CdcCursor) -> None:
    place = key("cdc_cursor", cursor.sink, cursor.index_uid)
    transaction.also("SET", place, f"{cursor.last_event_seq} {cursor.updated_at}")
    transaction.add(CURSORS, to_json([cursor.sink, cursor.index_uid]), 0)


def _drop_cursor(transaction: Transaction, sink: str, index_uid: str) -> None:
    transaction.also("DEL", key("cdc_cursor", sink, index_uid))
    transaction.discard(CURSORS, to_json([sink, index_uid]))


async def delete_cursor(transaction: Transaction, sink: str, index_uid: str) -> bool:
    if await read_cursor(transaction, sink, index_uid) is None:
        return False
    _drop_cursor(transaction, sink, index_uid)
    return True


async def forget_cursors(transaction: Transaction, uid: str) -> None:
    """The index is gone: who follows its successor begins anew."""
    for cursor in await read_cursors(transaction):
        if cursor.index_uid == uid:
            _drop_cursor(transaction, cursor.sink, uid)


async def rename_cursors(transaction: Transaction, follows: Mapping[IndexUid, IndexUid]) -> None:
    """Every cursor of a name is one of the name that follows it."""
    names = {str(old): str(new) for old, new in follows.items()}
    moved = [cursor for cursor in await read_cursors(transaction) if cursor.index_uid in names]
    for cursor in moved:
        _drop_cursor(transaction, cursor.sink, cursor.index_uid)
    for cursor in moved:
        _put_cursor(transaction, replace(cursor, index_uid=names[cursor.index_uid]))


class Tenants(Part):
    """A tenant is a hash `miroir:tenant_map:<hash of the API key>`. Nobody is told all of them."""

    async def tenant(self, api_key_hash: str) -> Tenant | None:
        found = await self.access.read(lambda transaction: transaction.hash(key("tenant_map", api_key_hash)))
        if not found:
            return None
        return Tenant(api_key_hash=api_key_hash, tenant_id=found["tenant_id"], group=found.get("group"))

    async def save_tenant(self, tenant: Tenant) -> None:
        await self.access.write(lambda transaction: save_tenant(transaction, tenant))

    async def delete_tenant(self, api_key_hash: str) -> bool:
        return await self.access.write(
            lambda transaction: _delete(transaction, "tenant_map", api_key_hash, listed=TENANTS)
        )


async def save_tenant(transaction: Transaction, tenant: Tenant) -> None:
    fields = texts({"tenant_id": tenant.tenant_id, "group": tenant.group})
    (await transaction.hash(key("tenant_map", tenant.api_key_hash))).replace(fields)
    transaction.add(TENANTS, tenant.api_key_hash, 0)


class Rollovers(Part):
    """A policy is a hash `miroir:rollover:<name>`."""

    async def save_rollover_policy(self, policy: RolloverPolicy) -> None:
        await self.access.write(lambda transaction: save_policy(transaction, policy))

    async def rollover_policy(self, name: str) -> RolloverPolicy | None:
        found = await self.access.read(lambda transaction: transaction.hash(key("rollover", name)))
        return _policy_of(found) if found else None

    async def rollover_policies(self) -> tuple[RolloverPolicy, ...]:
        return await self.access.read(read_policies)

    async def delete_rollover_policy(self, name: str) -> bool:
        return await self.access.write(lambda transaction: _delete(transaction, "rollover", name, listed=POLICIES))


async def save_policy(transaction: Transaction, policy: RolloverPolicy) -> None:
    (await transaction.hash(key("rollover", policy.name))).replace(
        texts(
            {
                "name": policy.name,
                "write_alias": policy.write_alias,
                "read_alias": policy.read_alias,
                "pattern": policy.pattern,
                "triggers": to_json(policy.triggers),
                "retention": to_json(policy.retention),
                "template": to_json(policy.template),
                "enabled": policy.enabled,
            }
        )
    )
    transaction.add(POLICIES, policy.name, 0)


def _policy_of(fields: Mapping[str, str]) -> RolloverPolicy:
    return RolloverPolicy(
        name=fields["name"],
        write_alias=fields["write_alias"],
        read_alias=fields["read_alias"],
        pattern=fields["pattern"],
        triggers=from_json(fields["triggers"]),
        retention=from_json(fields["retention"]),
        template=from_json(fields["template"]),
        enabled=fields["enabled"] == "1",
    )


async def read_policies(transaction: Transaction) -> tuple[RolloverPolicy, ...]:
    found = await transaction.hashes(key("rollover", name) for name in await transaction.names(POLICIES))
    return tuple(map(_policy_of, found))


class SearchUi(Part):
    """The look of an index's search page is a hash `miroir:search_ui_config:<index>`."""

    async def save_search_ui_config(self, index_uid: str, config: Json) -> SearchUiConfig:
        return await self.access.write(lambda transaction: save_page(transaction, index_uid, config))

    async def search_ui_config(self, index_uid: str) -> SearchUiConfig | None:
        found = await self.access.read(lambda transaction: transaction.hash(key("search_ui_config", index_uid)))
        return _page_of(index_uid, found) if found else None

    async def search_ui_configs(self) -> tuple[SearchUiConfig, ...]:
        return await self.access.read(read_pages)

    async def delete_search_ui_config(self, index_uid: str) -> bool:
        return await self.access.write(lambda transaction: forget_page(transaction, index_uid))


async def save_page(transaction: Transaction, index_uid: str, config: Json) -> SearchUiConfig:
    page = SearchUiConfig(index_uid=index_uid, config=config, updated_at=now())
    await _put_page(transaction, page)
    return page


async def _put_page(transaction: Transaction, page: SearchUiConfig) -> None:
    fields = texts({"config": to_json(page.config), "updated_at": page.updated_at})
    (await transaction.hash(key("search_ui_config", page.index_uid))).replace(fields)
    transaction.add(PAGES, page.index_uid, 0)


def _page_of(index_uid: str, fields: Mapping[str, str]) -> SearchUiConfig:
    return SearchUiConfig(index_uid=index_uid, config=from_json(fields["config"]), updated_at=int(fields["updated_at"]))


async def read_pages(transaction: Transaction) -> tuple[SearchUiConfig, ...]:
    uids = await transaction.names(PAGES)
    found = await transaction.hashes(key("search_ui_config", uid) for uid in uids)
    return tuple(_page_of(uid, fields) for uid, fields in zip(uids, found, strict=True))


async def forget_page(transaction: Transaction, uid: str) -> bool:
    return await _delete(transaction, "search_ui_config", uid, listed=PAGES)


async def rename_pages(transaction: Transaction, follows: Mapping[IndexUid, IndexUid]) -> None:
    """Every search page of a name is one of the name that follows it."""
    names = {str(old): str(new) for old, new in follows.items()}
    moved = [page for page in await read_pages(transaction) if page.index_uid in names]
    for page in moved:
        await forget_page(transaction, page.index_uid)
    for page in moved:
        await _put_page(transaction, replace(page, index_uid=names[page.index_uid]))
