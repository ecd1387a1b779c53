"""What the proxy's further services keep, as rows: cursors, tenants, rollover policies, search pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.store.encoding import from_json, now, to_json
from miroir_cli.store.records_services import CdcCursor, RolloverPolicy, SearchUiConfig, Tenant
from miroir_cli.store.sqlite.access import Access

if TYPE_CHECKING:
    from sqlite_utils import Database

    from miroir_cli.model import Json

_CURSOR = "sink, index_uid, last_event_seq, updated_at"
_POLICY = "name, write_alias, read_alias, pattern, triggers, retention, template, enabled"
_PAGE = "index_uid, config, updated_at"


def _delete(db: Database, statement: str, *values: object) -> bool:
    return db.execute(f"delete from {statement}", values).rowcount > 0


class CursorRows(Access):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def cdc_cursor(self, sink: str, index_uid: str) -> CdcCursor | None:
        return self._read(lambda db: read_cursor(db, sink, index_uid))

    async def cdc_cursors(self) -> tuple[CdcCursor, ...]:
        rows = self._read(
            lambda db: db.conn.execute(f"select {_CURSOR} from cdc_cursors order by sink, index_uid").fetchall()
        )
        return tuple(map(_cursor_of, rows))

    async def advance_cdc_cursor(self, sink: str, index_uid: str, *, expected: int | None, to: int) -> bool:
        return await self._write(lambda db: advance_cursor(db, sink, index_uid, expected=expected, to=to))

    async def delete_cdc_cursor(self, sink: str, index_uid: str) -> bool:
        return await self._write(
            lambda db: _delete(db, "cdc_cursors where sink = ? and index_uid = ?", sink, index_uid)
        )


def read_cursor(db: Database, sink: str, index_uid: str) -> CdcCursor | None:
    row = db.conn.execute(
        f"select {_CURSOR} from cdc_cursors where sink = ? and index_uid = ?", [sink, index_uid]
    ).fetchone()
    return _cursor_of(row) if row else None


def _cursor_of(row: Sequence[Any]) -> CdcCursor:
    return CdcCursor(sink=row[0], index_uid=row[1], last_event_seq=row[2], updated_at=row[3])


def advance_cursor(db: Database, sink: str, index_uid: str, *, expected: int | None, to: int) -> bool:
    found = read_cursor(db, sink, index_uid)
    if (None if found is None else found.last_event_seq) != expected:
        return False
    db.execute(f"insert or replace into cdc_cursors ({_CURSOR}) values (?, ?, ?, ?)", [sink, index_uid, to, now()])
    return True


class TenantRows(Access):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def tenant(self, api_key_hash: str) -> Tenant | None:
        row = self._read(
            lambda db: db.conn.execute(
                'select api_key_hash, tenant_id, "group" from tenant_map where api_key_hash = ?', [api_key_hash]
            ).fetchone()
        )
        return Tenant(api_key_hash=row[0], tenant_id=row[1], group=row[2]) if row else None

    async def save_tenant(self, tenant: Tenant) -> None:
        values = [tenant.api_key_hash, tenant.tenant_id, tenant.group]
        await self._write(
            lambda db: db.execute(
                'insert or replace into tenant_map (api_key_hash, tenant_id, "group") values (?, ?, ?)', values
            )
        )

    async def delete_tenant(self, api_key_hash: str) -> bool:
        return await self._write(lambda db: _delete(db, "tenant_map where api_key_hash = ?", api_key_hash))


class RolloverRows(Access):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def save_rollover_policy(self, policy: RolloverPolicy) -> None:
        await self._write(lambda db: save_policy(db, policy))

    async def rollover_policy(self, name: str) -> RolloverPolicy | None:
        return next(iter(self._read(lambda db: read_policies(db, name))), None)

    async def rollover_policies(self) -> tuple[RolloverPolicy, ...]:
        return self._read(lambda db: read_policies(db, None))

    async def delete_rollover_policy(self, name: str) -> bool:
        return await self._write(lambda db: _delete(db, "rollover_policies where name = ?", name))


def save_policy(db: Database, policy: RolloverPolicy) -> None:
    db.execute(
        f"insert or replace into rollover_policies ({_POLICY}) values (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            policy.name,
            policy.write_alias,
            policy.read_alias,
            policy.pattern,
            to_json(policy.triggers),
            to_json(policy.retention),
            to_json(policy.template),
            int(policy.enabled),
        ],
    )


def read_policies(db: Database, name: str | None) -> tuple[RolloverPolicy, ...]:
    rows = db.conn.execute(
        f"select {_POLICY} from rollover_policies where ? is null or name = ? order by name", [name, name]
    )
    return tuple(
        RolloverPolicy(
            name=row[0],
            write_alias=row[1],
            read_alias=row[2],
            pattern=row[3],
            triggers=from_json(row[4]),
            retention=from_json(row[5]),
            template=from_json(row[6]),
            enabled=bool(row[7]),
        )
        for row in rows
    )


class SearchUiRows(Access):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def save_search_ui_config(self, index_uid: str, config: Json) -> SearchUiConfig:
        return await self._write(lambda db: save_page(db, index_uid, config))

    async def search_ui_config(self, index_uid: str) -> SearchUiConfig | None:
        return next(iter(self._read(lambda db: read_pages(db, index_uid))), None)

    async def search_ui_configs(self) -> tuple[SearchUiConfig, ...]:
        return self._read(lambda db: read_pages(db, None))

    async def delete_search_ui_config(self, index_uid: str) -> bool:
        return await self._write(lambda db: _delete(db, "search_ui_config where index_uid = ?", index_uid))


def save_page(db: Database, index_uid: str, config: Json) -> SearchUiConfig:
    page = SearchUiConfig(index_uid=index_uid, config=config, updated_at=now())
    db.execute(
        f"insert or replace into search_ui_config ({_PAGE}) values (?, ?, ?)",
        [page.index_uid, to_json(page.config), page.updated_at],
    )
    return page


def read_pages(db: Database, index_uid: str | None) -> tuple[SearchUiConfig, ...]:
    rows = db.conn.execute(
        f"select {_PAGE} from search_ui_config where ? is null or index_uid = ? order by index_uid",
        [index_uid, index_uid],
    )
    return tuple(SearchUiConfig(index_uid=row[0], config=from_json(row[1]), updated_at=row[2]) for row in rows)
