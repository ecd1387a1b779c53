"""All requests, by part."""

from __future__ import annotations

from tests.compat.requests import documents, indexes, instance, joint, keys, search, settings, swaps, tasks

PARTS = {
    "indexes": indexes.REQUESTS,
    "documents": documents.REQUESTS,
    "search": search.REQUESTS,
    "joint": joint.REQUESTS,
    "settings": settings.REQUESTS,
    "keys": keys.REQUESTS,
    "tasks": tasks.REQUESTS,
    "swaps": swaps.REQUESTS,
    "instance": instance.REQUESTS,
}
