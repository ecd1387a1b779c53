"""Clusters whose nodes have master keys, tokens as tenants get them, and callers as the proxy sees them."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from miroir_cli.dev.engine.testing import running_engine
from miroir_cli.errors import ApiError
from miroir_cli.model import NodeName
from miroir_cli.proxy.keyring import Keyring
from miroir_cli.wire import status_of, wire_error
from tests.backends import state_lines
from tests.faults.world import World

MASTER = "a master key of sixteen bytes"
SEARCH = "Default Search API Key"


@contextmanager
def guarded_world(folder: Path, masters: Sequence[str | None] = (MASTER, MASTER)) -> Iterator[World]:
    """Nodes with these master keys, and the topology file that has them in files."""
    with ExitStack() as stack:
        engines = {
            NodeName(f"n{number}"): stack.enter_context(running_engine(folder / f"disk{number}", master_key=master))
            for number, master in enumerate(masters, 1)
        }
        lines = ["[cluster]", 'name = "test"', "shards = 2", "replicas = 2", "min_in_sync = 1", *state_lines()]
        for (name, engine), master in zip(engines.items(), masters, strict=True):
            lines += ["", "[[nodes]]", f'name = "{name}"', f'url = "{engine.url}"']
            if master is not None:
                file = folder / f"{name}.key"
                file.write_text(master)
                file.chmod(0o600)
                lines.append(f'key_file = "{file}"')
        path = folder / "miroir.toml"
        path.write_text("\n".join(lines) + "\n")
        yield World(path=path, engines=engines)


def part(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def token(
    claims: Mapping[str, Any] | bytes, value: str, *, algorithm: str = "HS256", header: Mapping[str, Any] | None = None
) -> str:
    """A tenant token signed with the value of a key."""
    head = part(json.dumps(header or {"alg": algorithm, "typ": "JWT"}).encode())
    body = part(claims if isinstance(claims, bytes) else json.dumps(claims).encode())
    chosen = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(algorithm, hashlib.sha256)
    return f"{head}.{body}.{part(hmac.new(value.encode(), f'{head}.{body}'.encode(), chosen).digest())}"


async def answer(
    keyring: Keyring, given: str | None, action: str = "search", uid: str | None = "books"
) -> dict[str, Any]:
    """What the keyring says to `Authorization: Bearer given`: the error with its status, or {}."""
    headers = {} if given is None else {"authorization": f"Bearer {given}"}
    try:
        await keyring.caller(headers, action, uid)
    except ApiError as error:
        return {"status": status_of(error), **wire_error(error)}
    return {}


async def key_called(keyring: Keyring, name: str) -> dict[str, Any]:
    """A key by its name, as it is shown."""
    return next(key for key in await keyring.listed() if key["name"] == name)
