"""One table of the topology file, read key by key: what is wrong is noted with its path, and reading goes on. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from miroir_cli.errors import nearest
from miroir_cli.model import Secret

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MOST_SHARDS = 65_536
HEAVIEST = 1_000_000
SECRETS = ("key_env", "key_file", "key_command")
PASSWORDS = ("password_env", "password_file", "password_command")
WRITTEN_KEYS = ("key", "api_key", "apikey", "master_key", "admin_key", "password", "secret", "token")
NO_WRITTEN_KEYS = "keep keys out of this file: use key_env, key_file or key_command"
NO_WRITTEN_PASSWORDS = "keep passwords out of this file: use password_env, password_file or password_command"
REFERENCE = "see `docs/reference/topology.md`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that the file may not say. `key`: where it stands, such as `nodes[1].url`; `message` names that too."""

    key: str
    message: str
    hint: str = REFERENCE


class Table:
    """One table of the file with the path it stands at; reads its keys and remembers which exist.

    A key that is wrong is added to `problems` and read as its default.
    """

    def __init__(self, path: str, found: object, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        self.known: list[str] = []
        self.found: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
        if not isinstance(found, Mapping):
            self.fail("", f"is {kind_of(found)}, expected a table")

    def where(self, key: str) -> str:
        return ".".join(part for part in (self.path, key) if part)

    def fail(self, key: str, problem: str, *, hint: str | None = None) -> None:
        """Note what is wrong with a key of this table."""
        where = self.where(key)
        self.problems.append(Problem(key=where, message=f"`{where}` {problem}", hint=hint or REFERENCE))

    def text(self, key: str, default: str | None = None, *, required: bool = False) -> str | None:
        value = self._value(key, default, required=required)
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        self.fail(key, "is empty" if isinstance(value, str) else f"is {kind_of(value)}, expected a string")
        return default

    def whole(self, key: str, default: int, *, most: int = MOST_SHARDS) -> int:
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(key, f"is {kind_of(value)}, expected a whole number")
        elif not 1 <= value <= most:
            self.fail(key, f"is {value}, expected 1 to {most}")
        else:
            return value
        return default

    def positive(self, key: str, default: float) -> float:
        """A number above 0; the default may be 0, and be written."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(key, f"is {kind_of(value)}, expected a number")
        elif value != default and not 0 < value <= HEAVIEST:
            self.fail(key, f"is {kind_of(value)}, expected one above 0 and at most {HEAVIEST:,}")
        else:
            return float(value)
        return default

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._value(key, default)
        if isinstance(value, bool):
            return value
        self.fail(key, f"is {kind_of(value)}, expected true or false")
        return default

    def inner(self, key: str) -> object:
        return self._value(key, {})

    def secret(self, names: tuple[str, str, str] = SECRETS) -> Secret | None:
        """Where a secret is, by the keys for a variable, a file and a command; one of them may be given."""
        given = {key: self.text(key) for key in names}
        named = [key for key, value in given.items() if value is not None]
        if len(named) > 1:
            self.fail(named[1], f"and `{named[0]}` are both given, expected one of them")
            return None
        if not named:
            return None
        env, file, command = given.values()
        if env is not None and not VARIABLE.fullmatch(env):
            self.fail(names[0], "is not the name of an environment variable", hint=_not_written(names))
            return None
        return Secret(env=env, file=file, command=command, what=names[0].removesuffix("_env"))

    def _value(self, key: str, default: Any, *, required: bool = False) -> Any:
        self.known.append(key)
        if key not in self.found and required:
            near = nearest(key, (name for name in self.found if name not in self.known), alike=0.6)
            self.fail(key, "is missing", hint=f"`{near}` may be meant for it" if near else None)
        return self.found.get(key, default)

    def end(self) -> None:
        """Every key that nobody asked for is a problem."""
        for key in self.found:
            if key not in self.known:
                if key.lower().replace("-", "_") in WRITTEN_KEYS:
                    self.fail(key, "is a secret written into the file", hint=_not_written(self.known))
                    continue
                near = nearest(key, self.known, alike=0.5)
                hint = f"did you mean `{near}`?" if near else f"known here: {', '.join(self.known)}"
                self.fail(key, "is not a key that miroir knows", hint=hint)


def _not_written(names: Collection[str]) -> str:
    """The hint for a secret in the file, in a table with keys of these names."""
    return NO_WRITTEN_PASSWORDS if PASSWORDS[0] in names else NO_WRITTEN_KEYS


def kind_of(value: object) -> str:
    """A value that is not what was expected, in words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value:g}" if isinstance(value, float) or abs(value) < 1e9 else "a large number"
    names: dict[type, str] = {str: "a string", list: "a list", Mapping: "a table"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "a date or time")
