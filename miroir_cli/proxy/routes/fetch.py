"""Documents themselves: a page of them, those that a request names, one."""

from __future__ import annotations

from miroir_cli.documents.read import get_document
from miroir_cli.documents.refusals import KEY_TEXT
from miroir_cli.errors import DocumentNotFound
from miroir_cli.proxy.forward import object_of, refusal_of
from miroir_cli.proxy.query import DOCUMENT, DOCUMENTS, read
from miroir_cli.proxy.reads import catch_up
from miroir_cli.proxy.router import Call, Reply, Route
from miroir_cli.proxy.routes.search import answered
from miroir_cli.search.browse import browse


async def list_documents(call: Call) -> Reply:
    """`GET /indexes/{uid}/documents`."""
    request = read(call.query, DOCUMENTS)
    if request is None:
        raise await refusal_of(call)
    await catch_up(call, [call.uid])
    return answered(await browse(call.service.cluster, call.uid, request))


async def fetch_documents(call: Call) -> Reply:
    """`POST /indexes/{uid}/documents/fetch`."""
    await catch_up(call, [call.uid])
    return answered(await browse(call.service.cluster, call.uid, await object_of(call)))


async def one_document(call: Call) -> Reply:
    """`GET /indexes/{uid}/documents/{id}`."""
    request = read(call.query, DOCUMENT)
    if request is None:
        raise await refusal_of(call)
    await catch_up(call, [call.uid])
    cluster, id = call.service.cluster, call.path["id"]
    if not KEY_TEXT.fullmatch(id):
        await cluster.reload_named(call.uid)
        raise DocumentNotFound(f"document `{id}` not found in index `{call.uid}`")
    fields, vectors = request.get("fields"), request.get("retrieveVectors", False)
    return Reply(body=await get_document(cluster, call.uid, id, fields=fields, vectors=vectors))


ROUTES = (
    Route("GET", "/indexes/{uid}/documents", "documents.get", list_documents),
    Route("POST", "/indexes/{uid}/documents/fetch", "documents.get", fetch_documents),
    Route("GET", "/indexes/{uid}/documents/{id}", "documents.get", one_document),
)
