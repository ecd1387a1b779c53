"""Ordering documents: rule after rule, bucket by bucket, only as deep as the page needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import bits
from .attributes import is_under, matches_pattern
from .derivations import Derived, Scope
from .errors import EngineError
from .exactness import exact_attribute_buckets, exact_word_buckets
from .rules import (
    Bucket,
    Path,
    State,
    attribute_buckets,
    first_come,
    geo_buckets,
    position_buckets,
    proximity_buckets,
    sort_buckets,
    typo_buckets,
)
from .score import Attribute, AttributePosition, AttributeRank, Position, VectorSort, WordsDetail, global_score
from .sorting import SortRule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .index import Index
    from .query import Query, Term
    from .score import Detail

    Rule = Callable[[State, int], Iterator[Bucket]]


@dataclass(frozen=True, slots=True)
class Near:
    """Rank by nearness to a vector instead of by words."""

    embedder: str
    vector: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a ranking is asked for; `exhaustive` counts every document against the threshold, or until there are `most`
    hits."""

    count: int
    strategy: str = "last"
    sort: Sequence[SortRule] = ()
    distinct: str | None = None
    threshold: float | None = None
    exhaustive: bool = False
    most: int | None = None
    near: Near | None = None


@dataclass(slots=True)
class Ranked:
    """Documents in order with their details, and all that match."""

    hits: list[tuple[int, tuple[Detail, ...]]] = field(default_factory=list)
    candidates: int = 0


def matching(index: Index, query: Query, scope: Scope, universe: int, strategy: str) -> tuple[int, list[Derived]]:
    """Return the documents that match enough of a query, and its terms over the index."""
    derived = [Derived(term, index.words, scope) for term in (*query.terms, *query.glued)]
    for word in query.negative_words:
        universe &= ~index.words.any_documents([word], scope, derived=False)
    for phrase in query.negative_phrases:
        universe &= ~index.words.phrase_documents(phrase, scope)
    if query.is_empty:
        return universe, []
    found = 0
    if strategy == "all" or any(term.phrase is not None for term in query.terms):
        kept = _mandatory(query.terms, len(query.terms) if strategy == "all" else 0)
        for _, docs in _paths(derived, kept, universe):
            found |= docs
    else:
        for node in derived:
            if node.term.ids[0] == 0:
                found |= universe & node.documents(None)
    return found, derived


def _mandatory(terms: Sequence[Term], words: int) -> list[Term]:
    """Return the terms left when all but `words` removable ones are dropped, the last first."""
    removable = [term for term in terms if term.phrase is None]
    least = 0 if len(removable) < len(terms) else 1
    kept = {term.ids[0] for term in removable[: max(words, least)]}
    return [term for term in terms if term.phrase is not None or term.ids[0] in kept]


def _paths(derived: Sequence[Derived], terms: Sequence[Term], universe: int, *, empty: bool = False) -> State:
    """Return every way through some terms, glued or not, with the documents that match it.

    Ways that no document matches are left out unless `empty`.
    """
    ids = [term.ids[0] for term in terms]
    starts: dict[int, list[Derived]] = {}
    for node in derived:
        first, last = node.term.ids
        if all(number in ids for number in range(first, last + 1)):
            starts.setdefault(first, []).append(node)
    found: State = []

    def follow(position: int, nodes: tuple[Derived, ...], docs: int) -> None:
        if not docs and not empty:
            return
        if position == len(ids):
            found.append((Path(nodes, (None,) * len(nodes)), docs))
            return
        for node in starts.get(ids[position], ()):
            follow(position + node.term.length, (*nodes, node), docs & node.documents(None))

    follow(0, (), universe)
    return found


def _word_rule(query: Query, derived: Sequence[Derived]) -> Rule:
    def rule(_before: State, universe: int) -> Iterator[Bucket]:
        removable = sum(term.phrase is None for term in query.terms)
        least = 0 if removable < len(query.terms) else 1
        phrase_words = sum(
            sum(word is not None for word in term.phrase) for term in query.terms if term.phrase is not None
        )
        most = removable - least + 1 + max(0, phrase_words - 1)
        left = universe
        for words in range(removable, least - 1, -1):
            paths = first_come(_paths(derived, _mandatory(query.terms, words), left))
            docs = 0
            for _, members in paths:
                docs |= members
            if docs:
                left &= ~docs
                yield WordsDetail(most - (removable - words), most), paths, docs
            if not left:
                return

    return rule


def field_scope(index: Index, attributes: Sequence[str] | None) -> Scope:
    """Return which fields count: those searched on, and which of them allow no typos."""
    tolerance = index.settings["typoTolerance"]
    names = index.words.field_names
    exact = frozenset(
        number
        for number, name in enumerate(names)
        if any(name == field or name.startswith(field + ".") for field in tolerance["disableOnAttributes"])
    )
    fields = None
    if attributes is not None and "*" not in attributes:
        fields = _searched_on(index, attributes)
    return Scope(
        fields=fields,
        exact=exact,
        exact_numbers=tolerance["disableOnNumbers"],
        by_attribute=index.settings["proximityPrecision"] == "byAttribute",
    )


def _searched_on(index: Index, attributes: Sequence[str]) -> frozenset[int]:
    names = index.words.field_names
    chosen: set[int] = set()
    for wanted in attributes:
        found = {n for n, name in enumerate(names) if name == wanted}
        if not found and "*" in wanted:
            found = {n for n, name in enumerate(names) if matches_pattern(wanted, name)}
        listed = index.settings.searchable
        if not found and listed is not None and not any(is_under(wanted, name) for name in listed):
            known = ", ".join(sorted(index.searchable_names()))
            message = (
                f"Index `{index.uid}`: Attribute `{wanted}` is not searchable."
                f" Available searchable attributes are: `{known}`."
            )
            raise EngineError("invalid_search_attributes_to_search_on", message)
        chosen |= found
    return frozenset(chosen)


