"""`miroir init`: what it writes, what it checks, what it refuses."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from miroir_cli.cli.init import Wanted, complete, folder_name, parse_node
from miroir_cli.dev.engine.testing import Engine, running_engine
from miroir_cli.errors import UsageError
from miroir_cli.model import Node, NodeName
from tests.conftest import Miroir

ONE = ["--node", "n1=http://127.0.0.1:1"]


def written(folder: Path) -> dict[str, dict[str, object]]:
    return tomllib.loads((folder / "miroir.toml").read_text())


def test_a_file_is_written_when_all_nodes_answered(miroir: Miroir, nodes: list[str], tmp_path: Path) -> None:
    done = miroir("init", *nodes, "--name", "books")
    assert done.status == 0
    assert "wrote `miroir.toml`: cluster `books`, 3 nodes, 24 shards, 2 replicas of each" in done.out
    assert "hint: run `miroir index create UID" in done.err
    assert written(tmp_path)["cluster"]["name"] == "books"
    assert "# " in (tmp_path / "miroir.toml").read_text()
    assert miroir("status").status == 0


def test_the_json_document_names_the_file_and_what_the_nodes_are(miroir: Miroir, nodes: list[str]) -> None:
    found = miroir("init", *nodes, "--json", "--shards", "5", "--replicas", "3").json
    assert found["topology"] == "miroir.toml"
    assert (found["shards"], found["replicas"], found["written"]) == (5, 3, True)
    assert [node["name"] for node in found["nodes"]] == ["n1", "n2", "n3"]
    assert {node["engine"] for node in found["nodes"]} == {"miroir-embedded"}


def test_a_file_that_is_there_stays(miroir: Miroir, tmp_path: Path) -> None:
    (tmp_path / "miroir.toml").write_text("mine")
    done = miroir("init", *ONE, "--no-check")
    assert done.status == 14
    assert "--force" in done.err
    assert (tmp_path / "miroir.toml").read_text() == "mine"
    assert miroir("init", *ONE, "--no-check", "--force").status == 0
    assert "n1" in (tmp_path / "miroir.toml").read_text()


def test_a_node_that_does_not_answer_stops_it(miroir: Miroir, tmp_path: Path) -> None:
    done = miroir("init", *ONE)
    assert done.status == 5
    assert "node `n1` cannot be reached" in done.err
    assert "--no-check" in done.err
    assert not (tmp_path / "miroir.toml").exists()


def test_every_node_that_does_not_answer_is_named(miroir: Miroir) -> None:
    done = miroir("init", *ONE, "--node", "n2=http://127.0.0.1:2")
    assert "warning: node `n2`" in done.err
    assert "error: node `n1`" in done.err


def test_a_wrong_key_is_an_error_of_its_own(miroir: Miroir, tmp_path: Path) -> None:
    with running_engine(tmp_path / "disk", master_key="a-long-enough-master-key") as engine:
        words = ["init", "--node", f"n1={engine.url}"]
        assert miroir(*words).status == 12
        unset = miroir(*words, "--key-env", "BOOKS_KEY")
        assert unset.status == 12
        assert "`BOOKS_KEY` is not set" in unset.err
        wrong = miroir(*words, "--key-env", "BOOKS_KEY", env={"BOOKS_KEY": "not-the-key-at-all"})
        assert wrong.status == 12
        assert "not-the-key-at-all" not in wrong.err + wrong.out
        right = miroir(*words, "--key-env", "BOOKS_KEY", env={"BOOKS_KEY": "a-long-enough-master-key"})
        assert right.status == 0
    assert "a-long-enough-master-key" not in (tmp_path / "miroir.toml").read_text()


def test_something_else_than_meilisearch_is_recognised(miroir: Miroir, engines: list[Engine]) -> None:
    done = miroir("init", "--node", f"n1={engines[0].url}/elsewhere")
    assert done.status in (2, 5, 6)
    assert "n1" in done.err


def test_two_nodes_with_one_url_are_an_error(miroir: Miroir) -> None:
    done = miroir("init", *ONE, "--node", "n2=http://localhost:1/", "--no-check")
    assert done.status == 6
    assert "nodes[1].url" in done.err


def test_more_replicas_than_nodes_are_an_error(miroir: Miroir) -> None:
    assert miroir("init", *ONE, "--replicas", "2", "--no-check").status == 6


def test_a_dry_run_prints_the_file_only(miroir: Miroir, tmp_path: Path) -> None:
    done = miroir("init", *ONE, "--no-check", "--dry-run", "--name", "books")
    assert tomllib.loads(done.out)["cluster"]["name"] == "books"
    assert not (tmp_path / "miroir.toml").exists()
    assert miroir("init", *ONE, "--no-check", "--dry-run", "--json").json["written"] is False


def test_without_nodes_and_without_a_terminal_it_says_how_to_name_them(miroir: Miroir) -> None:
    done = miroir("init")
    assert done.status == 2
    assert "--node n1=http://" in done.err


def test_the_file_can_stand_elsewhere(miroir: Miroir, tmp_path: Path) -> None:
    done = miroir("init", *ONE, "--no-check", "-t", "sub/cluster.toml")
    assert done.status == 0
    assert (tmp_path / "sub" / "cluster.toml").exists()
    assert "-t sub/cluster.toml" in done.err


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("n1=http://a:1", Node(name=NodeName("n1"), url="http://a:1")),
        (
            "n1=http://a:1,group=b,zone=eu,weight=2.5",
            Node(name=NodeName("n1"), url="http://a:1", group="b", zone="eu", weight=2.5),
        ),
    ],
)
def test_a_node_is_read_from_one_word(text: str, node: Node) -> None:
    assert parse_node(text) == node


@pytest.mark.parametrize("text", ["n1", "n1=", "=http://a:1", "n1=http://a:1,x=2", "n1=http://a:1,weight=heavy"])
def test_a_word_that_is_no_node_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="n1|http"):
        parse_node(text)


@pytest.mark.parametrize(("count", "replicas", "shards"), [(1, 1, 24), (2, 2, 24), (3, 2, 24), (5, 2, 40)])
def test_usual_values_follow_the_number_of_nodes(count: int, replicas: int, shards: int) -> None:
    nodes = tuple(parse_node(f"n{number}=http://a:{number + 1}") for number in range(count))
    found = complete(Wanted(nodes=nodes, name=None, shards=None, replicas=None, key_env=None), folder="my books")
    assert (found.name, found.replicas, found.shards) == ("my-books", replicas, shards)


def test_any_folder_gives_a_name() -> None:
    assert [folder_name(folder) for folder in ("", "数据", "My Books!", ".hidden")] == [
        "miroir",
        "miroir",
        "My-Books",
        "hidden",
    ]


def test_the_state_is_where_the_command_line_says(miroir: Miroir, tmp_path: Path) -> None:
    words = ("init", *ONE, "--no-check", "--state", "redis://10.0.0.9:6379/0", "--password-env", "REDIS_PASSWORD")
    assert miroir(*words).status == 0
    assert written(tmp_path)["state"] == {"url": "redis://10.0.0.9:6379/0", "password_env": "REDIS_PASSWORD"}
    assert miroir("init", *ONE, "--no-check", "--force").status == 0
    assert written(tmp_path)["state"] == {"url": "sqlite:.miroir/state.db"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--state", "redis://:s3cret@h"), "`--state` has a password in it"),
        (("--state", "mysql://h"), "`--state` does not begin with `sqlite:`"),
        (("--password-env", "s3-cret"), "is not the name of an environment variable"),
    ],
)
def test_a_place_of_the_state_that_cannot_be_one_is_refused(
    miroir: Miroir, tmp_path: Path, words: tuple[str, str], said: str
) -> None:
    done = miroir("init", *ONE, "--no-check", *words)
    assert done.status == 2 and said in done.err and "s3cret" not in done.err
    assert not (tmp_path / "miroir.toml").exists()
