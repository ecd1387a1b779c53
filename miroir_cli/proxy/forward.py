"""Letting a node speak: a request that cannot be read here is put to a node, whose words are the answer."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import ApiError, MiroirError, NodeRefusal
from miroir_cli.model import IndexMap
from miroir_cli.node.client import path_of
from miroir_cli.search.refusal import in_the_clients_words
from miroir_cli.store.aliases import Alias

if TYPE_CHECKING:
    from miroir_cli.model import Index
    from miroir_cli.proxy.router import Call

LONGEST_QUOTED = 1 << 20
"""Bytes of a body that a node is asked about."""

_ADDRESSED = re.compile(r"^/indexes/[^/?]+")
_QUOTED = re.compile(r"payload provided is malformed\. `(.*)`\.$", re.DOTALL)


async def object_of(call: Call) -> dict[str, Any]:
    """The body as an object. What is not one is refused in a node's words."""
    try:
        found = call.json()
    except ApiError as error:
        if error.api_code != "malformed_payload":
            raise
        raise await refused_by_a_node(call, call.target) or error from None
    if not isinstance(found, dict):
        raise await refusal_of(call)
    return found


async def refusal_of(call: Call) -> MiroirError:
    """The error with which a node refuses the client's request as it was sent. For requests that only read."""
    refused = await refused_by_a_node(call, call.target)
    return refused or ApiError("bad_request", "The request has a part that miroir cannot read.")


async def refused_by_a_node(call: Call, target: str) -> MiroirError | None:
    """The error with which a node refuses the client's request at this address; None when none does."""
    index = await _index_of(call) if target == call.target else None
    if index is not None and str(index.stored_as) != call.path["uid"]:
        target = _ADDRESSED.sub(f"/{path_of(index.stored_as)}", target, count=1)
    refusal = await _refusal(call, call.method, target, call.body or None)
    return None if refusal is None else in_the_clients_words(refusal, index, settings={})


async def _index_of(call: Call) -> Index | None:
    """The index that a request is addressed to, if there is one; of several that an alias stands for the first."""
    uid = call.path.get("uid")
    store = call.service.cluster.store
    found = None if uid is None else await store.resolve(uid)
    if isinstance(found, Alias):
        found = await store.resolve(found.targets[0])
    return found.index if isinstance(found, IndexMap) else None


async def json_of(call: Call) -> Any:
    """The body as JSON. What is malformed is refused in a node's words, which know the line and the column."""
    try:
        return call.json()
    except ApiError as error:
        words = await words_for(call, call.body) if error.api_code == "malformed_payload" else None
        if words is None:
            raise
        raise ApiError("malformed_payload", f"The json payload provided is malformed. `{words}`.") from None


async def words_for(call: Call, body: bytes) -> str | None:
    """What a node says of JSON that is malformed, with the line and the column; None when it has no words for it."""
    if len(body) > LONGEST_QUOTED:
        return None
    refusal = await _refusal(call, "POST", "/multi-search", body)
    if refusal is None or refusal.node_code != "malformed_payload":
        return None
    found = _QUOTED.search(refusal.message)
    return None if found is None else found[1]


async def _refusal(call: Call, method: str, target: str, body: bytes | None) -> NodeRefusal | None:
    """How the first node that answers, in a random order, refuses a request; None when it does not, or none answers."""
    fleet = call.service.cluster.fleet
    names = list(fleet)
    random.shuffle(names)
    for name in names:
        try:
            await fleet[name].ask_as_written(method, target, body)
        except NodeRefusal as refusal:
            return refusal
        except MiroirError:
            continue
        return None
    return None
