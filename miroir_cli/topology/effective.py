"""What a topology file comes to: every setting with its value, and where that is from. Pure.

Keys are shown by where they come from, commands without their arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from miroir_cli.topology.serve import ServeSettings
from miroir_cli.topology.state import SECONDS
from miroir_cli.topology.table import PASSWORDS, SECRETS

if TYPE_CHECKING:
    from miroir_cli.model import Node, Secret
    from miroir_cli.topology.schema import Content

Value = str | int | float | bool | None

VARIABLES = {"host": "MIROIR_SERVE_HOST", "port": "MIROIR_SERVE_PORT", "workers": "MIROIR_SERVE_WORKERS"}
"""Settings that have an option as well, and the variable that stands for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting. `source`: `file`, `defaults` (the table of that name), `variable` or `default`; `line` and
    `variable` say which."""

    key: str
    value: Value
    source: str = "default"
    line: int | None = None
    variable: str | None = None

    @property
    def origin(self) -> str:
        """Where the value is from, in words."""
        if self.source == "variable":
            return f"variable {self.variable}"
        if self.source == "defaults":
            return f"[defaults], line {self.line}"
        return f"line {self.line}" if self.line is not None else "default"


def effective(
    content: Content,
    lines: Mapping[str, int],
    *,
    source_of: Callable[[Secret | None], str | None],
    environ: Mapping[str, str],
) -> tuple[Setting, ...]:
    """All settings in the order of the reference. `source_of`: how a source of keys is shown."""

    def setting(key: str, value: Value) -> Setting:
        return Setting(key=key, value=value, source="file" if key in lines else "default", line=lines.get(key))

    def secret(table: str, given: Secret | None, *, names: tuple[str, ...] = SECRETS, what: str = "key") -> Setting:
        at = next((lines[f"{table}.{name}"] for name in names if f"{table}.{name}" in lines), None)
        if at is None and given is not None and given == content.default_key:
            inherited = next((lines[key] for name in SECRETS if (key := f"defaults.{name}") in lines), None)
            return Setting(key=f"{table}.key", value=source_of(given), source="defaults", line=inherited)
        source = "default" if at is None else "file"
        return Setting(key=f"{table}.{what}", value=source_of(given), source=source, line=at)

    def all_settings() -> Iterator[Setting]:
        for each in fields(content.cluster):
            yield setting(f"cluster.{each.name}", getattr(content.cluster, each.name))
        yield setting("state.url", content.state.url)
        yield secret("state", content.state.password, names=PASSWORDS, what="password")
        for key in SECONDS:
            yield setting(f"state.{key}", getattr(content.state, key))
        for position, node in content.positions:
            yield from _node(f"nodes[{position}]", node, setting)
            yield secret(f"nodes[{position}]", node.key)
        for each in fields(ServeSettings):
            if each.name not in ("key", "admin_key"):
                yield _from_variable(
                    each.name, setting(f"serve.{each.name}", getattr(content.serve, each.name)), environ
                )
        yield secret("serve", content.serve.key)
        yield secret("serve.admin", content.serve.admin_key)

    return tuple(all_settings())


def _node(table: str, node: Node, setting: Callable[[str, Value], Setting]) -> Iterator[Setting]:
    for name in ("name", "url", "group", "zone", "weight", "drained"):
        yield setting(f"{table}.{name}", getattr(node, name))


def _from_variable(name: str, setting: Setting, environ: Mapping[str, str]) -> Setting:
    variable = VARIABLES.get(name)
    value = environ.get(variable, "") if variable is not None else ""
    if not value:
        return setting
    return Setting(key=setting.key, value=value, source="variable", variable=variable)
