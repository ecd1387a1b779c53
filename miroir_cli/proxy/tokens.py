"""Tenant tokens: JSON web tokens signed with the value of an API key. Pure.

What is refused, in which order and with which words follows Meilisearch 1.50 (the places in JSON texts are left out).
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import uuid
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from miroir_cli.errors import MiroirError
from miroir_cli.model import RESERVED_PREFIX
from miroir_cli.proxy.access import Rules, invalid_key
from miroir_cli.proxy.nesting import read_json
from miroir_cli.search.filters import rewrite

_HASHES: dict[str, Callable[..., Any]] = {
    "HS256": hashlib.sha256,
    "HS384": hashlib.sha384,
    "HS512": hashlib.sha512,
}
_OTHER_ALGORITHMS = ("ES256", "ES384", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token says, before its signature is looked at."""

    algorithm: str
    signed: bytes
    signature: bytes
    key_uid: str
    rules: Rules
    ends: int | None
    has_audience: bool


def read_token(text: str) -> Token | None:
    """Take a token apart; None for a text that is none. Raises Meilisearch's refusal of one that is malformed."""
    if text.count(".") < 2:
        return None
    head_and_claims, _, signature = text.rpartition(".")
    head, _, claims = head_and_claims.partition(".")
    header = _json(_bytes(head))
    algorithm = header.get("alg") if isinstance(header, dict) else None
    if algorithm is None:
        raise _undecodable("JSON error: missing field `alg`")
    if not isinstance(algorithm, str):
        raise _undecodable("JSON error: invalid type of `alg`, expected a string")
    if algorithm not in _HASHES and algorithm not in _OTHER_ALGORITHMS:
        known = ", ".join(f"`{each}`" for each in (*_HASHES, *_OTHER_ALGORITHMS))
        raise _undecodable(f"JSON error: unknown variant `{algorithm}`, expected one of {known}")
    said = _json(_bytes(claims))
    if not isinstance(said, dict):
        raise _undecodable("JSON error: invalid type, expected struct Claims")
    for name in ("apiKeyUid", "searchRules"):
        if name not in said:
            raise _undecodable(f"JSON error: missing field `{name}`")
    return Token(
        algorithm=algorithm,
        signed=head_and_claims.encode(),
        signature=_bytes(signature),
        key_uid=_uid(said["apiKeyUid"]),
        rules=_rules(said["searchRules"]),
        ends=_end(said.get("exp")),
        has_audience=said.get("aud") is not None,
    )


def verify(token: Token, *, value: str, now: float) -> None:
    """Raise Meilisearch's refusal unless the token was signed with this value of its key and has not ended."""
    chosen = _HASHES.get(token.algorithm)
    if chosen is None:
        raise _undecodable("InvalidAlgorithm")
    expected = hmac.new(value.encode(), token.signed, chosen).digest()
    if not hmac.compare_digest(expected, token.signature):
        raise _undecodable("InvalidSignature")
    if token.has_audience:
        raise _undecodable("InvalidAudience")
    if token.ends is not None and int(now) > token.ends:
        raise invalid_key(f"Tenant token expired. Was valid up to `{token.ends}` and we're now `{int(now)}`.")


def require_no_reserved_names(rules: Rules) -> None:
    """Refuse a token whose filters name what is miroir's own: with it a tenant could look around its shard filter."""
    for wanted in rules.values():
        try:
            rewrite(wanted)
        except MiroirError as error:
            if RESERVED_PREFIX not in error.message:
                raise
            raise invalid_key(f"The provided tenant token is invalid: {error.message}.") from None


def _undecodable(why: str) -> MiroirError:
    return invalid_key(f"Could not decode tenant token, {why}.")


def _bytes(text: str) -> bytes:
    try:
        raw = text.encode("ascii")
        found = b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
        if urlsafe_b64encode(found).rstrip(b"=") != raw:  # every text has one spelling
            raise ValueError
        return found
    except (binascii.Error, ValueError):
        raise _undecodable("Base64 error: Invalid input") from None


def _json(content: bytes) -> Any:
    try:
        return read_json(content)
    except ValueError:
        raise _undecodable("JSON error: expected value") from None


def _uid(given: Any) -> str:
    try:
        return str(uuid.UUID(given))
    except (ValueError, TypeError, AttributeError):
        raise _undecodable("JSON error: UUID parsing failed") from None


def _end(given: Any) -> int | None:
    if given is None or (isinstance(given, int) and not isinstance(given, bool)):
        return given
    raise _undecodable("JSON error: invalid type of `exp`, expected i64")


def _rules(given: Any) -> dict[str, Any]:
    """The rules by their patterns; a list of patterns says that nothing is filtered."""
    if isinstance(given, list) and all(isinstance(each, str) for each in given):
        return dict.fromkeys(given)
    if isinstance(given, dict) and all(rule is None or isinstance(rule, dict) for rule in given.values()):
        return {pattern: None if rule is None else rule.get("filter") for pattern, rule in given.items()}
    raise _undecodable("JSON error: data did not match any variant of untagged enum SearchRules")
