"""Command lines and messages without the secrets in them, for locks, runs and the journal. Pure.

What counts as a secret: the value of an option, parameter, setting or header whose name says that it is one; who
comes with a password, or alone, in front of the host of an address; bearer tokens and JSON web tokens; and values
that the caller knows to be secret. Where a secret is found (`--key-file`, `--key-env`) is none, except for what
follows `--key-env` and is not spelled as variables are: the key itself, by mistake. In doubt text is removed: a
journal is read by more people than may hold a key.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

REMOVED: Final = "REDACTED"
SHORTEST_KNOWN: Final = 12
"""Characters that a known value has at least: shorter ones stand in other words by chance."""

SECRET_WORDS: Final = frozenset(
    {
        "apikey", "auth", "authorization", "bearer", "credential", "credentials", "pass", "passphrase", "passwd",
        "password", "passwords", "pw", "pwd", "secret", "secrets", "sig", "signature", "token",
    }
)  # fmt: skip
PLACES: Final = frozenset({"env", "file", "id", "name", "path", "uid", "var"})
"""Last words of names of what is no secret itself but leads to one."""

_NAME_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_ASSIGNMENT = re.compile(r"(-{0,2}[A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_PASSWORD_IN_URL = re.compile(r"(://[^\s:/@?#]*:)(?!\d{1,5}(?:[/?#]|$))\S*@")
_USER_IN_URL = re.compile(r"(://)[^\s:/@?#]+@")
_PASSWORD_AT_HOST = re.compile(r"(^|[\s=,(])([^\s/@:=,]+):[^\s/@]+@(?=[\w\[])")
_PARAMETER = re.compile(r"([?&;#])([\w.-]+)=([^&;#\s\"']+)")
_NAME = re.compile(r"(?<![\w./-])([\"']?)([A-Za-z_][\w.-]*)\1\s*[:=]\s*")
_MEMBER_VALUE = re.compile(r"\"(?:\\.|[^\"\\])*\"?|'[^']*'?|[^\s,;&}\])\"']+")
_BEARER = re.compile(r"\b(bearer|basic)(\s+)[^\s\"',]+", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,60}")
_WEB_TOKEN = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*")


def command_line(words: Sequence[str], *, known: Collection[str] = ()) -> str:
    """A command's words as a line for a shell, without secrets. `known`: values that are secret wherever they stand."""
    return shlex.join(without_secrets(words, known=known))


def without_secrets(words: Iterable[str], *, known: Collection[str] = ()) -> list[str]:
    """The words of a command line; what is removed reads `REDACTED`."""
    kept: list[str] = []
    option: str | None = None
    for word in words:
        kept.append(_word(word, known) if option is None else _option_value(option, word, known))
        option = word if option is None and word.startswith("--") and "=" not in word and _takes_care(word) else None
    return kept


def is_variable(text: str) -> bool:
    """Whether a text is certainly the name of a variable, and not a key that somebody gave in its place."""
    return _VARIABLE.fullmatch(text) is not None


def text_without_secrets(text: str, *, known: Collection[str] = ()) -> str:
    """A message, such as an error's, without secrets."""
    for value in sorted((value for value in known if len(value) >= SHORTEST_KNOWN), key=len, reverse=True):
        text = text.replace(value, REMOVED)
    text = _WEB_TOKEN.sub(REMOVED, text)
    text = _BEARER.sub(rf"\1\2{REMOVED}", text)
    text = _PASSWORD_IN_URL.sub(rf"\1{REMOVED}@", text)
    text = _USER_IN_URL.sub(rf"\1{REMOVED}@", text)
    text = _PASSWORD_AT_HOST.sub(rf"\1\2:{REMOVED}@", text)
    text = _PARAMETER.sub(_without_value, text)
    return _without_members(text)


def secrets_of(environment: Mapping[str, str]) -> frozenset[str]:
    """The values of the variables whose names say that they are secret."""
    return frozenset(
        value for name, value in environment.items() if len(value) >= SHORTEST_KNOWN and names_a_secret(name)
    )


def names_a_secret(name: str) -> bool:
    """Whether what has this name, an option's or a setting's in any spelling, is a secret."""
    words = [word.lower() for word in _NAME_WORDS.findall(name)]
    if not words or words[-1] in PLACES:
        return False
    if SECRET_WORDS.intersection(words):
        return True
    return "key" in words and "primary" not in words and words[-1] in ("key", "command")


def _takes_care(option: str) -> bool:
    return names_a_secret(option) or option.endswith("-env")


def _option_value(option: str, value: str, known: Collection[str]) -> str:
    if names_a_secret(option) or (option.endswith("-env") and not is_variable(value)):
        return REMOVED
    return _value(value, known)


def _word(word: str, known: Collection[str]) -> str:
    assigned = _ASSIGNMENT.fullmatch(word)
    if assigned is not None:
        name, value = assigned.groups()
        return f"{name}={_option_value(name, value, known) if value else value}"
    return _value(word, known)


def _value(text: str, known: Collection[str]) -> str:
    if text.lstrip()[:1] in ("{", "["):
        try:
            before = json.loads(text)
        except (ValueError, RecursionError):
            return text_without_secrets(text, known=known)
        after = _json(before, known)
        return text if after == before else json.dumps(after, ensure_ascii=False)
    return text_without_secrets(text, known=known)


def _json(value: Any, known: Collection[str]) -> Any:
    """A JSON value without the members whose names say that they are secret; of headers only the names stay."""
    if isinstance(value, dict):
        return {name: _json_member(name, member, known) for name, member in value.items()}
    if isinstance(value, list):
        return [_json(member, known) for member in value]
    return text_without_secrets(value, known=known) if isinstance(value, str) else value


def _json_member(name: str, value: Any, known: Collection[str]) -> Any:
    if names_a_secret(name) and value not in (None, "", [], {}):
        return REMOVED
    if name.lower() == "headers" and isinstance(value, dict):
        return dict.fromkeys(value, REMOVED)
    return _json(value, known)


def _without_value(found: re.Match[str]) -> str:
    separator, name, _ = found.groups()
    return f"{separator}{name}={REMOVED}" if names_a_secret(name) else found[0]


def _without_members(text: str) -> str:
    """Without the values of `name: value` and `name=value` whose names say that they are secret."""
    kept: list[str] = []
    position = 0
    for found in _NAME.finditer(text):
        if found.start() < position or not names_a_secret(found[2]):
            continue
        value = _MEMBER_VALUE.match(text, found.end())
        if value is None or REMOVED in value[0] or value[0].lower() in ("bearer", "basic"):
            continue
        mark = value[0][0] if value[0][0] in "\"'" else ""
        kept += [text[position : found.end()], mark, REMOVED, mark]
        position = value.end()
    return "".join([*kept, text[position:]])
