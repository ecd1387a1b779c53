"""Where a query matches inside the text of a hit: highlighting, cropping, positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .attributes import is_under
from .derivations import Derived, Scope
from .shape import select

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .index import Index
    from .parameters import SearchRequest
    from .query import Phrase, Query
    from .text import Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One match: tokens and words are counted from the start of the text, spans are inclusive."""

    tokens: tuple[int, int]
    words: tuple[int, int]
    characters: int
    ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Words:
    words: dict[str, int]
    positions: tuple[int, int]
    prefix: bool
    characters: int


class Matcher:
    """Finds the words and phrases of one query in texts; made lazily, since few searches need it."""

    def __init__(self, index: Index, query: Query, scope: Scope) -> None:
        self._index, self._query, self._scope = index, query, scope
        self._phrases: list[tuple[Phrase, frozenset[int]]] = []
        self._words: list[_Words] | None = None

    def _prepare(self) -> list[_Words]:
        words: list[_Words] = []
        for term in (*self._query.terms, *self._query.glued):
            derived = Derived(term, self._index.words, self._scope)
            positions = frozenset(range(term.positions[0], term.positions[1] + 1))
            self._phrases += [(phrase, positions) for phrase in derived.phrases(None)]
            near = sorted({*derived.words(1), *derived.words(2)}) if derived.term.phrase is None else []
            found = {word: rank for rank, word in enumerate([*derived.words(0), *near])}
            if found:
                words.append(_Words(found, term.positions, term.prefix, len(term.word)))
        words.sort(key=lambda each: (each.prefix, each.positions[0] - each.positions[1]))
        return words

    def matches(self, text: str) -> tuple[list[Token], list[Match]]:
        """Cut a text into tokens and find the matches, left to right, none overlapping."""
        if self._words is None:
            self._words = self._prepare()
        tokens = list(self._index.settings.tokenizer.tokens(text))
        places = [number for number, token in enumerate(tokens) if token.is_word]
        found: list[Match] = []
        word = 0
        while word < len(places):
            match = self._phrase(tokens, places, word) or self._single(tokens, places, word)
            if match is not None:
                found.append(match)
                word = match.words[1]
            word += 1
        return tokens, found

    def _phrase(self, tokens: Sequence[Token], places: Sequence[int], start: int) -> Match | None:
        for phrase, ids in self._phrases:
            end = start + len(phrase) - 1
            if end >= len(places):
                continue
            inside = [tokens[place] for place in places[start : end + 1]]
            if all(
                token.is_stop if word is None else token.lemma == word
                for word, token in zip(phrase, inside, strict=True)
            ):
                span = inside[-1].end - inside[0].start
                return Match(tokens=(places[start], places[end]), words=(start, end), characters=span, ids=ids)
        return None

    def _single(self, tokens: Sequence[Token], places: Sequence[int], start: int) -> Match | None:
        token = tokens[places[start]]
        for each in self._words or ():
            characters: int | None = None
            if token.lemma in each.words and not each.prefix:
                characters = token.end - token.start
            elif each.prefix:
                starts = [token.lemma[:size] for size in range(1, len(token.lemma) + 1)]
                known = [start for start in starts if start in each.words]
                if known:
                    first = min(known, key=lambda word: each.words[word])
                    characters = min(len(first), each.characters)
            if characters is not None:
                ids = frozenset(range(each.positions[0], each.positions[1] + 1))
                place = places[start]
                return Match(tokens=(place, place), words=(start, start), characters=characters, ids=ids)
        return None

    def positions(self, document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """Return the byte ranges of all matches, by field."""
        result: dict[str, list[dict[str, Any]]] = {}

        def visit(name: str, path: list[int], value: Any) -> Any:
            text = _text(value)
            if text is None:
                return value
            tokens, found = self.matches(text)
            for match in found:
                first = tokens[match.tokens[0]]
                entry: dict[str, Any] = {
                    "start": len(text[: first.start].encode()),
                    "length": len(text[first.start : first.start + match.characters].encode()),
                }
                if path:
                    entry["indices"] = path
                result.setdefault(name, []).append(entry)
            return value

        _map_leaves(document, "", [], visit)
        return result


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    return None


def _map_leaves(value: Any, name: str, path: list[int], visit: Callable[[str, list[int], Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: _map_leaves(inner, f"{name}.{key}" if name else key, path, visit) for key, inner in value.items()}
    if isinstance(value, list):
        return [_map_leaves(inner, name, [*path, number], visit) for number, inner in enumerate(value)]
    return visit(name, path, value)


def formatted(
    document: dict[str, Any], hit: dict[str, Any], request: SearchRequest, matcher: Matcher
) -> dict[str, Any]:
    """Return `_formatted`: the hit with matches marked and texts cropped; all numbers as text."""
    highlights = request.attributes_to_highlight or []
    crops: dict[str, int] = {}
    for attribute in request.attributes_to_crop or []:
        name, _, length = attribute.rpartition(":")
        if name:
            crops[name] = int(length) if length.isdigit() else request.crop_length
        else:
            crops[attribute] = request.crop_length

    def applies(rule: str, name: str) -> bool:
        return rule == "*" or is_under(name, rule) or is_under(rule, name)

    def visit(name: str, _: list[int], value: Any) -> Any:
        text = _text(value)
        if text is None:
            return value
        marked = any(applies(rule, name) for rule in highlights)
        crop = next((length for rule, length in crops.items() if applies(rule, name)), None)
        if not marked and not crop:
            return text
        return _format(text, request, matcher, marked=marked, crop=crop or 0)

    mapped: dict[str, Any] = _map_leaves(document, "", [], visit)
    everything = "*" in highlights or "*" in crops
    if everything:
        return mapped
    named = [name for name in (*highlights, *crops) if name != "*"]
    return select(mapped, [*hit, *named])


def _format(text: str, request: SearchRequest, matcher: Matcher, *, marked: bool, crop: int) -> str:
    tokens, found = matcher.matches(text)
    start, end = _crop_window(tokens, found, crop, len(text)) if crop else (0, len(text))
    parts = [request.crop_marker] if start > 0 else []
    position = start
    for match in found if marked else ():
        first, last = tokens[match.tokens[0]].start, tokens[match.tokens[1]].end
        if last < start or first > end:
            continue
        first, last = max(first, start), min(last, end)
        stop = min(first + match.characters, last)
        parts += [text[position:first], request.highlight_pre_tag, text[first:stop]]
        parts += [request.highlight_post_tag, text[stop:last]]
        position = last
    parts.append(text[position:end])
    if end < len(text):
        parts.append(request.crop_marker)
    return "".join(parts)


def _score(matches: Sequence[Match]) -> tuple[int, int, int]:
    """Rate an interval: distinct words, nearness, order."""
    order = distance = 0
    for match, following in zip(matches, [*matches[1:], None], strict=True):
        inside = match.words[1] - match.words[0]
        order += inside
        distance -= inside
        if following is not None:
            order += min(following.ids) > min(match.ids)
            distance -= min(7, following.words[0] - match.words[1])
    return len(frozenset().union(*(match.ids for match in matches))), distance, order


def _best_interval(matches: Sequence[Match], size: int) -> tuple[Match, Match]:
    best: tuple[tuple[int, int, int], int, int] | None = None

    def consider(first: int, last: int) -> None:
        nonlocal best
        score = _score(matches[first : last + 1])
        if best is None or score > best[0]:
            best = score, first, last

    first = 0
    for number, match in enumerate(matches):
        end = match.words[1]
        if end - matches[first].words[0] >= size:
            if number:
                consider(first, number - 1)
            while first + 1 < len(matches):
                first += 1
                if matches[first].words[0] > end or end - matches[first].words[0] < size:
                    break
    last = len(matches) - 1
    if first != last or matches[first].words[1] - matches[first].words[0] + 1 < size:
        consider(first, last)
    return (matches[0], matches[0]) if best is None else (matches[best[1]], matches[best[2]])


def _crop_window(tokens: Sequence[Token], matches: Sequence[Match], size: int, length: int) -> tuple[int, int]:
    """Return the characters to keep: `size` words around the best matches, grown to both sides."""
    before, after, left = 0, 0, size
    if matches:
        first, last = _best_interval(matches, size)
        span = last.words[1] - first.words[0] + 1
        if span > size:
            return _shrunk(tokens, last.tokens[1], span - size)
        before, after, left = first.tokens[0], last.tokens[1] + 1, size - span
    while left > 0 and (before > 0 or after < len(tokens)):
        previous = tokens[before - 1] if before > 0 else None
        following = tokens[after] if after < len(tokens) else None
        take_before, take_after = _growth(previous, following, left)
        if take_before:
            before -= 1
            left -= bool(previous and previous.is_word)
        if take_after:
            after += 1
            left -= bool(following and following.is_word)
    start = tokens[before - 1].end if before > 0 else 0
    return start, tokens[after].start if after < len(tokens) else length


def _growth(previous: Token | None, following: Token | None, left: int) -> tuple[bool, bool]:
    if previous is None or following is None:
        return previous is not None, following is not None
    if previous.is_word and following.is_word:
        return True, left > 1
    if previous.is_word or following.is_word:
        return previous.is_word, following.is_word
    if previous.is_hard == following.is_hard:
        return True, left > 1
    return (False, True) if previous.is_hard else (True, False)


def _shrunk(tokens: Sequence[Token], last: int, surplus: int) -> tuple[int, int]:
    """Return the window of a phrase longer than asked: from the start, without its last words."""
    end = min(last + 1, len(tokens) - 1)
    while end >= 0 and surplus > 0:
        surplus -= tokens[end].is_word
        end -= 1
    return 0, tokens[max(end, 0)].start
