"""Who asks, and what they may do. Pure; the words of the refusals are Meilisearch's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import ApiError
from miroir_cli.proxy.actions import OF_KEYS, granted, looks_at_indexes_itself

if TYPE_CHECKING:
    from miroir_cli.store.records import ApiKey

Rules = Mapping[str, Any]
"""The search rules of a tenant token: for each pattern of index uids what to filter by, None for nothing."""

EVERYTHING = ("*",)


def invalid_key(message: str = "The provided API key is invalid.") -> ApiError:
    return ApiError("invalid_api_key", message)


def missing_header() -> ApiError:
    return ApiError(
        "missing_authorization_header",
        "The Authorization header is missing. It must use the bearer authorization method.",
    )


def missing_master_key() -> ApiError:
    return ApiError(
        "missing_master_key",
        "Meilisearch is running without a master key. To access this API endpoint, "
        "you must have set a master key at launch.",
    )


def matches(patterns: Iterable[str], uid: str) -> bool:
    """Whether one of the patterns stands for this index; a star at the end stands for any rest."""
    return any(uid.startswith(each[:-1]) if each.endswith("*") else each == uid for each in patterns)


@dataclass(frozen=True)
class KnownKey:
    """An API key with what is looked up of it at every request. `ends`: seconds since 1970."""

    record: ApiKey
    value: str = field(repr=False)
    ends: float | None = None

    @cached_property
    def actions(self) -> frozenset[str]:
        return granted(self.record.actions)

    def permits(self, action: str, uid: str | None, *, now: float) -> bool:
        """Whether it is good for an action on this index, or (None) for one whose address names no index."""
        if action not in self.actions or (self.ends is not None and now >= self.ends):
            return False
        indexes = self.record.indexes
        if "*" in indexes:
            return True
        return matches(indexes, uid) if uid is not None else bool(indexes) and looks_at_indexes_itself(action)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks. Without a key it is the master key's holder, or anybody where there is no master key.

    `name` is the same for all requests of one caller, and of no other. `rules` are those of a tenant token.
    """

    name: str = "master"
    key: KnownKey | None = None
    rules: Rules | None = None
    now: float = 0.0
    unguarded: bool = False

    def may(self, action: str, uid: str | None = None) -> bool:
        """Whether the caller may do `action`, on that index or on what it may see."""
        if self.key is None:
            return not (self.unguarded and action in OF_KEYS)
        return self.key.permits(action, uid, now=self.now) and (uid is None or self.sees(uid))

    def require(self, action: str, uid: str | None) -> None:
        """Raise Meilisearch's error unless the caller may do `action`."""
        if self.key is None:
            if self.unguarded and action in OF_KEYS:
                raise missing_master_key()
            return
        if uid is not None:
            self._require_index(uid, self.key.record.indexes)
        if not self.key.permits(action, uid, now=self.now):
            raise invalid_key()

    def _require_index(self, uid: str, indexes: tuple[str, ...]) -> None:
        if self.rules is not None and not matches(self.rules, uid):
            raise invalid_key(
                f"The provided tenant token cannot acces the index `{uid}`, allowed indexes are {_listed(self.rules)}."
            )
        if matches(indexes, uid):
            return
        if self.rules is not None:
            raise invalid_key(f"The API key used to generate this tenant token cannot acces the index `{uid}`.")
        raise invalid_key(f"The API key cannot acces the index `{uid}`, authorized indexes are {_listed(indexes)}.")

    def sees(self, uid: str) -> bool:
        """Whether an index is there for this caller; what names no index is there for who `sees_all`."""
        if self.key is None:
            return True
        return matches(self.key.record.indexes, uid) and (self.rules is None or matches(self.rules, uid))

    @property
    def sees_all(self) -> bool:
        """Whether every index is there for this caller, also those to come."""
        return self.key is None or ("*" in self.key.record.indexes and (self.rules is None or "*" in self.rules))

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of the indexes that the caller's key is for."""
        return EVERYTHING if self.key is None else self.key.record.indexes

    def filter_for(self, uid: str, *, alias: str | None = None) -> list[Any] | None:
        """The elements of a filter that the token wants every document of an index to fulfil; None for nothing.

        Of several patterns the most exact one counts, as in Meilisearch. Where an index is asked for by an `alias`
        both names count: a name that is written out before one with a star, and that before `*` alone. So nobody comes
        around a rule for an index by another name of it; rules for both count together.
        """
        if self.rules is None:
            return None
        names = (uid,) if alias is None else (uid, alias)
        patterns = [pattern for name in names if (pattern := self._most_exact(name)) is not None]
        best = max(map(_exactness, patterns), default=0)
        rules = [self.rules[each] for each in dict.fromkeys(patterns) if _exactness(each) == best]
        wanted = [rule if isinstance(rule, list) else [rule] for rule in rules if rule is not None]
        return [element for rule in wanted for element in rule] if wanted else None

    def _most_exact(self, name: str) -> str | None:
        """The pattern of the token's rules that counts for a name."""
        fitting = [pattern for pattern in self.rules or () if matches((pattern,), name)]
        return max(fitting, key=lambda each: (not each.endswith("*"), len(each)), default=None)

    def narrowed(self, uid: str, wanted: Any, *, alias: str | None = None) -> Any:
        """A client's filter with the token's beside it, never inside of its text."""
        own = self.filter_for(uid, alias=alias)
        if own is None:
            return wanted
        if wanted is None:
            return own
        return [*(wanted if isinstance(wanted, list) else [wanted]), *own]


def _exactness(pattern: str) -> int:
    if pattern == "*":
        return 0
    return 1 if pattern.endswith("*") else 2


def _listed(patterns: Iterable[str]) -> str:
    return json.dumps(sorted(patterns), ensure_ascii=False)
