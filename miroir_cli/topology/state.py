"""The `[state]` table of the topology file: where the state of the cluster is kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from miroir_cli.topology.finding import DEFAULT_STATE
from miroir_cli.topology.table import NO_WRITTEN_PASSWORDS, PASSWORDS

if TYPE_CHECKING:
    from miroir_cli.model import Secret
    from miroir_cli.topology.table import Table

EITHER_HINT: Final = "use sqlite:PATH for a file, or redis://HOST:PORT/DATABASE"
FILE_HINT: Final = f'use sqlite:PATH, the default is "{DEFAULT_STATE}"'
SERVER_HINT: Final = "expected redis://HOST:PORT/DATABASE, or rediss:// with TLS; the password is not written here"
SCHEMES: Final = ("redis", "rediss")
SECONDS: Final = ("stale_reads", "lease_renewal", "lease_expiry")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """Where the state is: a file of SQLite for one host, or Redis, which several hosts can share.

    `password` is Redis's. `stale_reads`: seconds for which a process that lives long goes on answering searches by the
    last state that it has read while Redis does not answer. `lease_renewal`, `lease_expiry`: seconds after which a
    process renews what it has locked, and after which a lock that nobody renewed is free.
    """

    url: str = DEFAULT_STATE
    password: Secret | None = None
    stale_reads: float = 60.0
    lease_renewal: float = 3.0
    lease_expiry: float = 10.0

    @property
    def shared(self) -> bool:
        """Whether it is in Redis: then there is no state file."""
        return is_server(self.url)

    @property
    def address(self) -> str:
        """Where Redis is, without the user."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    @property
    def host(self) -> str:
        """The host of Redis."""
        return urlsplit(self.url).hostname or ""


def is_server(url: str) -> bool:
    """Whether the url of a state names a server, and no file."""
    return url.partition(":")[0] in SCHEMES


def read_state(table: Table) -> StateSettings:
    """What the table says; what is wrong is noted, and at its default."""
    usual = StateSettings()
    url = table.text("url", usual.url) or usual.url
    password = table.secret(PASSWORDS)
    numbers = {key: table.positive(key, getattr(usual, key)) for key in SECONDS}
    renewal, expiry = numbers["lease_renewal"], numbers["lease_expiry"]
    table.end()
    if expiry <= renewal:
        table.fail(
            "lease_expiry",
            f"is {expiry:g}, expected more than `lease_renewal`, which is {renewal:g}",
            hint="a lock has to be renewed before it is free; usual are 3 and 10",
        )
        numbers |= {"lease_renewal": usual.lease_renewal, "lease_expiry": usual.lease_expiry}
    before = len(table.problems)
    check_state_url(url, lambda problem, hint: table.fail("url", problem, hint=hint))
    url = usual.url if len(table.problems) > before else url
    return StateSettings(url=url, password=password, **numbers)


def check_state_url(url: str, fail: Callable[[str, str], None]) -> None:
    """Refuse what names neither a file nor a Redis. What may hold a secret is not repeated in the error."""
    scheme, _, rest = url.partition(":")
    if scheme in SCHEMES:
        _check_server(url, fail)
    elif scheme != "sqlite":
        fail("does not begin with `sqlite:`, `redis://` or `rediss://`", EITHER_HINT)
    elif not rest.strip("/ ") or rest == ":memory:" or rest.endswith("/"):
        fail(f"is `{url}`, which names no file", FILE_HINT)


def _check_server(url: str, fail: Callable[[str, str], None]) -> None:
    user, at, _ = url.partition("://")[2].rpartition("@")
    if at and (":" in user or not re.fullmatch(r"[A-Za-z0-9._-]+", user)):
        fail("has a password in it", NO_WRITTEN_PASSWORDS)
        return
    if "?" in url or "#" in url:
        fail("has a `?` or a `#` in it", SERVER_HINT)
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        fail(f"is `{url}`, which is not a url", SERVER_HINT)
        return
    if not parts.hostname or port == 0 or not re.fullmatch(r"/?|/\d{1,4}", parts.path) or re.search(r"\s", url):
        fail(f"is `{url}`", SERVER_HINT)
