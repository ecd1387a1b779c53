"""What a store remembers of sessions: their newest write of each index, for a while, while it is not settled."""

from __future__ import annotations

from functools import partial
from typing import Any

from miroir_cli.model import IndexUid
from miroir_cli.store.records import Renaming
from miroir_cli.store.redis import sessions as in_redis
from miroir_cli.store.redis.keys import content_key, key
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.sessions import KEPT_FOR
from miroir_cli.store.sqlite import sessions as in_sqlite
from miroir_cli.store.sqlite.store import SqliteStore
from tests.store.conftest import Open
from tests.store.contract.world import BOOKS, SHELF, one_more, with_index

Store = SqliteStore | RedisStore


async def settled(store: Store, uid: str, n: int) -> None:
    """The writes of the index are settled up to this one."""
    if isinstance(store, SqliteStore):
        await store._write(lambda db: db.execute("update indexes set settled = ? where uid = ?", [n, uid]))
    else:
        await store.access.ask("HSET", key("indexes", uid), "settled", n)


async def age(store: Store, session: str, by: int) -> None:
    """Have a session of `books` end so many milliseconds sooner."""
    if isinstance(store, SqliteStore):
        aging = "update sessions set expires_at = expires_at - ? where session = ?"
        await store._write(lambda db: db.execute(aging, [by, session]))
        return
    books = next(index for index in await store.indexes() if index.uid == BOOKS)
    own = key("sessions", content_key(books), session)
    left = int(await store.access.ask("PTTL", own)) - by
    await store.access.ask("ZINCRBY", in_redis.SESSIONS, -by, own)
    await store.access.ask("PEXPIRE", own, left) if left > 0 else await store.access.ask("DEL", own)


async def kept(store: Store) -> int:
    """How many sessions are remembered."""
    if isinstance(store, SqliteStore):
        return int(store._reader.conn.execute("select count(*) from sessions").fetchone()[0])
    return int(await store.access.ask("ZCARD", in_redis.SESSIONS))


async def forget(store: Store, *, most: int) -> None:
    if isinstance(store, SqliteStore):
        await store._write(partial(in_sqlite.forget_oldest, most=most))
    else:
        await store.access.write(partial(in_redis.forget_oldest, most=most))


async def test_a_session_waits_for_its_newest_write_until_that_is_settled(store: Any) -> None:
    await with_index(store)
    assert await store.session_waits_for("me", "books") is None
    await store.remember_session("me", "books", 3)
    await store.remember_session("me", "books", 2)
    assert await store.session_waits_for("me", "books") == 3
    assert await store.session_waits_for("you", "books") is None
    assert await store.session_waits_for("me", "films") is None
    await settled(store, "books", 2)
    assert await store.session_waits_for("me", "books") == 3
    await settled(store, "books", 3)
    assert await store.session_waits_for("me", "books") is None


async def test_a_session_may_be_called_anything_and_is_known_to_every_process(another: Open) -> None:
    first, second = await another(), await another()
    await with_index(first)
    for n, session in enumerate(("a:b", "_index", "books", "", "é ☃"), start=1):
        await first.remember_session(session, "books", n)
        assert await second.session_waits_for(session, "books") == n


async def test_writes_to_an_index_of_the_past_are_forgotten(store: Any) -> None:
    books = (await with_index(store)).index
    await store.remember_session("me", "books", 50)
    await store.begin_deletion(books)
    assert await store.session_waits_for("me", "books") is None
    await store.forget_index("books")
    again = (await with_index(store)).index
    assert await store.session_waits_for("me", "books") is None
    await store.remember_session("me", "books", 1, incarnation=books.incarnation)
    assert await store.session_waits_for("me", "books") is None, "it was written to another one of that name"
    await store.remember_session("me", "books", 1, incarnation=again.incarnation)
    assert await store.session_waits_for("me", "books") == 1


async def test_a_session_follows_its_index_to_another_name(store: Any) -> None:
    books = (await with_index(store)).index
    films = (await one_more(store, IndexUid("films"))).index
    await store.remember_session("me", "books", 4)
    await store.remember_session("me", "films", 9)
    renaming = Renaming(pairs=((books.uid, films.uid),), indexes={books.uid: books, films.uid: films})
    await store.rename(renaming, is_driven=lambda _: False, is_running=lambda _: False)
    assert await store.session_waits_for("me", "films") == 4
    assert await store.session_waits_for("me", "books") == 9
    await store.remember_session("me", "books", 10, incarnation=books.incarnation)
    assert await store.session_waits_for("me", "books") == 9


async def test_a_write_to_no_index_is_nothing(store: Any) -> None:
    await with_index(store)
    for uid in ("films", ""):
        await store.remember_session("me", uid, 3)
    assert await kept(store) == 0 and await store.session_waits_for("me", SHELF) is None


async def test_sessions_end_and_the_oldest_go_when_there_are_too_many(store: Any) -> None:
    await with_index(store)
    for number in range(6):
        await store.remember_session(f"s{number}", "books", 9)
        for earlier in range(number + 1):
            await age(store, f"s{earlier}", 1000)
    await forget(store, most=4)
    left = [await store.session_waits_for(f"s{number}", "books") for number in range(6)]
    assert left == [None, None, 9, 9, 9, 9] and await kept(store) == 4
    await forget(store, most=4)
    await age(store, "s3", KEPT_FOR)
    assert await store.session_waits_for("s3", "books") is None
    await store.remember_session("new", "books", 9)
    assert await kept(store) == 4, "the listing forgets what has ended"
    await store.remember_session("s2", "books", 9)
    await age(store, "new", 2000)
    await forget(store, most=2)
    left = [await store.session_waits_for(session, "books") for session in ("s2", "s4", "s5", "new")]
    assert left.count(9) == 2 and left[0] == 9, "who writes again is the newest"
