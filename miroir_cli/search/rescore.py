"""Scores as one node shows them that has the hits of all. Pure.

A node scores a hit against the most typos that any way to match took *there*, so that the same document scores a
little differently beside others. Once the hits of all nodes are together, the most typos of their bucket are known and
the scores are put on that base. Not known stays how near glued words could have stood (`proximity`), and a bucket of
which a node sent nothing.

Source: `score_details.rs` of Meilisearch 1.50: a score is the places of the ranking rules read like the digits of one
number. With `b` the base of the rules before, `m` that of `typo`: score = before - (1 - (typo - (1 - rest) / m)) / b.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from miroir_cli.search.view import DETAILS, SCORE

Hit = dict[str, Any]
Bucket = tuple[Any, ...]

_LARGEST_BASE = 2**26
"""Fractions with smaller denominators are told apart by double precision, so that the exact one is found again."""


def rescore(hits: Iterable[Hit]) -> None:
    """Change `_rankingScore` and the details of `typo` of hits from several nodes, in place."""
    buckets: dict[Bucket, list[Hit]] = {}
    for hit in hits:
        bucket = _bucket(hit.get(DETAILS) or {})
        if bucket is not None:
            buckets.setdefault(bucket, []).append(hit)
    for found in buckets.values():
        most = max(hit[DETAILS]["typo"]["maxTypoCount"] for hit in found)
        for hit in found:
            if hit[DETAILS]["typo"]["maxTypoCount"] != most:
                _rebase(hit, most)


def _bucket(details: dict[str, Any]) -> Bucket | None:
    """What puts a hit into a bucket before `typo` looks at it; None where that is not `words` and sorts alone."""
    typo = details.get("typo")
    if typo is None:
        return None
    before = [name for name, detail in details.items() if detail["order"] < typo["order"]]
    if any("score" in details[name] for name in before if name != "words"):
        return None
    return tuple(
        (name, details[name]["matchingWords"] if name == "words" else repr(details[name].get("value")))
        for name in sorted(before)
    )


def _rebase(hit: Hit, most: int) -> None:
    typo = hit[DETAILS]["typo"]
    old, new, count = typo["maxTypoCount"] + 1, most + 1, typo["typoCount"]
    if SCORE in hit:
        words = hit[DETAILS].get("words") or {"matchingWords": 1, "maxMatchingWords": 1}
        rank, base = words["matchingWords"], words["maxMatchingWords"]
        rest = (_exact(hit[SCORE]) * base - (rank - 1)) * old - (old - count - 1)
        if 0 < rest <= 1:
            hit[SCORE] = float((rank - 1 + (new - count - 1 + rest) / new) / base)
    hit[DETAILS]["typo"] = {**typo, "maxTypoCount": most, "score": (new - count) / new}


def _exact(score: float) -> Fraction:
    """The fraction of whole numbers that was written as this number."""
    return Fraction(score).limit_denominator(_LARGEST_BASE)
