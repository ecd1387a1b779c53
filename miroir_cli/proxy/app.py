"""The proxy as an ASGI application: every request is bounded, authorised, handled and accounted for here.

Bare ASGI: a search goes through this code once, and a framework's request and response objects would cost it more time
than everything else in this module.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli import metrics
from miroir_cli.errors import ApiError, MiroirError, first_of
from miroir_cli.proxy.body import Disconnected, read_body
from miroir_cli.proxy.catalogue import ROUTES
from miroir_cli.proxy.keyring import ANYBODY
from miroir_cli.proxy.reads import marked
from miroir_cli.proxy.router import ADMIN, Call, Reply, Route, Router, with_header
from miroir_cli.store.last_known import may_be_stale
from miroir_cli.wire import retry_after, status_of, wire_error

if TYPE_CHECKING:
    from miroir_cli.proxy.service import Service

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

LOG = logging.getLogger("miroir.serve")

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
COMPRESS_FROM = 16 * 1024
"""Bytes from which an answer is compressed for who accepts that."""

VARY = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
METHODS = b"PUT, POST, DELETE, HEAD, PATCH, TRACE, GET, CONNECT, OPTIONS"
UNKNOWN_ROUTE = "unknown"
NEVER_REFUSED = ("/_miroir/", "/health")
"""Beginnings of the routes that are let in line however long it is."""


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A request of which all but the body is known. `path`: the segments that the route leaves open, decoded."""

    scope: Scope
    receive: Receive
    route: Route
    path: Mapping[str, str]
    headers: Mapping[str, str]
    request_id: str


class Proxy:
    """One worker's application. `in_flight` is how many requests it works on."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.router = Router(ROUTES)
        self.in_flight = 0
        self.waiting = 0
        self.stopping = False
        self._turns = asyncio.Semaphore(service.settings.in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = _request_id(headers)
        routes, path = self.router.find(scope["raw_path"].decode("latin-1"))
        method: str = scope["method"]
        route = routes.get(method)
        if route is None:
            reply = _without_route(method, routes, headers)
        else:
            try:
                reply = await self._in_turn(_Arrival(scope, receive, route, path, headers, request_id))
            except Disconnected:
                return
        if self.stopping:
            reply = with_header(reply, "connection", "close")
        await _send(reply, headers, request_id, send)
        self._account(method, route, reply, request_id, time.perf_counter() - started)

    async def _in_turn(self, arrival: _Arrival) -> Reply:
        """Wait until there is room; refuse at once when too many are waiting already."""
        if self._turns.locked():
            if self.waiting >= self.service.settings.queue and not arrival.route.pattern.startswith(NEVER_REFUSED):
                return _failure(ApiError("miroir_overloaded", "Too many requests are waiting for their turn."))
            self.waiting += 1
            metrics.QUEUE_DEPTH.inc()
            try:
                await self._turns.acquire()
            finally:
                self.waiting -= 1
                metrics.QUEUE_DEPTH.dec()
        else:
            await self._turns.acquire()
        self.in_flight += 1
        self.service.cluster.rotation += 1
        metrics.IN_FLIGHT.inc()
        try:
            return await self._handle(arrival)
        finally:
            self._turns.release()
            self.in_flight -= 1
            metrics.IN_FLIGHT.dec()

    async def _handle(self, arrival: _Arrival) -> Reply:
        """The answer, which says so when a part of it is from memory. What changes something is refused at once while
        the state store is silent."""
        last_known = self.service.cluster.last_known
        if last_known is None:
            return await self._attempt(arrival)
        if arrival.route.reads:
            with may_be_stale():
                return marked(await self._attempt(arrival))
        try:
            last_known.require_heard()
        except MiroirError as error:
            return _failure(error)
        return await self._attempt(arrival)

    async def _attempt(self, arrival: _Arrival) -> Reply:
        """The answer, also to what fails."""
        try:
            return await arrival.route.handler(await self._read(arrival))
        except Disconnected:
            raise
        except Exception as error:
            known = first_of(error)
            if isinstance(known, MiroirError):
                return _failure(known)
            LOG.exception("a request failed", extra={"request": arrival.request_id, "route": arrival.route.pattern})
            return _failure(ApiError("internal", "An internal error has occurred.", status=500))

    async def _read(self, arrival: _Arrival) -> Call:
        """The whole request, once it is known that its caller may make it."""
        service, route, headers = self.service, arrival.route, arrival.headers
        if route.action == ADMIN:
            service.require_admin(headers)
            caller = ANYBODY
        else:
            caller = await service.keyring.caller(headers, route.action, arrival.path.get("uid"))
        body = b""
        if route.method != "GET":
            limit = service.settings.body_limit_mb * 1024 * 1024
            body = await read_body(arrival.receive, headers, limit=limit, timeout=service.settings.body_timeout)
        written: str = arrival.scope["raw_path"].decode("latin-1")
        query: str = arrival.scope["query_string"].decode("latin-1")
        return Call(
            service=service,
            method=route.method,
            target=f"{written}?{query}" if query else written,
            path=arrival.path,
            query_string=query,
            headers=headers,
            body=body,
            caller=caller,
            request_id=arrival.request_id,
        )

    def _account(self, method: str, route: Route | None, reply: Reply, request_id: str, seconds: float) -> None:
        pattern = route.pattern if route is not None else UNKNOWN_ROUTE
        known = method if route is not None else "other"
        metrics.REQUESTS.inc(known, pattern, str(reply.status))
        metrics.REQUEST_DURATION.observe(seconds, known, pattern)
        if self.service.settings.access_log and LOG.isEnabledFor(logging.INFO):
            facts = {
                "request": request_id,
                "method": method,
                "route": pattern,
                "status": reply.status,
                "ms": round(seconds * 1000, 2),
            }
            LOG.info("request", extra=facts)


def _request_id(headers: Mapping[str, str]) -> str:
    """The client's own, when it can be written into a log and a header as it is."""
    given = headers.get("x-request-id")
    return given if given is not None and REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _without_route(method: str, routes: Mapping[str, Route], headers: Mapping[str, str]) -> Reply:
    if method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers:
        return Reply(status=200, body=b"", content_type="")
    if not routes:
        return Reply(status=404, body=b"", content_type="")
    return Reply(status=405, body=b"", content_type="", headers={"allow": ", ".join(sorted(routes))})


