"""Score details: what each rule says about a bucket, as Meilisearch writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MATCH_TYPES = {3: "exactMatch", 2: "matchesStart", 1: "noExactMatch"}


@dataclass(frozen=True, slots=True)
class Rank:
    """A place among `most`; the higher the better."""

    rank: int
    most: int

    @property
    def score(self) -> float:
        """The place as a fraction."""
        return self.rank / self.most


def combined(ranks: Iterable[Rank]) -> float:
    """Merge ranks like digits of one number; 32 bits wide, as Meilisearch's."""
    rank, most = 1, 1
    for inner in ranks:
        rank = ((max(0, rank - 1) * inner.most) + inner.rank) & 0xFFFFFFFF
        most = (most * inner.most) & 0xFFFFFFFF
    return rank / most if most else 0.0


@dataclass(frozen=True, slots=True)
class WordsDetail:
    """How many words match."""

    matching: int
    most: int

    def rank(self) -> Rank:
        """Return the place."""
        return Rank(self.matching, self.most)


@dataclass(frozen=True, slots=True)
class Typo:
    """How many typos."""

    count: int
    most: int

    def rank(self) -> Rank:
        """Return the place."""
        return Rank(max(0, self.most + 1 - self.count), self.most + 1)


@dataclass(frozen=True, slots=True)
class _Ranked:
    place: Rank

    def rank(self) -> Rank:
        """Return the place."""
        return self.place


class Proximity(_Ranked):
    """How near the words are."""


class AttributeRank(_Ranked):
    """How good the attributes are; its own rule."""


class Attribute(_Ranked):
    """How good the attributes are; first half of the rule `attribute`."""


class Position(_Ranked):
    """How well the places fit; its own rule."""


class AttributePosition(Position):
    """How well the places fit; second half of the rule `attribute`."""


@dataclass(frozen=True, slots=True)
class ExactAttribute:
    """Whether an attribute is the query (3), starts with it (2), or neither (1)."""

    value: int

    def rank(self) -> Rank:
        """Return the place."""
        return Rank(self.value, 3)


@dataclass(frozen=True, slots=True)
class ExactWords:
    """How many words match exactly."""

    matching: int
    most: int

    def rank(self) -> Rank:
        """Return the place."""
        return Rank(self.matching + 1, self.most + 1)


@dataclass(frozen=True, slots=True)
class Sort:
    """The value of a sorted field; `hidden` when the field is not displayed."""

    field: str
    ascending: bool
    value: Any
    hidden: bool


@dataclass(frozen=True, slots=True)
class GeoSort:
    """The place nearest to the target in the bucket, and its distance in metres."""

    target: tuple[float, float]
    ascending: bool
    point: tuple[float, float] | None
    metres: float | None


@dataclass(frozen=True, slots=True)
class VectorSort:
    """How near the vectors are, from 0 to 1; None without a vector."""

    similarity: float | None


Ranking = WordsDetail | Typo | Proximity | AttributeRank | Attribute | Position | ExactAttribute | ExactWords
Detail = Ranking | Sort | GeoSort | VectorSort


def global_score(details: Sequence[Detail]) -> float:
    """Return the ranking score: sorting rules do not count, and nearness of vectors is all that counts."""
    for detail in details:
        if isinstance(detail, VectorSort):
            return detail.similarity or 0.0
    return combined(detail.rank() for detail in details if not isinstance(detail, (Sort, GeoSort, VectorSort)))


def groups(details: Sequence[Detail]) -> list[float | Sort | GeoSort]:
    """What hits of two kinds are compared by: each run of ranking rules as one score, and what stands between."""
    found: list[float | Sort | GeoSort] = []
    run: list[Rank] = []
    for detail in details:
        if isinstance(detail, (Sort, GeoSort, VectorSort)):
            found += [combined(run)] if run else []
            run = []
            found.append((detail.similarity or 0.0) if isinstance(detail, VectorSort) else detail)
        else:
            run.append(detail.rank())
    return [*found, combined(run)] if run else found


def shown(details: Sequence[Detail]) -> dict[str, Any]:
    """Return the JSON object of `_rankingScoreDetails`."""
    result: dict[str, Any] = {}
    order = 0
    attribute: Rank | None = None
    for detail in details:
        if isinstance(detail, AttributePosition):
            entry = result["attribute"]
            entry["queryWordDistanceScore"] = detail.place.score
            entry["score"] = combined([attribute or Rank(1, 1), detail.place])
        elif isinstance(detail, ExactWords):
            entry = result["exactness"]
            if entry["matchType"] == "noExactMatch":
                del entry["score"]
                entry["matchingWords"] = detail.matching
                entry["maxMatchingWords"] = detail.most
                entry["score"] = combined([Rank(1, 3), detail.rank()])
        else:
            if isinstance(detail, Attribute):
                attribute = detail.place
            name, body = _entry(detail, order)
            result[name] = {"order": order, **body}
            order += 1
    return result


def _entry(detail: Detail, order: int) -> tuple[str, dict[str, Any]]:
    if isinstance(detail, WordsDetail):
        body = {
            "matchingWords": detail.matching,
            "maxMatchingWords": detail.most,
            "score": detail.rank().score,
        }
        return "words", body
    if isinstance(detail, Typo):
        return "typo", {"typoCount": detail.count, "maxTypoCount": detail.most, "score": detail.rank().score}
    if isinstance(detail, ExactAttribute):
        return "exactness", {"matchType": _MATCH_TYPES[detail.value], "score": detail.rank().score}
    if isinstance(detail, Sort):
        if detail.hidden:
            return f"<hidden-rule-{order}>", {"value": "<hidden>"}
        return f"{detail.field}:{_direction(detail.ascending)}", {"value": detail.value}
    if isinstance(detail, GeoSort):
        lat, lng = (_coordinate(value) for value in detail.target)
        name = f"_geoPoint({lat}, {lng}):{_direction(detail.ascending)}"
        point = detail.point and {"lat": detail.point[0], "lng": detail.point[1]}
        return name, {"value": point, "distance": detail.metres}
    if isinstance(detail, VectorSort):
        return "vectorSort", {"similarity": detail.similarity}
    if isinstance(detail, Attribute):
        return "attribute", {"attributeRankingOrderScore": detail.place.score}
    names = {Proximity: "proximity", AttributeRank: "attributeRank", Position: "wordPosition"}
    return names[type(detail)], {"score": detail.rank().score}  # type: ignore[index]


def _direction(ascending: bool) -> str:
    return "asc" if ascending else "desc"


def _coordinate(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
