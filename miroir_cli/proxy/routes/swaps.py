"""Swaps of indexes: several change places or get other names at one moment, or none does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import AlreadyExists, ApiError, IndexNotFound
from miroir_cli.indexes.catalog import UID
from miroir_cli.indexes.names import Swap, objections, swap_indexes
from miroir_cli.proxy.access import invalid_key
from miroir_cli.proxy.forward import json_of
from miroir_cli.proxy.parameters import bad_uid
from miroir_cli.proxy.router import Call, Reply, Route
from miroir_cli.proxy.routes.indexes import require_ours
from miroir_cli.proxy.shapes import list_in, text_in, wrong_kind, wrong_value
from miroir_cli.proxy.work import accepted

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster


async def swap(call: Call) -> Reply:
    """`POST /swap-indexes`."""
    body = await json_of(call)
    if not isinstance(body, list):
        raise wrong_kind(body, "an array", code="bad_request")
    swaps = [_swap(place, each) for place, each in enumerate(body)]
    named = [uid for swap in swaps for uid in (swap.first, swap.second)]
    twice = sorted({uid for uid in named if named.count(uid) > 1})
    if twice:
        were = "was" if len(twice) == 1 else "were"
        raise ApiError(
            "invalid_swap_duplicate_index_found",
            f"Indexes must be declared only once during a swap. {_listed(twice)} {were} specified several times.",
        )
    if not all(call.caller.sees(uid) for uid in named):
        raise invalid_key()
    for each in swaps:
        if each.rename:
            require_ours(each.second)
    cluster = call.service.cluster
    for uid in named:
        await cluster.itself(uid)

    async def work() -> None:
        if swaps:
            await _carry_out(cluster, swaps)

    details = {"swaps": [{"indexes": [each.first, each.second], "rename": each.rename} for each in swaps]}
    return await accepted(call, work, type="indexSwap", uid=None, details=details, indexes=named)


async def _carry_out(cluster: Cluster, swaps: Sequence[Swap]) -> None:
    await _object(cluster, swaps)
    try:
        await swap_indexes(cluster, swaps)
    except (IndexNotFound, AlreadyExists):  # deleted, or made, by a command in between
        await _object(cluster, swaps)
        raise


async def _object(cluster: Cluster, swaps: Sequence[Swap]) -> None:
    """Raise Meilisearch's error for swaps that cannot be."""
    found = objections(swaps, [index.uid for index in await cluster.store.indexes()])
    if found.missing:
        indexes = "Index" if len(found.missing) == 1 else "Indexes"
        raise ApiError("index_not_found", f"{indexes} {_listed(found.missing)} not found.")
    if len(found.taken) == 1:
        taken = found.taken[0]
        raise ApiError(
            "index_already_exists",
            f"Cannot rename `{taken.first}` to `{taken.second}` as the index already exists. Hint: You can remove "
            f"`{taken.second}` first and then do your remove.",
        )
    if found.taken:
        raise ApiError(
            "index_already_exists",
            "The following indexes are being renamed but cannot because their new name conflicts with an already "
            f"existing index: {_listed([taken.second for taken in found.taken])}. Renaming doesn't overwrite the other "
            "index name.",
        )


def _listed(uids: Sequence[str]) -> str:
    return ", ".join(f"`{uid}`" for uid in uids)


def _swap(place: int, swap: Any) -> Swap:
    """One swap of the body."""
    code, where = "invalid_swap_indexes", f"[{place}].indexes"
    if not isinstance(swap, dict):
        raise wrong_kind(swap, "an object", code="bad_request", where=f"[{place}]")
    for name in swap:
        if name not in ("indexes", "rename"):
            raise ApiError(
                "bad_request", f"Unknown field `{name}` inside `[{place}]`: expected one of `indexes`, `rename`"
            )
    if "indexes" not in swap:
        raise ApiError("missing_swap_indexes", f"Missing field `indexes` inside `[{place}]`")
    uids = list_in(swap["indexes"], code=code, where=where)
    for number, uid in enumerate(uids):
        at = f"{where}[{number}]"
        if not UID.fullmatch(text_in(uid, code=code, where=at)):
            raise wrong_value(bad_uid(uid), code=code, where=at)
    rename = swap.get("rename", False)
    if not isinstance(rename, bool):
        raise wrong_kind(rename, "a boolean", code="invalid_swap_rename", where=f"[{place}].rename")
    if len(uids) != 2:
        listed = json.dumps(uids, separators=(", ", ": "))
        raise ApiError(
            code, f"Two indexes must be given for each swap. The list `{listed}` contains {len(uids)} indexes."
        )
    return Swap(first=uids[0], second=uids[1], rename=rename)


ROUTES = (Route("POST", "/swap-indexes", "indexes.swap", swap),)
