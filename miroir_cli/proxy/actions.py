"""What a key may be allowed to do: Meilisearch's actions, what its wildcards stand for, which of them know indexes.

Pure. Source: the list of actions in Meilisearch's documentation of keys, and 1.50's answers.
"""

from __future__ import annotations

from collections.abc import Iterable

ACTIONS = (
    "*",
    "search",
    "documents.*",
    "documents.add",
    "documents.get",
    "documents.delete",
    "indexes.*",
    "indexes.create",
    "indexes.get",
    "indexes.update",
    "indexes.delete",
    "indexes.swap",
    "tasks.*",
    "tasks.cancel",
    "tasks.delete",
    "tasks.get",
    "settings.*",
    "settings.get",
    "settings.update",
    "stats.*",
    "stats.get",
    "metrics.*",
    "metrics.get",
    "dumps.*",
    "dumps.create",
    "snapshots.*",
    "snapshots.create",
    "version",
    "keys.create",
    "keys.get",
    "keys.update",
    "keys.delete",
    "experimental.get",
    "experimental.update",
    "export",
    "network.get",
    "network.update",
    "chatCompletions",
    "chats.*",
    "chats.get",
    "chats.delete",
    "chatsSettings.*",
    "chatsSettings.get",
    "chatsSettings.update",
    "*.get",
    "webhooks.get",
    "webhooks.update",
    "webhooks.delete",
    "webhooks.create",
    "webhooks.*",
    "indexes.compact",
    "fields.post",
    "tasks.compact",
    "dynamicSearchRules.get",
    "dynamicSearchRules.create",
    "dynamicSearchRules.update",
    "dynamicSearchRules.delete",
    "dynamicSearchRules.*",
)
"""In the order in which Meilisearch lists them in its errors."""

BY_TENANT_TOKEN = ("search", "chatCompletions")
"""The only actions for which a tenant token is looked at."""

OF_KEYS = frozenset({"keys.create", "keys.get", "keys.update", "keys.delete"})

_READING = frozenset(
    {
        "search",
        "documents.get",
        "export",
        "indexes.get",
        "tasks.get",
        "settings.get",
        "stats.get",
        "metrics.get",
        "version",
        "experimental.get",
        "network.get",
        "chats.get",
        "chatsSettings.get",
        "webhooks.get",
        "fields.post",
        "dynamicSearchRules.get",
    }
)
"""What `*.get` stands for; not `keys.get`, with which a reader could become an administrator."""

_BY_ROUTE = frozenset(
    {
        "documents.get",
        "search",
        "indexes.create",
        "indexes.get",
        "indexes.swap",
        "tasks.cancel",
        "tasks.delete",
        "tasks.get",
        "settings.get",
        "stats.*",
        "stats.get",
        "chatCompletions",
    }
)
"""Actions of which routes without an index in their address look by themselves at what the caller may see."""

_BY_INDEX = frozenset(
    {
        "*",
        "*.get",
        "documents.*",
        "documents.add",
        "documents.delete",
        "indexes.*",
        "indexes.update",
        "indexes.delete",
        "indexes.compact",
        "fields.post",
        "tasks.*",
        "settings.*",
        "settings.update",
    }
)


def granted(actions: Iterable[str]) -> frozenset[str]:
    """All single actions that a key with these has."""
    found: set[str] = set()
    for action in actions:
        if action == "*":
            found.update(ACTIONS)
        elif action == "*.get":
            found |= _READING
        elif action.endswith(".*"):
            prefix = action[:-1]
            found.update(each for each in ACTIONS if each.startswith(prefix))
        else:
            found.add(action)
    return frozenset(found)


def looks_at_indexes_itself(action: str) -> bool:
    """Whether a key for some indexes may use the routes of this action that name none in their address."""
    return action in _BY_ROUTE


def is_for_all_indexes(action: str) -> bool:
    """Whether a key for some indexes cannot have this action."""
    return action not in _BY_ROUTE and action not in _BY_INDEX
