"""All routes of the proxy."""

from __future__ import annotations

from miroir_cli.proxy.routes import (
    admin,
    documents,
    features,
    fetch,
    indexes,
    keys,
    search,
    settings,
    swaps,
    system,
    tasks,
    webhooks,
)

ROUTES = (
    *system.ROUTES,
    *search.ROUTES,
    *fetch.ROUTES,
    *keys.ROUTES,
    *indexes.ROUTES,
    *swaps.ROUTES,
    *settings.ROUTES,
    *features.ROUTES,
    *documents.ROUTES,
    *tasks.ROUTES,
    *webhooks.ROUTES,
    *admin.ROUTES,
)
