"""What a read meets before it is made: the writes of its session, and an equal one that is under way."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import ApiError, TemporaryError
from miroir_cli.proxy.access import invalid_key
from miroir_cli.proxy.router import with_header
from miroir_cli.search.reading import ATTEMPTS
from miroir_cli.search.session import wait_for_session
from miroir_cli.store.last_known import is_stale

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.proxy.router import Call, Reply

DEGRADED = "x-miroir-degraded"
STATE = "state"
SESSION = "x-miroir-session"
SESSION_NAME = re.compile(r"[!-~]{1,128}")


def session_of(call: Call) -> str | None:
    """The session that a request belongs to. Raises for a name that cannot be one."""
    name = call.headers.get(SESSION)
    if name is None or not call.service.settings.sessions:
        return None
    if not SESSION_NAME.fullmatch(name):
        raise ApiError("bad_request", "`X-Miroir-Session` must be 1 to 128 visible ASCII characters.")
    return name


async def targets_of(cluster: Cluster, name: str) -> tuple[str, ...]:
    """The indexes that a name stands for: itself, unless it is an alias."""
    alias = await cluster.store.alias(name)
    return (name,) if alias is None else alias.targets


async def catch_up(call: Call, names: Iterable[str]) -> None:
    """Wait until what the request's session wrote to the indexes of these names is searchable."""
    session = session_of(call)
    if session is None:
        return
    cluster = call.service.cluster
    for name in names:
        for uid in await targets_of(cluster, name):
            await wait_for_session(cluster, session, uid)


async def allowed(call: Call, name: str, wanted: Any) -> Any:
    """A client's filter for what a name stands for, with that of the caller's token beside it.

    Raises Meilisearch's error for an alias of several indexes for which the token has different rules.
    """
    if call.caller.rules is None:
        return wanted
    narrowed = [
        call.caller.narrowed(uid, wanted, alias=None if uid == name else name)
        for uid in await targets_of(call.service.cluster, name)
    ]
    if any(each != narrowed[0] for each in narrowed):
        raise invalid_key(f"The provided tenant token filters the indexes of alias `{name}` differently.")
    return narrowed[0]


async def steady(call: Call, work: Callable[[], Coroutine[Any, Any, Reply]]) -> Reply:
    """The answer of `work`, which looks up what the caller's token filters by: it begins anew when a name has come to
    stand for another index meanwhile, for which another rule may be meant."""
    if call.caller.rules is None:
        return await work()
    cluster = call.service.cluster
    for _ in range(ATTEMPTS):
        names = await cluster.heed_names()
        reply = await work()
        if names == await cluster.heed_names():
            return reply
    raise TemporaryError(f"names changed {ATTEMPTS} times during a search", hint="run the same search again")


async def answer_once(call: Call, names: Iterable[str], work: Callable[[], Coroutine[Any, Any, Reply]]) -> Reply:
    """The answer of `work`, which reads the indexes of these names: from an equal request of the same caller, if one is
    under way.

    Nobody joins a read that began before a write which had been told as done when this request came: what is settled
    is a part of the key, and read first.
    """
    named = sorted(set(names))
    await catch_up(call, named)
    service = call.service
    if not service.settings.coalesce:
        return await steady(call, work)
    progress = [each for name in named for each in await _progress(service.cluster, name)]
    caller = call.headers.get("authorization")
    key = (caller, call.method, call.target, call.content_type, call.body, tuple(progress))

    async def shared() -> Reply:
        return marked(await steady(call, work))

    return await service.flights.share(key, shared)


def marked(reply: Reply) -> Reply:
    """The answer; one that has something from memory in it, because the state store is silent, says so once."""
    if not is_stale() or STATE in reply.headers.get(DEGRADED, "").split("; "):
        return reply
    return with_header(reply, DEGRADED, STATE)


async def _progress(cluster: Cluster, name: str) -> list[object]:
    """How far the indexes of a name are, and which ones these are."""
    found = await cluster.store.progress(name)
    if found is not None:
        return [found]
    targets = await targets_of(cluster, name)
    return [targets, *[await cluster.store.progress(uid) for uid in targets]]
