"""One node's API: the only door to the HTTP library.

Reads raise an error of `miroir_cli.errors`; writes never raise for what the network or the node does, they answer
`Accepted`, `Refused` or `Unknown`. The difference between the last two is what the whole protocol rests on: `Refused`
is said only when the request certainly had no effect. Writes go through httpx's transport, which never sends a
request twice by itself.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from miroir_cli.errors import AuthenticationFailed, LeaseLost, NodeUnavailable, NodeUnsupported
from miroir_cli.node.answers import Answer, Greeting, NodeVersion, Refused, Unknown
from miroir_cli.node.carrier import carry
from miroir_cli.node.judgement import clock, error_body, error_of, judge_write, unavailable
from miroir_cli.node.pool import ReadPool
from miroir_cli.node.transport import OnceRefused

if TYPE_CHECKING:
    from miroir_cli.model import Json, Node, NodeName, StoredUid
    from miroir_cli.node.carrier import Carried, Carrier
    from miroir_cli.node.connection import Response

InTime = Callable[[Coroutine[Any, Any, httpx.Response]], Awaitable[httpx.Response]]

OLDEST_SUPPORTED = (1, 26)

IDLE_CONNECTION_EXPIRY = 3.0
"""Seconds. Below the 5 s after which a Meilisearch node closes an idle connection, so that a request does not meet
one that is being closed."""

CONNECT_TIMEOUT = 2.0
READ_TIMEOUT = 30.0
WRITE_TIMEOUT = 120.0
"""Seconds, unless who asks says otherwise."""

TASK_POLL_FIRST = 0.01
TASK_POLL_LONGEST = 0.5
"""Seconds between two looks at a task, at first and at most."""

NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    httpx.ProxyError,
)
"""Failures of httpx's own transport after which the node cannot have seen the request."""

DROPPED = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.CloseError)
"""A connection that ended in the middle: a read may be asked again at once."""


