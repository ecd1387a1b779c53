"""The admin API as an OpenAPI document, made of its routes and the first lines of their docstrings. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from miroir_cli import __version__

if TYPE_CHECKING:
    from miroir_cli.proxy.router import Route

_TARGETS = {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "uids of indexes"}

BODIES = {
    "make_alias": {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "targets"],
        "properties": {
            "name": {"type": "string"},
            "targets": _TARGETS,
            "kind": {"enum": ["single", "multi"], "description": "by the number of targets when left out"},
        },
    },
    "turn_alias": {
        "type": "object",
        "additionalProperties": False,
        "required": ["targets"],
        "properties": {
            "targets": _TARGETS,
            "version": {"type": "integer", "description": "change nothing if the alias has another one by now"},
        },
    },
    "start": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "kind": {"enum": ["rebalance", "repair"], "default": "rebalance"},
            "parallel": {"type": "integer", "minimum": 1, "description": "shards in hand at the same time"},
            "rate": {"type": "integer", "minimum": 1, "description": "documents a second at most"},
        },
    },
}
"""The bodies of the handlers that take one."""

ERROR = {
    "type": "object",
    "required": ["message", "code", "type", "link"],
    "properties": {name: {"type": "string"} for name in ("message", "code", "type", "link")},
}


def document(routes: Iterable[Route], *, admin: str) -> dict[str, Any]:
    """OpenAPI 3.1 of the routes under `/_miroir/`; those with the action `admin` need the admin key."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.pattern.startswith("/_miroir/"):
            paths.setdefault(route.pattern, {})[route.method.lower()] = _operation(route, admin)
    return {
        "openapi": "3.1.0",
        "info": {"title": "miroir's admin API", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {
                "header": {"type": "apiKey", "in": "header", "name": "X-Admin-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(route: Route, admin: str) -> dict[str, Any]:
    name = route.handler.__name__
    content = {"text/plain": {}} if name == "values" else {"application/json": {"schema": {"type": "object"}}}
    failed = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": (route.handler.__doc__ or "").split("\n")[0],
        "responses": {
            "2XX": {"description": "done", "content": content},
            "default": {"description": "refused", "content": failed},
        },
        "security": [{"header": []}, {"bearer": []}] if route.action == admin else [],
    }
    if parameters := re.findall(r"{(\w+)}", route.pattern):
        operation["parameters"] = [
            {"name": each, "in": "path", "required": True, "schema": {"type": "string"}} for each in parameters
        ]
    if name in BODIES:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": BODIES[name]}}}
    return operation
