"""Whether hits of several queries can be compared, and what Meilisearch says when they cannot. Pure.

The nodes' own verdict does not count: the rule that miroir adds to theirs stands at another place for each query.

Source: `search/ranking_rules.rs` of Meilisearch 1.50.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from miroir_cli.search.geo import geo_rule
from miroir_cli.search.rules import ORDERED, is_relevancy
from miroir_cli.search.semantics import semantics_of

if TYPE_CHECKING:
    from miroir_cli.model import Json

_GEO = "_geoPoint("

Relevancy, Ascending, Descending, NearestFirst, FarthestFirst = (
    "relevancy", "ascending sort", "descending sort", "ascending geo sort", "descending geo sort",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that hits are compared by. `where` and `what` are Meilisearch's words for it."""

    kind: str
    where: str
    what: str


@dataclass(slots=True)
class Rules:
    """What the hits of a query are compared by, after rules without effect are left out, with a note of each."""

    position: int
    uid: str
    compared: list[Rule] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def incompatible(rules: Rules, previous: Rules) -> str | None:
    """Meilisearch's message when the hits of two queries cannot be compared; None when they can."""
    for current, before in zip(rules.compared, previous.compared, strict=False):
        if current.kind != before.kind:
            return _message(rules, previous, current, before)
    return None


def stricter(rules: Rules, previous: Rules | None) -> Rules:
    """Which of two queries the next one is held against: that which compares by more."""
    return previous if previous is not None and len(previous.compared) > len(rules.compared) else rules


def _message(rules: Rules, previous: Rules, current: Rule, before: Rule) -> str:
    lines = [
        f"The results of queries #{previous.position} and #{rules.position} are incompatible: ",
        f"  1. {before.where}: {before.kind} rule(s) {before.what}",
        f"  2. {current.where}: {current.kind} rule(s) {current.what}",
        f"  - {_reason(before.kind, current.kind)}",
    ]
    for each in (previous, rules):
        if each.notes:
            lines.append(
                f"  - note: The ranking rules of query #{each.position} were modified during canonicalization:"
            )
            lines += each.notes
    return "\n".join([*lines, ""])


def _reason(one: str, other: str) -> str:
    kinds = {one, other}
    geo = kinds & {NearestFirst, FarthestFirst}
    if Relevancy in kinds:
        return f"cannot compare a relevancy rule with a {'geosort' if geo else 'sort'} rule"
    if len(geo) == 1:
        return "cannot compare a sort rule with a geosort rule"
    return f"cannot compare two {'geosort' if geo else 'sort'} rules in opposite directions"


def rules_of(query: Json, rules: Sequence[str], *, position: int, uid: str) -> Rules | None:
    """What the hits of a query are compared by under an index's ranking rules; None for a wrong `sort`."""
    sort = query.get("sort")
    if sort is not None and not all(map(_is_rule, sort)):
        return None
    found = Rules(position, uid)
    canonical = _Canonical(found, query, list(rules))
    for place, rule in enumerate(rules):
        if not canonical.take(place, rule):
            break
    canonical.coalesce()
    return found