class NodeClient:
    """One node over HTTP. `lean`: reads go over a pool of our own, which is worth it where there are many.

    `transport` replaces httpx's own for reads otherwise. `in_time` waits for what changes something, as long as the
    caller may send anything: it raises `LeaseLost` before that is sent, and `TimeoutError` once it is too late.
    `carrier`, once it is set, gives what makes a task another key than the configured one.
    """

    def __init__(
        self,
        node: Node,
        *,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        lean: bool = False,
        read_timeout: float = READ_TIMEOUT,
        in_time: InTime | None = None,
    ) -> None:
        self.node = node
        self.has_key = key is not None
        self.carrier: Carrier | None = None
        self._headers = {"Accept-Encoding": "identity", "User-Agent": "miroir"}
        if key is not None:
            if not (key.isascii() and key.isprintable()):
                raise AuthenticationFailed(
                    f"the key of node `{node.name}` holds characters that no key has",
                    hint="check key_env, key_file or key_command in the topology file",
                )
            self._headers["Authorization"] = f"Bearer {key}"
        self._read_timeout = read_timeout
        self._transport = transport
        self._in_time = in_time or _at_leisure
        self._lean = lean
        self._pool: ReadPool | None = None
        self._http: httpx.AsyncClient | None = None
        self._reads: httpx.AsyncClient | None = None
        self._version: NodeVersion | None = None

    @property
    def name(self) -> NodeName:
        return self.node.name

    def carries(self, key: str) -> bool:
        """Whether this is the configured key."""
        return self._headers.get("Authorization") == f"Bearer {key}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        for client in (self._http, self._reads):
            if client is not None:
                await client.aclose()
        if self._pool is not None:
            await self._pool.aclose()

    # -- plain calls

    async def get(self, path: str, *, params: Mapping[str, Any] | None = None, timeout: float | None = None) -> Any:
        """A GET as decoded JSON."""
        return await self._read("GET", path, params=params, timeout=timeout)

    async def read(self, path: str, body: Json, *, timeout: float | None = None) -> Any:
        """A POST that only reads (search, fetch), as decoded JSON."""
        return await self._read("POST", path, content=msgspec.json.encode(body), timeout=timeout)

    async def read_raw(self, path: str, body: Json, *, timeout: float | None = None) -> bytes:
        """The same as the bytes of its JSON, for what is too large to be decoded twice."""
        content = msgspec.json.encode(body)
        response = await self._ask("POST", path, params=None, content=content, timeout=timeout)
        if not response.is_success:
            raise error_of(self.node, response)
        return response.content

    async def ask_as_written(self, method: str, target: str, content: bytes | None) -> None:
        """Put a question as somebody else wrote it: path with query, body. Raises the node's refusal."""
        response = await self._ask(method, target.lstrip("/"), params=None, content=content, timeout=None)
        if not response.is_success:
            raise error_of(self.node, response)

    async def write(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        content_type: str = "application/json",
        params: Mapping[str, Any] | None = None,
        timeout: float = WRITE_TIMEOUT,
        as_admin: bool = False,
    ) -> Answer:
        """Send a request that makes a task. Sent once; never raises for what the network or the node does.

        `as_admin`: with the configured key in any case, for what the key of a slot may not do. A request of which a
        node refuses the key did nothing there, and is sent again once there is another key for it.
        """

        async def send(carried: Carried | None) -> Answer:
            headers = {"Content-Type": content_type} if content is not None else {}
            if carried is not None:
                headers["Authorization"] = f"Bearer {carried.value}"
            return await self._send_once(method, path, params=params, content=content, headers=headers, timeout=timeout)

        if as_admin or self.carrier is None:
            return await send(None)
        return await carry(self.carrier, self, send, timeout=timeout)

    async def _send_once(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None,
        content: bytes | None,
        headers: Mapping[str, str],
        timeout: float,
    ) -> Answer:
        try:
            response = await self._in_time(
                self._writer().request(
                    method,
                    self._url(path),
                    params=params,
                    content=content,
                    headers=headers,
                    timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT),
                )
            )
        except LeaseLost as error:
            return Refused(error=error)
        except TimeoutError:
            return Unknown(error=self._too_late())
        except NEVER_SENT as error:
            return Refused(error=unavailable(self.node, error, sent=False))
        except (httpx.HTTPError, httpx.StreamError, OSError, RuntimeError) as error:
            return Unknown(error=unavailable(self.node, error, sent=True))
        return judge_write(self.node, response)

    async def manage(self, method: str, path: str, body: Json | None = None, *, timeout: float | None = None) -> Any:
        """A request that changes a node at once, without a task (keys, features); its answer, None when it has none.

        Sent once. Raises the node's refusal, and `NodeUnavailable` when it may or may not have been done.
        """
        try:
            response = await self._in_time(
                self._writer().request(
                    method,
                    self._url(path),
                    content=None if body is None else msgspec.json.encode(body),
                    headers={"Content-Type": "application/json"} if body is not None else None,
                    timeout=httpx.Timeout(timeout or self._read_timeout, connect=CONNECT_TIMEOUT),
                )
            )
        except TimeoutError:
            raise self._too_late() from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, RuntimeError) as error:
            raise unavailable(self.node, error, sent=not isinstance(error, NEVER_SENT)) from error
        if not response.is_success:
            raise error_of(self.node, response)
        return msgspec.json.decode(response.content) if response.content else None

    def _too_late(self) -> NodeUnavailable:
        return NodeUnavailable(
            f"node `{self.name}` has not answered before this process's lease ran out", node=self.name, sent=True
        )

    # -- the parts of Meilisearch's API that miroir uses

    async def version(self) -> NodeVersion:
        """Asked once a process. `NodeUnsupported` when it is not Meilisearch, or older than 1.26."""
        if self._version is None:
            found = await self.get("version")
            if not isinstance(found, dict) or not isinstance(found.get("pkgVersion"), str):
                raise self._not_meilisearch()
            version = NodeVersion(package=found["pkgVersion"], engine=str(found.get("engine", "meilisearch")))
            if not version.at_least(*OLDEST_SUPPORTED):
                raise NodeUnsupported(
                    f"node `{self.name}` runs Meilisearch {version.package}",
                    hint="miroir needs 1.26 or newer: upgrade the node",
                )
            self._version = version
        return self._version

    async def health(self, *, timeout: float = 5.0) -> None:
        await self.get("health", timeout=timeout)

    async def greet(self) -> Greeting:
        """A sign of life, for which no key is needed. `NodeUnsupported` when it is not one that Meilisearch gives."""
        response = await self._ask("GET", "health", params=None, content=None, timeout=None)
        if response.status_code >= 500 or error_body(response) is not None:
            raise error_of(self.node, response)
        try:
            status = msgspec.json.decode(response.content)["status"]
        except (msgspec.DecodeError, KeyError, TypeError):
            status = None
        if status != "available":
            raise self._not_meilisearch()
        return Greeting(clock=clock(response))

    async def search(self, uid: StoredUid, body: Json, *, timeout: float | None = None) -> dict[str, Any]:
        return self._object(await self.read(path_of(uid, "search"), body, timeout=timeout))

    async def facet_search(self, uid: StoredUid, body: Json, *, timeout: float | None = None) -> dict[str, Any]:
        return self._object(await self.read(path_of(uid, "facet-search"), body, timeout=timeout))

    async def similar(self, uid: StoredUid, body: Json, *, timeout: float | None = None) -> dict[str, Any]:
        return self._object(await self.read(path_of(uid, "similar"), body, timeout=timeout))

    async def fetch_documents(self, uid: StoredUid, body: Json, *, timeout: float | None = None) -> dict[str, Any]:
        return self._object(await self.read(path_of(uid, "documents/fetch"), body, timeout=timeout))

    async def get_document(
        self, uid: StoredUid, key: str, *, fields: list[str] | None = None, vectors: bool = False
    ) -> dict[str, Any]:
        params = {"fields": ",".join(fields)} if fields is not None else {}
        if vectors:
            params["retrieveVectors"] = "true"
        return self._object(await self.get(path_of(uid, f"documents/{segment(key)}"), params=params))

    async def index(self, uid: StoredUid) -> dict[str, Any]:
        return self._object(await self.get(path_of(uid)))

    async def stats(self, uid: StoredUid) -> dict[str, Any]:
        return self._object(await self.get(path_of(uid, "stats")))

    async def settings(self, uid: StoredUid) -> dict[str, Any]:
        return self._object(await self.get(path_of(uid, "settings")))

    async def tasks(
        self, *, index: StoredUid | None = None, timeout: float | None = None, **params: Any
    ) -> dict[str, Any]:
        """`GET /tasks`: {"results": [...], "total", "limit", "from", "next"}. `index`: those of one index only."""
        if index is not None:
            params["indexUids"] = index
        page = self._object(await self.get("tasks", params=params, timeout=timeout))
        results = page.get("results")
        if not isinstance(results, list) or not all(_is_task(task) for task in results):
            raise self._strange()
        return page

    async def task(self, uid: int) -> dict[str, Any]:
        task = self._object(await self.get(f"tasks/{uid}"))
        if not _is_task(task):
            raise self._strange()
        return task

    async def top_task(self) -> int:
        """Highest task uid that this node's disk has given out; -1 when it never had a task."""
        results = (await self.tasks(limit=1))["results"]
        return int(results[0]["uid"]) if results else -1

    async def wait_task(self, uid: int, *, timeout: float = 300.0) -> dict[str, Any]:
        """The task once it is final (`succeeded`, `failed` or `canceled`); polls with growing pauses."""
        pause = TASK_POLL_FIRST
        try:
            async with asyncio.timeout(timeout):
                while True:
                    task = await self.task(uid)
                    if task["status"] not in ("enqueued", "processing"):
                        return task
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, TASK_POLL_LONGEST)
        except TimeoutError:
            raise NodeUnavailable(
                f"node `{self.name}` did not finish task {uid} within {timeout:g} s",
                node=self.name,
                sent=True,
            ) from None

    # -- inside

    def _client(self, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers=self._headers,
            transport=transport or self._network(),
            trust_env=False,
            timeout=httpx.Timeout(self._read_timeout, connect=CONNECT_TIMEOUT),
        )

    def _network(self) -> OnceRefused:
        return OnceRefused(
            trust_env=False,
            verify=ssl.create_default_context() if urlsplit(self.node.url).scheme == "https" else False,
            limits=httpx.Limits(max_connections=64, keepalive_expiry=IDLE_CONNECTION_EXPIRY),
        )

    def _writer(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = self._client(None)
        return self._http

    def _reader(self) -> httpx.AsyncClient:
        if self._transport is None:
            return self._writer()
        if self._reads is None:
            self._reads = self._client(self._transport)
        return self._reads

    def _url(self, path: str) -> str:
        return f"{self.node.url.rstrip('/')}/{path}"

    async def _read(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        timeout: float | None = None,
    ) -> Any:
        response = await self._ask(method, path, params=params, content=content, timeout=timeout)
        if not response.is_success:
            raise error_of(self.node, response)
        try:
            return msgspec.json.decode(response.content)
        except msgspec.DecodeError as error:
            raise NodeUnavailable(
                f"node `{self.name}` answered something that is not JSON ({response.status_code} to {method} /{path})",
                node=self.name,
                sent=True,
                hint="check that the url in the topology file is a Meilisearch server",
            ) from error

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None,
        content: bytes | None,
        timeout: float | None,
    ) -> httpx.Response | Response:
        """Ask once, and once more at once when the connection drops; the pool knows by itself when that is right."""
        seconds = timeout if timeout is not None else self._read_timeout
        for last in (False, True):
            try:
                if self._lean:
                    return await self._ask_lean(method, path, params=params, content=content, timeout=seconds)
                headers = {"Content-Type": "application/json"} if content is not None else None
                limit = httpx.Timeout(seconds, connect=CONNECT_TIMEOUT)
                return await self._reader().request(
                    method, self._url(path), params=params, content=content, headers=headers, timeout=limit
                )
            except DROPPED as error:
                if last or self._lean:
                    raise unavailable(self.node, error, sent=True) from error
            except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, RuntimeError) as error:
                raise unavailable(self.node, error, sent=not isinstance(error, NEVER_SENT)) from error
        raise AssertionError("unreachable")

    async def _ask_lean(
        self, method: str, path: str, *, params: Mapping[str, Any] | None, content: bytes | None, timeout: float
    ) -> Response:
        if self._pool is None:
            self._pool = ReadPool(self.node.url, headers=self._headers)
        target = f"{path}?{httpx.QueryParams(params)}" if params else path
        return await self._pool.request(method, target, content=content, timeout=timeout)

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Around the reading of a raw answer: one that cannot be read is this node's `NodeUnavailable`."""
        try:
            yield
        except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
            raise self._strange() from error

    def _object(self, found: Any) -> dict[str, Any]:
        if not isinstance(found, dict):
            raise self._strange()
        return found

    def _not_meilisearch(self) -> NodeUnsupported:
        return NodeUnsupported(
            f"node `{self.name}` at {self.node.url} is not Meilisearch", hint="check the url in the topology file"
        )

    def _strange(self) -> NodeUnavailable:
        return NodeUnavailable(f"node `{self.name}` answered a body of an unknown shape", node=self.name, sent=True)


def path_of(uid: StoredUid, rest: str = "") -> str:
    """The path of an index on a node, or of what is below it."""
    return f"indexes/{segment(uid)}/{rest}".rstrip("/")


@lru_cache(maxsize=1024)
def segment(text: str) -> str:
    """One segment of a path: a slash in it cannot lead elsewhere."""
    return quote(text, safe="")


def _is_task(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("uid"), int)
        and isinstance(value.get("status"), str)
        and isinstance(value.get("type"), str)
    )


async def _at_leisure(request: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
    return await request
