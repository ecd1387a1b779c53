"""What a node says of a multi-search before it looks at any index: unknown parts, wrong types, parts at a wrong place.

These are the first errors of one Meilisearch, whatever else is wrong. The question names indexes that no node has, so
that nothing is searched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import (
    AuthenticationFailed,
    MiroirError,
    NodeRefusal,
    NodeUnavailable,
    ShardUnavailable,
    UsageError,
)

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Json

_UID = re.compile(r"^[A-Za-z0-9_-]{1,400}$")
_NOWHERE = "_miroir-nowhere-"


async def first_error(cluster: Cluster, request: Json, errors: Sequence[MiroirError]) -> MiroirError:
    """Of the errors of a request's queries, in their order, and of its shape: the one that a client gets."""
    if any(isinstance(error, NodeRefusal) for error in errors):
        refusal = await refusal_of_shape(cluster, request)
        if refusal is not None:
            return refusal
    return errors[0]


async def unreadable(cluster: Cluster, request: Json) -> MiroirError:
    """A node's words for a request that miroir cannot read."""
    refusal = await refusal_of_shape(cluster, request)
    return refusal or UsageError("the request has a part that miroir cannot read")


async def refusal_of_shape(cluster: Cluster, request: Json) -> NodeRefusal | None:
    """The refusal of the first node that answers; None when the request could be carried out on some indexes."""
    question, named = _elsewhere(request)
    problem: MiroirError | None = None
    for name in cluster.fleet:
        try:
            await cluster.fleet[name].read("multi-search", question)
        except NodeRefusal as refusal:
            return None if refusal.node_code == "index_not_found" else _renamed(refusal, named)
        except (NodeUnavailable, AuthenticationFailed) as error:
            problem = error
        else:
            return None
    raise ShardUnavailable("no node answers", hint=problem.message if problem else None)


def _elsewhere(request: Json) -> tuple[dict[str, Any], dict[str, str]]:
    """The request about indexes that do not exist, and what these are called in it."""
    named: dict[str, str] = {}
    queries = request.get("queries")
    if not isinstance(queries, list):
        return dict(request), named
    moved = []
    for place, query in enumerate(queries):
        uid = query.get("indexUid") if isinstance(query, dict) else None
        if isinstance(uid, str) and _UID.fullmatch(uid):
            named[f"{_NOWHERE}{place}-"] = uid
            query = {**query, "indexUid": f"{_NOWHERE}{place}-"}
        moved.append(query)
    return {**request, "queries": moved}, named


def _renamed(refusal: NodeRefusal, named: dict[str, str]) -> NodeRefusal:
    message = refusal.message
    for stand_in, uid in named.items():
        message = message.replace(stand_in, uid)
    return NodeRefusal(
        message,
        status=refusal.status,
        node_code=refusal.node_code,
        node=refusal.node,
        error_type=refusal.error_type,
        retry_after=refusal.retry_after,
    )
