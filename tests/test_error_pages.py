"""Every error has its cause and its cure in docs/errors.toml, and its section in the reference."""

from __future__ import annotations

import re
import tomllib

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from docs.error_page import EXPLANATIONS, tree
from miroir_cli.cli.app import app
from miroir_cli.errors import MiroirError
from tests.conftest import ROOT, Miroir

EXPLAINED = tomllib.loads(EXPLANATIONS.read_text())
ENTRIES = {**EXPLAINED, **EXPLAINED["proxy"]}
del ENTRIES["proxy"]
PAGE = (ROOT / "docs" / "reference" / "errors.md").read_text()


@pytest.mark.parametrize("kind", list(tree(MiroirError)), ids=lambda kind: kind.__name__)
def test_every_error_has_its_section(kind: type[MiroirError]) -> None:
    assert kind.__name__ in EXPLAINED, "write its cause and cure into docs/errors.toml"
    section = PAGE.partition(f"\n## {kind.code}\n")[2].partition("\n## ")[0]
    assert EXPLAINED[kind.__name__]["cause"] in section and EXPLAINED[kind.__name__]["cure"] in section


def test_codes_that_only_the_proxy_answers_have_theirs() -> None:
    package = "".join(path.read_text() for path in (ROOT / "miroir_cli").rglob("*.py") if "dev/engine" not in str(path))
    raised = set(re.findall(r'ApiError\(\s*"(miroir_\w+)"', package))
    known = {kind.code for kind in tree(MiroirError)}
    assert raised - known == set(EXPLAINED["proxy"])


def test_nothing_is_explained_that_does_not_exist() -> None:
    assert set(EXPLAINED) - {"proxy"} == {kind.__name__ for kind in tree(MiroirError)}


@pytest.mark.parametrize("name", ENTRIES)
def test_causes_and_cures_are_sentences_that_name_what_exists(name: str) -> None:
    for text in ENTRIES[name].values():
        assert re.match(r"[A-Z`\[]|ctrl-C", text) and text.endswith((".", ")."))
        for line in re.findall(r"`miroir ([a-z][^`]*)`", text):
            command = get_command(app)
            for word in line.split():
                if not isinstance(command, TyperGroup):
                    break
                found = command.get_command(None, word)  # type: ignore[arg-type]
                assert found is not None, f"no command `miroir {line}`"
                command = found
            options = {name for option in command.params for name in option.opts}
            assert {word for word in line.split() if word.startswith("--")} <= options, line


def test_an_error_tells_where_it_is_explained_when_asked_for_more(miroir: Miroir) -> None:
    done = miroir("-v", "status")
    assert done.status == 6
    target = re.search(r"^explained: (\S+)#(\S+)$", done.err, re.M)
    assert target is not None
    assert f"\n## {target[2]}\n" in (ROOT / target[1]).read_text()
    assert "explained" not in miroir("status").err