def _rules(index: Index, query: Query, derived: Sequence[Derived], wanted: Wanted, scope: Scope) -> list[Rule]:
    rules: list[Rule] = []
    seen: set[str] = set()
    relevancy = not query.is_empty
    if wanted.strategy == "all":
        seen.add("words")

    def sort_rule(rule: SortRule) -> None:
        key = f":{rule.field}" if rule.point is None else f"geo {rule.point} {rule.ascending}"
        if key in seen and rule.point is None:
            return
        seen.add(key)
        make = sort_buckets if rule.point is None else geo_buckets
        rules.append(lambda state, docs: make(index, rule, state, docs))

    def attribute_rule() -> None:
        rules.append(lambda s, d: attribute_buckets(index, scope.fields, s, d, Attribute))  # type: ignore[arg-type]
        rules.append(lambda s, d: position_buckets(index, s, d, AttributePosition))

    makers: dict[str, Callable[[], None]] = {
        "words": lambda: rules.append(_word_rule(query, derived)),
        "typo": lambda: rules.append(typo_buckets),
        "proximity": lambda: rules.append(lambda s, d: proximity_buckets(index, s, d)),
        "attribute": attribute_rule,
        "attributeRank": lambda: rules.append(lambda s, d: attribute_buckets(index, scope.fields, s, d, AttributeRank)),
        "wordPosition": lambda: rules.append(lambda s, d: position_buckets(index, s, d, Position)),
        "exactness": lambda: rules.extend(
            [lambda s, d: exact_attribute_buckets(index, scope.fields, s, d), exact_word_buckets]
        ),
    }
    for name in index.settings["rankingRules"]:
        if name == "sort":
            if "sort" not in seen:
                for rule in wanted.sort:
                    sort_rule(rule)
            seen.add("sort")
        elif ":" in name:
            field_name, _, direction = name.rpartition(":")
            sort_rule(SortRule(field=field_name, ascending=direction == "asc"))
        elif wanted.near is not None:
            if "near" not in seen:
                seen.add("near")
                rules.append(_near_rule(index, wanted.near))
        elif relevancy:
            if name != "words" and "words" not in seen:
                seen.add("words")
                makers["words"]()
            if name not in seen:
                seen.add(name)
                makers[name]()
    return rules


def _near_rule(index: Index, near: Near) -> Rule:
    def rule(_before: State, universe: int) -> Iterator[Bucket]:
        for found in index.vectors.neighbours(near.embedder, near.vector, universe):
            yield VectorSort(found.similarity), [], found.documents

    return rule


class _Walk:
    """The descent through the rules of one ranking."""

    def __init__(self, index: Index, rules: Sequence[Rule], wanted: Wanted, candidates: int) -> None:
        self.index, self.rules, self.wanted = index, rules, wanted
        self.result = Ranked(candidates=candidates)
        self.excluded = 0

    def enough(self) -> bool:
        exhaustive = self.wanted.exhaustive and self.wanted.threshold is not None
        most = self.wanted.most if exhaustive else self.wanted.count
        return most is not None and len(self.result.hits) >= most

    def descend(self, level: int, state: State, docs: int, details: tuple[Detail, ...]) -> None:
        if level == len(self.rules):
            self.emit(docs, details)
            return
        left = docs
        for detail, inner, found in self.rules[level](state, docs):
            if self.enough():
                return
            found &= ~self.excluded
            left &= ~(found | self.excluded)
            if not found:
                continue
            deeper = (*details, detail)
            threshold = self.wanted.threshold
            if threshold is not None and global_score(deeper) < threshold:
                self.result.candidates &= ~(found | left)
                return
            self.descend(level + 1, inner, found, deeper)

    def emit(self, docs: int, details: tuple[Detail, ...]) -> None:
        docs &= ~self.excluded
        room = self.wanted.count - len(self.result.hits)
        if self.wanted.distinct is None:
            self.result.hits += [(number, details) for number in bits.lowest(docs, room)]
            return
        for number in bits.members(docs):
            if self.excluded >> number & 1:
                continue
            if room <= 0 and not self.rules:
                return
            same = self.index.same_values(self.wanted.distinct, number) & ~(1 << number)
            self.excluded |= same
            self.result.candidates &= ~same
            if room > 0:
                self.result.hits.append((number, details))
                room -= 1


def rank(index: Index, query: Query, universe: int, scope: Scope, wanted: Wanted) -> Ranked:
    """Order the documents of a universe that match a query; all of them, when ranked by a vector."""
    candidates, derived = (universe, []) if wanted.near else matching(index, query, scope, universe, wanted.strategy)
    state: State = []
    if derived and wanted.strategy == "all":
        state = first_come(_paths(derived, query.terms, candidates))
        state += [(path, 0) for path, _ in _paths(derived, query.terms, 0, empty=True)]
    rules = _rules(index, query, derived, wanted, scope)
    walk = _Walk(index, rules, wanted, candidates)
    if candidates and (wanted.count or (wanted.exhaustive and wanted.threshold is not None)):
        walk.descend(0, state, candidates, ())
    if wanted.exhaustive and wanted.distinct is not None and wanted.near is None:
        walk.result.candidates = distinct_set(index, wanted.distinct, walk.result.candidates)
    return walk.result


def distinct_set(index: Index, field_name: str, docs: int) -> int:
    """Keep the first document of each value of a field, in document order."""
    kept, left = 0, docs
    for number in bits.members(docs):
        if left >> number & 1:
            kept |= 1 << number
            left &= ~index.same_values(field_name, number)
    return kept
