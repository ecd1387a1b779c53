"""Experimental features and search rules, which all nodes have alike; and what a cluster cannot do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import MiroirError, NodeRefusal, ShardUnavailable
from miroir_cli.indexes.catalog import finish_task, run_task
from miroir_cli.node.answers import Accepted, Refused
from miroir_cli.proxy.forward import json_of
from miroir_cli.proxy.router import Call, NotDone, Reply, Route
from miroir_cli.proxy.shapes import object_in
from miroir_cli.proxy.work import accepted
from miroir_cli.wire import not_supported

if TYPE_CHECKING:
    from miroir_cli.model import Json
    from miroir_cli.node.client import NodeClient

OURS = {
    "network": "nodes would search each other, each for the documents of all",
    "chatCompletions": "a chat searches the documents of one node only",
    "foreignKeys": "a node can only join its own documents, not those of the whole cluster",
    "legacySearch": "the cluster merges the answers of the search of today",
    "logsRoute": "logs are each node's own",
}
"""Features that clients find switched off, and cannot switch on."""


async def show_features(call: Call) -> Reply:
    """`GET /experimental-features`: what all nodes that answer have."""
    found = await call.service.cluster.fleet.each(lambda client: client.get("experimental-features"))
    return Reply(body=_common([each for each in found.values() if isinstance(each, dict)]))


def _common(found: list[dict[str, bool]]) -> dict[str, bool]:
    """The features that all have; those that clients cannot have are off."""
    if not found:
        raise ShardUnavailable("no node answers")
    names = [name for name in found[0] if all(name in each for each in found)]
    return {name: name not in OURS and all(each[name] for each in found) for name in names}


async def change_features(call: Call) -> Reply:
    """`PATCH /experimental-features`: on every node, or on none when one does not answer."""
    body = object_in(await json_of(call))
    for name, reason in OURS.items():
        if body.get(name) is True:
            raise not_supported(f"the feature `{name}`", reason)
    fleet = call.service.cluster.fleet
    wanted = {name: value for name, value in body.items() if name not in OURS or value is not False}
    before: dict[Any, Any] = await fleet.all(lambda client: client.get("experimental-features"))
    found = await fleet.each(lambda client: client.manage("PATCH", "experimental-features", wanted))
    failed = [each for each in found.values() if isinstance(each, MiroirError)]
    if failed:
        known = {name: [key for key in wanted if key in before[name]] for name in before}

        async def back(client: NodeClient) -> None:
            old = {key: before[client.name][key] for key in known[client.name]}
            await client.manage("PATCH", "experimental-features", old)

        await fleet.each(back, names=[name for name, each in found.items() if not isinstance(each, MiroirError)])
        raise next((each for each in failed if isinstance(each, NodeRefusal)), failed[0])
    if call.service.cluster.features is not None:
        await fleet.each(call.service.cluster.features.learn)
    return Reply(body=_common([each for each in found.values() if isinstance(each, dict)]))


# -- search rules: all nodes have the same, and the merge keeps what they pin in its place


RULES_INDEX = ".meili_dsr"
"""What Meilisearch calls the index of its search rules in their tasks."""


async def ask_for_rules(call: Call) -> Reply:
    """`POST /dynamic-search-rules`, `GET /dynamic-search-rules/{rule}`: of any node."""
    error: MiroirError = ShardUnavailable("no node answers")
    for client in call.service.cluster.fleet.clients.values():
        try:
            path = call.target.lstrip("/")
            if call.method == "GET":
                return Reply(body=await client.get(path))
            return Reply(body=await client.read(path, object_in(await json_of(call))))
        except NodeRefusal as refusal:
            raise refusal from None
        except MiroirError as failure:
            error = failure
    raise error


async def change_rules(call: Call) -> Reply:
    """`PATCH` and `DELETE /dynamic-search-rules/{rule}`, `DELETE /dynamic-search-rules`: on every node."""
    cluster = call.service.cluster
    body = call.body if call.method == "PATCH" else None
    sent = await cluster.fleet.each(
        lambda client: client.write(call.method, call.target.lstrip("/"), content=body, as_admin=True)
    )
    refused = [answer.error for answer in sent.values() if isinstance(answer, Refused)]
    if len(refused) == len(sent):
        raise next((error for error in refused if isinstance(error, NodeRefusal)), refused[0])

    async def work() -> Json:
        if refused:
            raise refused[0]

        async def one(client: NodeClient) -> Json:
            answer = sent[client.name]
            if not isinstance(answer, Accepted):
                raise answer if isinstance(answer, MiroirError) else answer.error
            await finish_task(client, answer.task)
            return dict((await client.task(answer.task)).get("details") or {})

        found = await cluster.fleet.all(one)
        return next(iter(found.values()), {})

    type = "dsrClear" if "rule" not in call.path else "dsrUpdate"
    metadata = call.query.get("customMetadata")
    return await accepted(call, work, type=type, uid=RULES_INDEX, details={}, indexes=(), custom_metadata=metadata)


# -- a file of each node


def _on_every_node(path: str, type: str) -> Callable[[Call], Awaitable[Reply]]:
    async def handler(call: Call) -> Reply:
        cluster = call.service.cluster

        async def one(client: NodeClient) -> Json:
            task = await client.task(await run_task(client, "POST", path, as_admin=True))
            return dict(task.get("details") or {})

        async def work() -> Json | None:
            found = await cluster.fleet.all(one)
            names = [str(each["dumpUid"]) for each in found.values() if each.get("dumpUid")]
            return {"dumpUid": ",".join(names)} if names else None

        details = {"dumpUid": None} if type == "dumpCreation" else None
        return await accepted(call, work, type=type, uid=None, details=details, indexes=())

    return handler


# -- what a cluster cannot do


NO_NETWORK = NotDone(what="a network of remotes", reason=OURS["network"])
NO_CHAT = NotDone(what="chat", reason=OURS["chatCompletions"])
NO_LOGS = NotDone(what="reading or setting logs", reason="they are each node's own; ask the node")
NO_EXPORT = NotDone(what="an export", reason="each node would export its copies; run `miroir export` instead")
NO_TEMPLATE = NotDone(what="rendering a template", reason="the document is on one node only")

ROUTES = (
    Route("GET", "/experimental-features", "experimental.get", show_features),
    Route("PATCH", "/experimental-features", "experimental.update", change_features),
    Route("POST", "/dumps", "dumps.create", _on_every_node("dumps", "dumpCreation")),
    Route("POST", "/snapshots", "snapshots.create", _on_every_node("snapshots", "snapshotCreation")),
    Route("GET", "/network", "network.get", NO_NETWORK),
    Route("PATCH", "/network", "network.update", NO_NETWORK),
    Route("POST", "/network/control", "network.update", NO_NETWORK),
    Route("GET", "/chats", "chats.get", NO_CHAT),
    Route("GET", "/chats/{workspace}", "chats.get", NO_CHAT),
    Route("DELETE", "/chats/{workspace}", "chats.delete", NO_CHAT),
    Route("GET", "/chats/{workspace}/settings", "chatsSettings.get", NO_CHAT),
    Route("PATCH", "/chats/{workspace}/settings", "chatsSettings.update", NO_CHAT),
    Route("DELETE", "/chats/{workspace}/settings", "chatsSettings.update", NO_CHAT),
    Route("POST", "/chats/{workspace}/chat/completions", "chatCompletions", NO_CHAT),
    Route("POST", "/export", "export", NO_EXPORT),
    Route("POST", "/logs/stream", "metrics.get", NO_LOGS),
    Route("DELETE", "/logs/stream", "metrics.get", NO_LOGS),
    Route("POST", "/logs/stderr", "metrics.get", NO_LOGS),
    Route("POST", "/dynamic-search-rules", "dynamicSearchRules.get", ask_for_rules),
    Route("GET", "/dynamic-search-rules/{rule}", "dynamicSearchRules.get", ask_for_rules),
    Route("PATCH", "/dynamic-search-rules/{rule}", "dynamicSearchRules.update", change_rules),
    Route("DELETE", "/dynamic-search-rules/{rule}", "dynamicSearchRules.delete", change_rules),
    Route("DELETE", "/dynamic-search-rules", "dynamicSearchRules.delete", change_rules),
    Route("POST", "/render-template", "documents.get", NO_TEMPLATE),
)
