"""The glossary has every word of the vocabulary, in order, and the words are used for nothing else."""

from __future__ import annotations

import re

import pytest

from miroir_cli.model import ReplicaState
from tests.conftest import ROOT

ROWS = re.findall(r"^\| (.+?) \| (.+) \|$", (ROOT / "docs/concepts/glossary.md").read_text(), re.M)[1:]
WORDS = {word.strip("`") for words, _ in ROWS for word in words.split(", ")}

VOCABULARY = (
    *("cluster", "node", "replica group", "shard", "replica", "placement", "in sync", "stale", "epoch", "run", "step"),
    *("plan", "intent", "settle", "order lock", "state store", "topology file", "primary key", "min_in_sync", "task"),
    *(
        "node task",
        "proxy",
        "embedded node",
        "drained",
        "zone",
        "weight",
        "fence",
        "cut",
        "switch",
        "partial",
        "frozen",
    ),
    *("journal", "finding", "backup", "session", "window", "write in doubt", "uncovered", "drift", "move", "rejected"),
)
"""The words that the design gives one meaning each."""


@pytest.mark.parametrize("word", [*VOCABULARY, *(state.value for state in ReplicaState)])
def test_every_word_is_explained(word: str) -> None:
    assert word in WORDS


def test_words_stand_in_order_and_once() -> None:
    listed = [words.split(", ")[0].strip("`") for words, _ in ROWS]
    assert listed == sorted(listed, key=lambda word: word.replace("_", " "))
    assert len(set(listed)) == len(listed)


def test_an_explanation_is_short() -> None:
    for words, meaning in ROWS:
        assert 20 < len(meaning) < 200, words
