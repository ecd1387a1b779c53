"""The list of checks: whole, chosen from by name, and each explained in the guide."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from miroir_cli.checkup.catalogue import CHECKS, CONFIG_CHECKS, selected
from miroir_cli.checkup.examine import examine
from miroir_cli.checkup.facts import Trouble, TroubleKind
from miroir_cli.checkup.finding import Severity, at_least, error, info, warning
from miroir_cli.errors import UsageError
from miroir_cli.model import ReplicaState
from tests.checkup.test_rules import facts, node
from tests.conftest import ROOT

GUIDE = ROOT / "docs" / "guides" / "when-something-is-wrong.md"
NAMES = [check.name for check in CHECKS]
ALL = [*NAMES, *(check.name for check in CONFIG_CHECKS)]


def test_the_list_has_what_the_rules_find_and_nothing_else() -> None:
    source = "".join(path.read_text() for path in sorted((ROOT / "miroir_cli" / "checkup").glob("*.py")))
    source = source.replace((ROOT / "miroir_cli" / "checkup" / "catalogue.py").read_text(), "")
    groups = "|".join(sorted({check.group for check in (*CHECKS, *CONFIG_CHECKS)}))
    found = set(re.findall(rf'(?:\(\s*|check ?= ?|else )"((?:{groups})\.[a-z-]+)"', source))
    found |= {f"node.{kind.value}" for kind in TroubleKind}
    found |= {f"replica.{state.value}" for state in ReplicaState if state is not ReplicaState.SERVING}
    assert found == set(ALL)
    assert len(ALL) == len(set(ALL))


@pytest.mark.parametrize("name", ALL)
def test_the_guide_explains_every_check_in_a_row_of_its_own(name: str) -> None:
    rows = [line for line in GUIDE.read_text().splitlines() if line.startswith("| ") and f"`{name}`" in line]
    assert len(rows) == 1, name
    assert len(rows[0].split(" | ")) == 3


def test_checks_are_chosen_by_name_or_by_group() -> None:
    assert selected() == set(NAMES)
    assert selected(["node.down"]) == {"node.down"}
    assert selected(["key"]) == {name for name in NAMES if name.startswith("key.")}
    assert selected(["key", "node.down"], ["key.file"]) >= {"node.down", "key.master"}
    assert "key.file" not in selected((), ["key.file"])
    assert selected(["node.down"], ["node"]) == set()


@pytest.mark.parametrize(
    ("word", "hint"),
    [("node.dwon", "did you mean `node.down`?"), ("nodes", "did you mean `node`?"), ("x", "--list-checks")],
)
def test_an_unknown_check_is_told_with_the_likely_one(word: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"there is no check `{word}`") as raised:
        selected([word])
    assert hint in (raised.value.hint or "")


def test_only_what_was_asked_for_is_found() -> None:
    silent = facts(replace(node(), trouble=Trouble(kind=TroubleKind.DOWN, message="m"), clock=60.0))
    assert {finding.check for finding in examine(silent).findings} == {"node.down", "node.clock"}
    report = examine(silent, checks=selected(["node.clock"]))
    assert [finding.check for finding in report.findings] == ["node.clock"]
    assert report.checked == 1


def test_the_least_severity_that_counts() -> None:
    found = [info("a", "", "", ""), warning("b", "", "", ""), error("c", "", "", "")]
    for severity, count in ((Severity.ERROR, 1), (Severity.WARNING, 2), (Severity.INFO, 3)):
        assert len(at_least(found, severity)) == count


@pytest.mark.parametrize(
    ("hint", "commands"),
    [
        ("bring node `n2` back, then run `miroir repair books`", ("miroir repair books",)),
        ("run `miroir index create UID --primary-key FIELD`", ()),
        ("run `miroir repair b`, or give up: `miroir repair b --accept-data-loss`", ("miroir repair b",)),
        ("run `kill -CONT 7` to let it go on, or `kill -9 7`", ("kill -CONT 7", "kill -9 7")),
        ("exchange it: run `miroir node replace n2 NAME=URL`", ()),
        ("set `[state] url`", ()),
    ],
)
def test_the_commands_of_a_hint_are_those_that_can_be_typed_as_they_stand(hint: str, commands: tuple[str]) -> None:
    assert warning("a", "b", "c", hint).next == commands
