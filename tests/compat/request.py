"""One request of the corpus, as it is sent to both sides."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import brotli  # type: ignore[import-untyped]

MASTER = "a-master-key-of-compatibility"
JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"

ENCODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: `body` goes out as JSON unless it is text or bytes, `type` None sends no Content-Type.

    `key` None sends no key. `encoding` compresses the body and says so; `headers` come on top of everything.
    `{task}` in the path stands for the uid of the last task of that side, `{task-2}` for the second before.
    `differs` names the known difference (`differences.py`) that the two answers must show.
    """

    method: str
    path: str
    body: Any = None
    type: str | None = JSON
    key: str | None = MASTER
    encoding: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    differs: str | None = None

    def content(self) -> bytes | None:
        """What is sent as the body, before it is compressed."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False).encode()

    def sent(self) -> tuple[dict[str, str], bytes | None]:
        """The headers and the body on the wire."""
        content, headers = self.content(), {}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        if content is not None and self.type is not None:
            headers["Content-Type"] = self.type
        if content is not None and self.encoding is not None:
            headers["Content-Encoding"] = self.encoding
            content = ENCODINGS[self.encoding](content)
        return {**headers, **self.headers}, content

    def __str__(self) -> str:
        content = self.content()
        told = f"{self.method} {self.path}"
        return told if content is None else f"{told} {content[:300].decode(errors='replace')}"


def key_of(uid: str, master: str = MASTER) -> str:
    """The value of the key with this uid, as every Meilisearch with the master key computes it."""
    return hmac.new(master.encode(), uid.encode(), hashlib.sha256).hexdigest()


def tenant_token(uid: str, rules: Any, *, expires: int | None = None, key: str | None = None, **claims: Any) -> str:
    """A tenant token signed by the key with this uid, or by `key`."""
    payload = {"searchRules": rules, "apiKeyUid": uid, **claims}
    if expires is not None:
        payload["exp"] = expires
    parts = [_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, payload)]
    signed = hmac.new((key or key_of(uid)).encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, _base64(signed)])


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
