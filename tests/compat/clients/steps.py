"""What the client scripts in Python share: do a step, and write what came of it as one line of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

BOOKS: list[dict[str, Any]] = [
    {"id": 1, "title": "Kindred", "year": 1979, "genres": ["time", "family"]},
    {"id": 2, "title": "The Dispossessed", "year": 1974, "genres": ["utopia"]},
    {"id": 3, "title": "Solaris", "year": 1961, "genres": ["first contact"]},
    {"id": 4, "title": "Roadside Picnic", "year": 1972, "genres": ["first contact"]},
    {"id": 5, "title": "Ubik", "year": 1969, "genres": ["time"]},
    {"id": 6, "title": "The Left Hand of Darkness", "year": 1969, "genres": ["first contact", "utopia"]},
    {"id": 7, "title": "The Word for World Is Forest", "year": 1972, "genres": ["utopia"]},
    {"id": 8, "title": "Time and Again", "year": 1970, "genres": ["time"]},
]
VECTORS = [{"id": each["id"], "title": each["title"], "_vectors": {"own": [1, each["id"]]}} for each in BOOKS]
SETTINGS: dict[str, Any] = {
    "filterableAttributes": ["year", "genres", "id"],
    "sortableAttributes": ["year", "title"],
    "searchableAttributes": ["title", "genres"],
    "stopWords": ["the"],
    "synonyms": {"planet": ["solaris"]},
}


class Steps:
    """Names of steps with what came of them; writes as it goes."""

    def __call__(self, name: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Make one call of the client; gives its result, or None for an error."""
        result, told = None, None
        try:
            result = call(*arguments, **named)
            told = plain(result)
        except Exception as error:
            told = {
                "error": type(error).__name__,
                "code": getattr(error, "code", None),
                "status": getattr(error, "status_code", None),
                "message": str(error),
            }
        sys.stdout.write(json.dumps({"step": name, "result": told}, ensure_ascii=False) + "\n")
        return result


def plain(value: Any) -> Any:
    """A result of a client as JSON values; when something happened is of no matter."""
    if isinstance(value, datetime):
        return "<moment>"
    if isinstance(value, timedelta):
        return "<duration>"
    if isinstance(value, Enum):
        return plain(value.value)
    if hasattr(value, "model_dump"):
        return plain(value.model_dump())
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(each) for each in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if hasattr(value, "primary_key") and hasattr(value, "uid"):  # an index, which holds its client as well
        return {"index": value.uid, "primary key": value.primary_key}
    return plain({name: each for name, each in vars(value).items() if not name.startswith("_") or "__dict" in name})