class _Canonical:
    """The rules that have an effect, while they are found."""

    def __init__(self, found: Rules, query: Json, source: Sequence[str]) -> None:
        self.found = found
        self.source = source
        self.sort: Sequence[str] | None = query.get("sort")
        asked = semantics_of(query)
        self.by_vector = asked is not None and asked.kind == "semantic"
        self.placeholder = not (query.get("q") or "").strip()
        self.all_words = query.get("matchingStrategy") == "all"
        self.rules: list[str] = []
        self.sorted_by: list[str] = []
        self.seen: dict[str, tuple[str, str]] = {}
        """Where each rule was first, and under which name: Meilisearch calls a repetition by the first one's name."""
        self.words_added = False
        self.vector: str | None = None
        """Where the nearness of vectors took the place of a rule."""

    def take(self, place: int, rule: str) -> bool:
        """Whether the rules behind this one have an effect."""
        where = f"#{place} in ranking rules"
        if is_relevancy(rule) and self.by_vector:
            return self._take_nearness(rule, where)
        if is_relevancy(rule):
            self._take_relevancy(rule, where)
        elif rule == "sort":
            self._take_sort(place, where)
        else:
            self._once(f"by {_field(rule)}", rule, where, self.rules)
        return True

    def _take_nearness(self, rule: str, where: str) -> bool:
        if self.vector is None:
            self.vector = where
            self.rules.append(rule)
            return True
        because = "because the query is a vector search and `vector` was"
        if self._has_sorted():
            self._note(
                f"Truncated relevancy rule `{rule}` at position {where} and later rules {because} inserted at position "
                f"{self.vector}"
            )
            return False
        self._note(
            f"Removed relevancy rule `{rule}` at position {where} {because} already inserted at position {self.vector}"
        )
        return True

    def _has_sorted(self) -> bool:
        return any(name.startswith("by ") for name in self.seen)

    def _take_relevancy(self, rule: str, where: str) -> None:
        if self.placeholder:
            because = 'because the query is a placeholder search (`q`: "")'
            self._note(f"Removed relevancy rule `{rule}` at position {where} {because}")
            return
        if rule == "words":
            if self.all_words:
                self._note(f"Removed rule `words` at position {where} because `query.matchingWords` is set to `all`")
                return
            if self.words_added:
                self._note(f"Removed rule `words` at position {where} because it was previously prepended")
                self.words_added = False
                self.seen["words"] = (rule, where)
                self.rules.append(rule)
                return
        elif not self.all_words and "words" not in self.seen and not self.words_added:
            self._note(f"Prepended rule `words` before first relevancy rule `{rule}` at position {where}")
            self.rules.append("words")
            self.words_added = True
        self._once(rule, rule, where, self.rules)

    def _take_sort(self, place: int, where: str) -> None:
        if "sort" in self.seen:
            self._repeated(where, "sort")
        elif self.sort is None:
            self.found.notes.append(
                f"   {len(self.found.notes) + 1}. Removed rule `sort` at position {where} because `query.sort` is empty"
            )
        else:
            self.seen["sort"] = ("sort", where)
            self.rules.append("sort")
            for number, rule in enumerate(self.sort):
                inner = f"#{number} in `query.sort` (as `sort` is #{place} in ranking rules)"
                name = "geo" if rule.startswith(_GEO) else f"by {_field(rule)}"
                self._once(name, _shown(rule), inner, self.sorted_by, rule)

    def _once(self, key: str, name: str, where: str, into: list[str], rule: str | None = None) -> None:
        if key in self.seen:
            self._repeated(where, key)
        else:
            self.seen[key] = (name, where)
            into.append(rule or name)

    def _repeated(self, where: str, key: str) -> None:
        name, earlier = self.seen[key]
        self._note(f"Removed duplicate rule `{name}` at position {where} as it already appears at position {earlier}")

    def _note(self, text: str) -> None:
        self.found.notes.append(f"    {len(self.found.notes) + 1}. {text}")

    def coalesce(self) -> None:
        """Neighbouring relevancy rules are compared as one."""
        query, uid = f"`queries[{self.found.position}]`", self.found.uid
        first: int | None = None
        for place, rule in enumerate([*self.rules, ""]):
            if rule and is_relevancy(rule):
                first = place if first is None else first
                continue
            if first is not None:
                span = f"{first}" if place == first + 1 else f"{first}..={place - 1}"
                what = ", ".join(self.rules[first:place])
                self._add(Relevancy, f"{query}, `{uid}.rankingRules[{span}]`", what)
                first = None
            if rule == "sort":
                for number, each in enumerate(self.sorted_by):
                    where = f"`queries[{self.found.position}].sort[{number}]`, `{uid}.rankingRules[{place}]`"
                    self._add(_kind(each), where, "default" if each.startswith(_GEO) else f"on field `{_field(each)}`")
            elif rule:
                self._add(_kind(rule), f"{query}, `{uid}.rankingRules[{place}]`", rule)

    def _add(self, kind: str, where: str, what: str) -> None:
        self.found.compared.append(Rule(kind=kind, where=where, what=what))


def _is_rule(text: str) -> bool:
    return bool(ORDERED.match(text)) and (not text.startswith(_GEO) or geo_rule(text) is not None)


def _field(rule: str) -> str:
    return rule.rpartition(":")[0]


def _shown(rule: str) -> str:
    return f"_geo(..):{rule.rpartition(':')[2]}" if rule.startswith(_GEO) else rule


def _kind(rule: str) -> str:
    name, _, direction = rule.rpartition(":")
    if name == "_geo" or rule.startswith(_GEO):
        return NearestFirst if direction == "asc" else FarthestFirst
    return Ascending if direction == "asc" else Descending
