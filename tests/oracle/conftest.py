"""One tally over all kinds of requests, printed after a run over real servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.oracle.compare import EQUAL_COUNTS
from tests.oracle.run import Tally

PROPERTY, UNNAMED = "oracle", "oracle, without a name"
Record = Callable[[str, Tally], None]


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Record:
    """`record(kind, tally)` adds to what is printed at the end."""

    def add(kind: str, tally: Tally) -> None:
        counts = {"requests": tally.asked, "without a name": len(tally.unnamed), **tally.named}
        record_property(PROPERTY, (kind, counts))
        for text in tally.unnamed:
            record_property(UNNAMED, text)

    return add


def pytest_terminal_summary(terminalreporter: Any) -> None:
    found: dict[str, Counter[str]] = {}
    unnamed: list[str] = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == PROPERTY and report.when == "call":
                    found.setdefault(value[0], Counter()).update(value[1])
                elif name == UNNAMED and report.when == "call":
                    unnamed.append(value)
    if not found:
        return
    terminalreporter.section("one server against clusters")
    for kind, counts in [*sorted(found.items()), ("all", sum(found.values(), Counter()))]:
        asked = counts.pop("requests")
        apart = counts.pop("without a name", 0)
        named = sum(counts.values())
        terminalreporter.write_line(
            f"{kind}: {asked} requests, {apart} apart without a name, {named} by name ({named / asked:.2%}), of these "
            f"{counts[EQUAL_COUNTS]} as two servers with the same documents are apart ({EQUAL_COUNTS})"
        )
        for name, count in counts.most_common():
            terminalreporter.write_line(f"    {count:5} {name}")
    for text in unnamed:
        terminalreporter.write_line(text)