def _failure(error: MiroirError) -> Reply:
    wait = retry_after(error)
    return Reply(
        status=status_of(error),
        body=wire_error(error),
        headers={} if wait is None else {"retry-after": str(wait)},
    )


async def _send(reply: Reply, headers: Mapping[str, str], request_id: str, send: Send) -> None:
    body = _encoded(reply.body)
    given = [(b"vary", VARY), (b"x-request-id", request_id.encode())]
    if reply.content_type and (body or reply.status != 204):
        given.append((b"content-type", reply.content_type.encode()))
    if "origin" in headers:
        given += _cross_origin(headers)
    if len(body) >= COMPRESS_FROM and "gzip" in headers.get("accept-encoding", ""):
        body = await asyncio.to_thread(gzip.compress, body, 1)
        given.append((b"content-encoding", b"gzip"))
    if reply.status != 204:
        given.append((b"content-length", str(len(body)).encode()))
    given += [(name.encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": given})
    await send({"type": "http.response.body", "body": body})


def _encoded(body: object) -> bytes:
    if body is None:
        return b""
    return body if isinstance(body, bytes) else msgspec.json.encode(body)


def _cross_origin(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """As Meilisearch: any page may ask anything, a browser may remember that for a day."""
    given = [(b"access-control-allow-origin", b"*")]
    if "access-control-request-method" in headers:
        given.append((b"access-control-allow-methods", METHODS))
        given.append((b"access-control-max-age", b"86400"))
        if asked := headers.get("access-control-request-headers"):
            given.append((b"access-control-allow-headers", asked.encode("latin-1")))
    return given
