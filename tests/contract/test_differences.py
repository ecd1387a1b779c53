"""Every difference is asserted by name, and every name asserted is in the table."""

from __future__ import annotations

import re
from pathlib import Path

from miroir_cli.dev.engine.differences import DIFFERENCES


def test_the_table_and_the_suite_name_the_same_differences() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert set(re.findall(r'"difference: ([a-z0-9-]+)"', sources)) == set(DIFFERENCES)


def test_each_difference_is_one_sentence() -> None:
    assert all(sentence.endswith(".") for sentence in DIFFERENCES.values())
