"""What a handler gets and gives, and which handler a path has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from miroir_cli.errors import ApiError
from miroir_cli.proxy.nesting import read_json
from miroir_cli.proxy.parameters import require_uid
from miroir_cli.wire import not_supported

if TYPE_CHECKING:
    from miroir_cli.proxy.access import Caller
    from miroir_cli.proxy.service import Service

JSON = "application/json"
ADMIN = "miroir.admin"
"""The action of routes that need the admin key."""

READING = ("search", "documents.get", "fields.post")
"""Actions that change nothing, whatever the method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: bytes go out as they are, anything else as JSON, None as no body."""

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, read and authorised. `path` has the decoded segments, `headers` names in lower case.

    `target` is the path with its query as the client wrote it.
    """

    service: Service
    method: str
    target: str
    path: Mapping[str, str]
    query_string: str
    headers: Mapping[str, str]
    body: bytes
    caller: Caller
    request_id: str = ""

    @property
    def uid(self) -> str:
        """What the path calls an index, known or not, an alias or not. Raises Meilisearch's error for what cannot name
        one."""
        return require_uid(self.path["uid"])

    async def index(self, *, written: bool = False) -> str:
        """The uid of the index that the path names, known or not; of an alias the one that it stands for now. Raises
        `MultiAlias` for one of several, for who writes `miroir_multi_alias_not_writable`."""
        return await self.service.cluster.target_of(self.uid, written=written)

    async def index_itself(self) -> str:
        """The same where an alias is of no use: raises `IsAnAlias` for one."""
        await self.service.cluster.itself(self.uid)
        return self.uid

    def names_of(self, index: str) -> tuple[str, ...]:
        """The names under which a task of this request about that index is found."""
        return (index,) if index == self.uid else (index, self.uid)

    @cached_property
    def query(self) -> dict[str, str]:
        """The parameters; of one that is given twice the last."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True))

    @cached_property
    def content_type(self) -> str:
        """The media type of the body, without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The body as JSON. Raises Meilisearch's errors for one that is missing, of another type or malformed."""
        self.require_type(JSON)
        if not self.body.strip():
            raise ApiError("missing_payload", "A json payload is missing.")
        try:
            return read_json(self.body)
        except ValueError as error:
            raise ApiError("malformed_payload", f"The json payload provided is malformed. `{error}`.") from None

    def require_type(self, *accepted: str) -> None:
        """Raise Meilisearch's error unless the body says that it is one of these types."""
        if self.content_type in accepted:
            return
        known = ", ".join(f"`{each}`" for each in accepted)
        known = f"Accepted values for the Content-Type header are: {known}"
        if not self.content_type:
            raise ApiError("missing_content_type", f"A Content-Type header is missing. {known}")
        raise ApiError("invalid_content_type", f"The Content-Type `{self.content_type}` is invalid. {known}")


Handler = Callable[[Call], Awaitable[Reply]]


def with_header(reply: Reply, name: str, value: str) -> Reply:
    """The same answer with one header more, or with more in it."""
    present = reply.headers.get(name)
    return replace(reply, headers={**reply.headers, name: value if present is None else f"{present}; {value}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDone:
    """The handler of a route that one Meilisearch has and a cluster does not do, with the reason."""

    what: str
    reason: str

    async def __call__(self, _: Call) -> Reply:
        """Refuse."""
        raise not_supported(self.what, self.reason)


@dataclass(frozen=True, slots=True)
class Route:
    """One route: the action that a key needs for it (None: open to all) and its handler."""

    method: str
    pattern: str
    action: str | None
    handler: Handler

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET" or self.action in READING


@dataclass(slots=True)
class _Place:
    """A place in the tree of paths: what follows by name, what follows whatever its name, what is here."""

    named: dict[str, _Place] = field(default_factory=dict)
    any: _Place | None = None
    any_name: str = ""
    routes: dict[str, Route] = field(default_factory=dict)


class Router:
    """Finds the route of a path; a segment in braces stands for any one segment."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Place()
        for route in routes:
            place = self._root
            for segment in _segments(route.pattern):
                if segment.startswith("{"):
                    place.any = place.any or _Place()
                    place.any_name = segment.strip("{}")
                    place = place.any
                else:
                    place = place.named.setdefault(segment, _Place())
            assert route.method not in place.routes, f"{route.method} {route.pattern} is there twice"
            place.routes[route.method] = route

    def find(self, path: str) -> tuple[Mapping[str, Route], dict[str, str]]:
        """The routes of a path by method, none when there is no such path, and the segments that braces stand for."""
        place = self._root
        found: dict[str, str] = {}
        for segment in _segments(path):
            following = place.named.get(segment) or (place.named.get(unquote(segment)) if "%" in segment else None)
            if following is None:
                if place.any is None:
                    return {}, {}
                found[place.any_name] = unquote(segment)
                following = place.any
            place = following
        return place.routes, found


def _segments(path: str) -> list[str]:
    """As Meilisearch reads paths: slashes at the end and doubled ones do not count."""
    return [segment for segment in path.split("/") if segment]
