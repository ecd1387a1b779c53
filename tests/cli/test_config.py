"""`miroir config check` and `show`: all problems at once, with lines; what would change; nothing secret."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.dev.engine.testing import Engine, running_engine
from miroir_cli.topology.table import PASSWORDS, SECRETS
from tests.backends import about_the_file
from tests.cli.conftest import edit, take_out
from tests.conftest import ROOT, Finished, Miroir

SECRET = "correct-horse-battery-staple-9"

WRONG = f"""\
# the old one was password = "{SECRET}"
[cluster]
name = "books and more"
replcas = 2
shards = "many"

[defaults]
key_env = "NO_SUCH_KEY"

[[nodes]]
name = "n1"
url = "10.0.0.1:7700"

[[nodes]]
nmae = "n2"
url = "http://user:{SECRET}@10.0.0.2:7700"
weight = -1
api_key = "{SECRET}"

[serve]
port = 70000
"""

RIGHT = """\
[cluster]
name = "books"
replicas = 2

[[nodes]]
name = "n1"
url = "http://127.0.0.1:7701"

[[nodes]]
name = "n2"
url = "http://127.0.0.1:7702"
"""


def write(folder: Path, text: str) -> None:
    (folder / "miroir.toml").write_text(text)


def told(done: Finished) -> list[tuple[int | None, str, str]]:
    """Line, check and key of each finding."""
    return [(each["line"], each["check"], each["where"]) for each in done.json["findings"]]


def test_every_problem_is_told_at_once_with_its_line(miroir: Miroir, tmp_path: Path) -> None:
    write(tmp_path, WRONG)
    done = miroir("config", "check", "--json")
    assert (done.status, done.json["valid"]) == (6, False)
    assert told(done) == [
        (3, "file.value", "cluster.name"),
        (4, "file.value", "cluster.replcas"),
        (5, "file.value", "cluster.shards"),
        (12, "file.value", "nodes[0].url"),
        (14, "file.value", "nodes[1].name"),
        (15, "file.value", "nodes[1].nmae"),
        (16, "file.secret", "nodes[1].url"),
        (17, "file.value", "nodes[1].weight"),
        (18, "file.secret", "nodes[1].api_key"),
        (21, "file.value", "serve.port"),
        (1, "file.secret", "line 1"),
        (8, "file.key", "defaults.key_env"),
    ]
    assert SECRET not in done.out + done.err
    shown = miroir("config", "check")
    assert shown.status == 6
    assert SECRET not in shown.out
    assert "miroir.toml:4: error: `cluster.replcas` is not a key that miroir knows\n  did you mean `replicas`?\n" in (
        shown.out
    )
    assert shown.err.startswith("error: found 10 errors in `miroir.toml`\n")


def test_other_commands_tell_the_first_one_and_how_to_see_the_rest(miroir: Miroir, tmp_path: Path) -> None:
    write(tmp_path, WRONG)
    done = miroir("status")
    assert done.status == 6
    assert "`cluster.name` is `books and more`" in done.err
    assert "(and 9 more: `miroir config check` shows them)" in done.err
    write(tmp_path, RIGHT.replace("replicas", "replcas"))
    assert "more:" not in miroir("status").err


@pytest.mark.parametrize(
    ("text", "check", "line"),
    [
        ("[cluster\n", "file.syntax", 1),
        ('[cluster]\nname = "x"\nname = "y"\n', "file.syntax", 3),
        ("", "file.unreadable", None),
        ("\ufeff[cluster]", "file.unreadable", None),
    ],
)
def test_what_cannot_be_read_at_all(miroir: Miroir, tmp_path: Path, text: str, check: str, line: int | None) -> None:
    write(tmp_path, text)
    done = miroir("config", "check", "--json")
    assert (done.status, [each[:2] for each in told(done)]) == (6, [(line, check)])


def test_without_a_file_it_says_how_to_make_one(miroir: Miroir) -> None:
    for words in (["check"], ["show"]):
        done = miroir("config", *words)
        assert (done.status, "miroir init" in done.err) == (6, True)


def test_a_right_file_is_told_to_be_right(miroir: Miroir, tmp_path: Path) -> None:
    write(tmp_path, RIGHT)
    done = miroir("config", "check")
    assert (done.status, done.err) == (0, "")
    assert done.out == "miroir.toml: all is well: cluster `books`, 2 nodes, 2 copies of each shard\n"
    assert miroir("config", "check", "--json").json == {
        "file": "miroir.toml",
        "valid": True,
        "findings": [],
        "changes": [],
    }
    assert not (tmp_path / ".miroir").exists()


@pytest.mark.parametrize(
    ("more", "check", "line"),
    [
        ('[defaults]\nkey_env = "NO_SUCH_KEY"\n', "file.key", 13),
        ('[defaults]\nkey_file = "no.key"\n', "file.key", 13),
        ('[defaults]\nkey_command = "false"\n', "file.key", 13),
        (f'[defaults]\nkey_command = "echo {SECRET}"\n', "file.secret", 13),
        (f"[defaults]\nkey_command = \"sh -c 'exit 0' --token={SECRET}\"\n", "file.secret", 13),
        (f"# token: {SECRET}\n", "file.secret", 12),
        ('[serve]\nhost = "0.0.0.0"\n', "file.open", 13),
        ("[serve]\nworkers = 64\n", "file.workers", 13),
        ('[serve]\nkey_env = "K"\n[serve.admin]\nkey_env = "K"\n', "file.one-key", 14),
    ],
)
def test_what_can_be_read_and_is_not_safe(miroir: Miroir, tmp_path: Path, more: str, check: str, line: int) -> None:
    write(tmp_path, RIGHT + more)
    done = miroir("config", "check", "--json", env={"K": "a-key-of-more-than-sixteen-bytes"})
    assert done.status == 0
    found = [each for each in told(done) if each[1] == check]
    assert [each[0] for each in found] == [line]
    assert SECRET not in done.out


def test_keys_that_go_to_other_machines_in_plain_text(miroir: Miroir, tmp_path: Path) -> None:
    key = '[defaults]\nkey_env = "K"\n'
    away = RIGHT.replace("127.0.0.1:7702", "10.0.0.2:7702")
    for text, told_ in ((RIGHT + key, False), (away, False), (away + key, True)):
        write(tmp_path, text)
        done = miroir("config", "check", "--json", env={"K": "a-key-of-more-than-sixteen-bytes"})
        assert (("file.plain" in [each[1] for each in told(done)]), done.status) == (told_, 0)


def test_what_makes_it_fail_is_chosen(miroir: Miroir, tmp_path: Path) -> None:
    write(tmp_path, RIGHT + '[defaults]\nkey_env = "NO_SUCH_KEY"\n')
    assert miroir("config", "check", "--fail-on", "warning").status == 6
    assert miroir("config", "check").status == 0
    write(tmp_path, WRONG)
    assert miroir("config", "check", "--fail-on", "none").status == 0


def test_files_that_others_can_read_or_change(miroir: Miroir, tmp_path: Path) -> None:
    write(tmp_path, RIGHT + '[defaults]\nkey_file = "n.key"\n')
    (tmp_path / "n.key").write_text("a-key-of-more-than-sixteen-bytes")
    (tmp_path / "n.key").chmod(0o644)
    (tmp_path / "miroir.toml").chmod(0o666)
    found = miroir("config", "check", "--json").json["findings"]
    assert [(each["check"], each["next"]) for each in found] == [
        ("topology.writable", ["chmod o-w miroir.toml"]),
        ("key.file", ["chmod 600 n.key"]),
    ]


def changes(done: Finished) -> dict[str, dict[str, Any]]:
    return {each["check"]: each for each in done.json["changes"]}


@about_the_file("Redis is not asked for it")
def test_what_the_file_asks_for_and_the_cluster_does_not_have(
    ready: Miroir, spare: Engine, engines: list[Engine], tmp_path: Path
) -> None:
    ready("index", "create", "books", "-k", "id")
    assert changes(ready("config", "check", "--json")) == {}
    text = (tmp_path / "miroir.toml").read_text()
    write(tmp_path, f'{text}\n[[nodes]]\nname = "n4"\nurl = "{spare.url}"\n')
    found = changes(ready("config", "check", "--json"))
    assert set(found) == {"change.added", "change.placement"}
    assert found["change.added"]["next"] == ["miroir rebalance run"]
    assert "3 replicas to copy" in found["change.placement"]["message"]
    done = ready("config", "check")
    assert (done.status, done.out.splitlines()[1]) == (0, "change: node `n4` is new: it has no shards yet")
    assert ready("rebalance", "run", "--yes").status == 0
    assert changes(ready("config", "check", "--json")) == {}
    edit(tmp_path, 'name = "n4"', 'name = "n4"\ndrained = true')
    assert set(changes(ready("config", "check", "--json"))) == {"change.drained", "change.placement"}
    take_out(tmp_path, "n4")
    found = changes(ready("config", "check", "--json"))
    assert set(found) == {"change.removed", "change.placement"}
    assert found["change.removed"]["message"] == "node `n4` is no longer in the file: its 3 replicas go to the others"
    assert ready("rebalance", "run", "--yes").status == 0
    edit(tmp_path, "replicas = 2 ", "replicas = 3 ")
    assert set(changes(ready("config", "check", "--json"))) == {"change.replicas", "change.placement"}
    edit(tmp_path, "replicas = 3 ", "replicas = 2 ")
    edit(tmp_path, f"{engines[0].url}", f"http://localhost:{engines[0].port}")
    found = changes(ready("config", "check", "--json"))
    assert set(found) == {"change.url"}
    edit(tmp_path, f"http://localhost:{engines[0].port}", f"{engines[0].url}")
    write(tmp_path, (tmp_path / "miroir.toml").read_text() + "weight = 5.0\n")
    assert set(changes(ready("config", "check", "--json"))) == {"change.placement"}


def test_nodes_are_asked_when_that_is_wished(ready: Miroir, engines: list[Engine]) -> None:
    engines[1].stop()
    assert ready("config", "check").status == 0
    done = ready("config", "check", "--online", "--json")
    assert (done.status, [each["check"] for each in done.json["findings"]]) == (6, ["node.down"])


def test_a_key_is_tried_on_the_nodes_when_that_is_wished(miroir: Miroir, tmp_path: Path) -> None:
    with running_engine(tmp_path / "disk", master_key="a-key-of-more-than-sixteen-bytes") as engine:
        write(
            tmp_path,
            f'[cluster]\nname = "x"\n[defaults]\nkey_env = "K"\n[[nodes]]\nname = "n1"\nurl = "{engine.url}"\n',
        )
        for key, status in (("another-key-of-more-than-sixteen", 6), ("a-key-of-more-than-sixteen-bytes", 0)):
            done = miroir("config", "check", "--online", "--json", env={"K": key})
            assert (done.status, key in done.out) == (status, False)


def test_every_setting_is_shown_with_where_it_comes_from(miroir: Miroir, tmp_path: Path) -> None:
    more = f"[defaults]\nkey_command = 'sh -c \"exit 0\" {SECRET}'\n[serve]\nport = 7000\n"
    write(tmp_path, RIGHT + 'key_env = "K"\n' + more)
    done = miroir("config", "show", "--json", env={"MIROIR_SERVE_WORKERS": "3"})
    assert (done.status, SECRET in done.out) == (0, False)
    shown = {each["key"]: (each["value"], each["source"], each["line"]) for each in done.json["settings"]}
    assert shown["cluster.replicas"] == (2, "file", 3)
    assert shown["cluster.shards"] == (24, "default", None)
    assert shown["nodes[0].url"] == ("http://127.0.0.1:7701", "file", 7)
    assert shown["nodes[0].key"] == ("key_command sh", "defaults", 14)
    assert shown["nodes[1].key"] == ("environment variable K", "file", 12)
    assert shown["serve.port"] == (7000, "file", 16)
    assert shown["serve.workers"] == ("3", "variable", None)
    assert shown["serve.key"] == (None, "default", None)
    assert done.json["found_by"] == "in this folder"
    assert done.json["state_file"] == str(tmp_path / ".miroir" / "state.db")
    text = miroir("config", "show").out
    assert SECRET not in text and "[defaults], line 14" in text


def test_how_the_file_was_found_is_shown(miroir: Miroir, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(RIGHT)
    assert miroir("-t", "other.toml", "config", "show", "--json").json["found_by"] == "--topology"
    found = miroir("config", "show", "--json", env={"MIROIR_TOPOLOGY": "other.toml"}).json
    assert (found["found_by"], found["file"]) == ("MIROIR_TOPOLOGY", "other.toml")


def test_every_key_that_the_file_may_have_is_shown(miroir: Miroir, tmp_path: Path) -> None:
    table = (ROOT / "docs" / "reference" / "topology.md").read_text()
    write(tmp_path, RIGHT)
    shown = {each["key"] for each in miroir("config", "show", "--json").json["settings"]}
    for name in ("[cluster]", "[state]", "[serve]"):
        row = next(line for line in table.splitlines() if line.startswith(f"| `{name}` |"))
        keys = set(re.findall(r"`(\w+)`", row.split("|")[2])) - {*SECRETS, *PASSWORDS, "admin"}
        assert {f"{name[1:-1]}.{key}" for key in keys} <= shown


def test_the_commands_of_the_guide_run(ready: Miroir) -> None:
    page = (ROOT / "docs" / "guides" / "when-something-is-wrong.md").read_text()
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S) for line in block.splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert ready(*shlex.split(line, comments=True)[1:]).status == 0
