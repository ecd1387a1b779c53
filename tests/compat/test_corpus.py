"""The corpus against one real Meilisearch and against `miroir serve` over three of them, byte by byte."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.compat.compare import comparable
from tests.compat.corpus import PARTS
from tests.compat.differences import CLIENT_STEPS, DIFFERENCES
from tests.compat.play import Answer, Apart, Side, play
from tests.compat.servers import plain_server, proxy_server


def test_the_corpus_has_three_hundred_requests_and_more() -> None:
    assert sum(map(len, PARTS.values())) >= 300


def test_every_known_difference_is_shown_by_a_request() -> None:
    named = {ask.differs for asks in PARTS.values() for ask in asks} - {None}
    assert named == set(DIFFERENCES)


def test_every_step_that_differs_belongs_to_a_known_difference() -> None:
    assert set(CLIENT_STEPS.values()) <= set(DIFFERENCES)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    folder = tmp_path_factory.mktemp("compat")
    with plain_server(folder / "plain") as one, proxy_server(folder / "cluster") as other:
        with Side(one) as plain, Side(other) as proxy:
            yield plain, proxy


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", PARTS)
def test_a_cluster_answers_as_one_server(both: tuple[Side, Side], part: str) -> None:
    apart = list(play(PARTS[part], *both))
    assert not (unnamed := [each for each in apart if each.ask.differs is None]), "\n\n".join(map(str, unnamed))
    gone = [ask for ask in PARTS[part] if ask.differs and ask not in [each.ask for each in apart]]
    assert not gone, "known differences that are no more: " + ", ".join(map(str, gone))
    assert not (wrong := [each for each in apart if not as_known(each)]), "\n\n".join(map(str, wrong))


def as_known(apart: Apart) -> bool:
    """Whether the answers still agree in what their known difference leaves alone."""
    difference = DIFFERENCES[str(apart.ask.differs)]
    return not difference.same_code or code(apart.plain) == code(apart.proxy)


def code(answer: Answer) -> tuple[int, str | None]:
    """The status and the error's code, also that of a task that failed."""
    told = json.loads(answer.task or answer.body)
    return answer.status, (told.get("error") or told).get("code")


def test_a_rule_hides_nothing_but_what_it_is_for() -> None:
    shown = '{"uid":3,"enqueuedAt":"2026-01-02T03:04:05.678901234Z","duration":"PT0.1S","details":{"a":"2026"}}'
    assert comparable(shown) == '{"uid":3,"enqueuedAt":"<moment>","duration":"<duration>","details":{"a":"2026"}}'
    assert comparable('{"enqueuedAt":"yesterday"}') == '{"enqueuedAt":"yesterday"}'
