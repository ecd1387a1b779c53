"""The HTTP application: every request passes the fault gate, the key check and one handler."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from .errors import EngineError, error_body
from .faults import Faults, Kind
from .node import Node
from .routes import ROUTES, Call
from .serving import drop_connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
    from pathlib import Path

    from starlette.requests import Request

    from .faults import Fault
    from .routes import Entry

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGI = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MAX_BODY = 100 * 1024 * 1024


def create_app(data_dir: Path, *, master_key: str | None = None, faults: Faults | None = None) -> Starlette:
    """Build the node over a data directory; with `faults`, `POST /_faults` switches them."""
    node = Node(data_dir, master_key=master_key, faults=faults)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        node.start()
        try:
            yield
        finally:
            await run_in_threadpool(node.stop)

    routes = [Route(entry.path, _endpoint(node, entry), methods=[entry.method]) for entry in ROUTES]
    if faults is not None:
        routes.append(Route("/_faults", _fault_switch(node), methods=["POST"]))
    application = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={404: _not_found, 405: _not_found},
    )
    application.state.node = node
    application.add_middleware(FaultGate, faults=node.faults)
    return application


def _response(status: int, body: Any) -> Response:
    if status == 204:
        return Response(status_code=status)
    try:
        content = msgspec.json.encode(body)
    except (TypeError, ValueError):
        content = json.dumps(body).encode()
    return Response(content, status_code=status, media_type="application/json")


async def _not_found(_: Request, error: Exception) -> Response:
    return Response(status_code=getattr(error, "status_code", 404))


async def _body(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > MAX_BODY:
        raise EngineError("payload_too_large", f"The provided payload reached the size limit. {MAX_BODY} bytes.")
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise EngineError("payload_too_large", "The provided payload reached the size limit.")
        parts.append(part)
    body = b"".join(parts)
    encoding = request.headers.get("content-encoding", "identity")
    try:
        if encoding == "gzip":
            body = await run_in_threadpool(gzip.decompress, body)
        elif encoding == "deflate":
            body = await run_in_threadpool(zlib.decompress, body)
        elif encoding != "identity":
            raise EngineError("bad_request", f"Unsupported content encoding `{encoding}`")
    except (OSError, EOFError, zlib.error) as error:
        raise EngineError("bad_request", f"The payload cannot be decompressed: {error}") from None
    return body


def _endpoint(node: Node, entry: Entry) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            uid = request.path_params.get("index_uid")
            key = None
            if entry.action is not None:
                key = node.keys.check(request.headers.get("authorization"), entry.action, uid)
            call = Call(
                node=node,
                path=request.path_params,
                query=dict(request.query_params),
                body=await _body(request) if entry.method != "GET" else b"",
                content_type=request.headers.get("content-type", "").partition(";")[0].strip().lower(),
                key=key,
            )
            status, body = await run_in_threadpool(entry.handler, call)
        except EngineError as error:
            return _response(error.status, error.body())
        except Exception as error:
            return _response(500, error_body("internal", f"An internal error has occurred. `{error!r}`."))
        return _response(status, body)

    return endpoint


def _fault_switch(node: Node) -> Callable[[Request], Awaitable[Response]]:
    """Arm a fault (`{"kind": ..., ...}`) or do something at once (`{"do": "wipe"}`)."""

    async def endpoint(request: Request) -> Response:
        options: dict[str, Any] = msgspec.json.decode(await request.body())
        actions: dict[str, Callable[[], Any]] = {
            "clear": node.faults.clear,
            "pause": node.faults.pause,
            "resume": node.faults.resume,
            "wipe": node.wipe,
        }
        try:
            if "do" in options:
                await run_in_threadpool(actions[options["do"]])
            elif "cancel" in options:
                await run_in_threadpool(node.cancel, options["cancel"])
            elif "revoke" in options:
                node.keys.delete(options["revoke"])
            else:
                node.faults.add(**options)
        except EngineError as error:
            return _response(error.status, error.body())
        except (KeyError, TypeError, ValueError) as error:
            return _response(400, error_body("bad_request", f"Unknown fault: {error}"))
        return _response(200, {"armed": len(node.faults.armed), "paused": node.faults.paused})

    return endpoint


class FaultGate:
    """Applies the armed faults to each request before the application sees it."""

    def __init__(self, app: ASGI, *, faults: Faults) -> None:
        self._app, self._faults = app, faults
        self._late: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Handle one connection's request."""
        if scope["type"] != "http" or scope["path"] == "/_faults" or not self._faults.armed:
            await self._app(scope, receive, send)
            return
        decisive: Fault | None = None
        for fault in self._faults.for_request(scope["method"], scope["path"]):
            if fault.kind == Kind.DELAY:
                await asyncio.sleep(fault.seconds)
            else:
                decisive = fault
        if decisive is None:
            await self._app(scope, receive, send)
            return
        if decisive.kind == Kind.DROP_BEFORE:
            await drop_connection(scope)
            return
        replay = _replay(await _whole_body(receive))
        if decisive.kind == Kind.REFUSE:
            await _refusal(decisive)(scope, replay, send)
        elif decisive.kind == Kind.DROP_AFTER:
            await self._app(scope, replay, _nowhere)
            await drop_connection(scope)
        else:
            task = asyncio.create_task(self._deliver(scope, replay, decisive.seconds))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            await drop_connection(scope)

    async def _deliver(self, scope: MutableMapping[str, Any], replay: Receive, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._app(scope, replay, _nowhere)


async def _nowhere(_: Message) -> None:
    """Take a response that nobody gets."""


async def _whole_body(receive: Receive) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _replay(body: bytes) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    return receive


def _refusal(fault: Fault) -> Response:
    if fault.bare:
        return Response("refused", status_code=fault.status, media_type="text/plain")
    codes = {
        408: "request_timeout",
        413: "payload_too_large",
        429: "too_many_requests",
        503: "too_many_search_requests",
    }
    body = error_body(codes.get(fault.status, "internal"), f"The fault switch refused this request ({fault.status}).")
    response = _response(fault.status, body)
    if fault.status in (429, 503):
        response.headers["Retry-After"] = "1"
    return response
