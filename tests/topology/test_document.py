from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miroir_cli.errors import NotFound, TopologyInvalid
from miroir_cli.model import Node, NodeName, Secret
from miroir_cli.topology.document import TopologyDocument
from miroir_cli.topology.file import EXAMPLE, check_topology

COMMENTED = """\
# Our cluster. Ask the search team before you touch it.
[cluster]
name = "books"    # since 2021

[defaults]
key_env = "KEY"

# The nodes, oldest first.
[[nodes]]
name = "n1"       # the old one
url = "http://a"
# zone = "one"
weight = 1.5      # bigger disk

# The second.
[[nodes]]
url = "http://b"
name = "n2"

# The third.
[[nodes]]
name = "n3"
url = "http://c"
# weight = 7

# Where we are.
[state]
url = "sqlite:s.db"
# the end
"""
SOURCE = Path("miroir.toml")


def new(name: str = "n4", **keys: object) -> Node:
    return Node(name=NodeName(name), url=f"http://{name}", **keys)  # type: ignore[arg-type]


def document(text: str = COMMENTED) -> TopologyDocument:
    return TopologyDocument(SOURCE, text)


def names(edited: TopologyDocument) -> list[str]:
    return [node.name for node in edited.topology().nodes]


def test_a_node_is_added_below_the_last_one_and_nothing_else_changes() -> None:
    edited = document()
    edited.add_node(new(zone="z", weight=2.0, key=Secret(env="KEY")))
    added = '[[nodes]]\nname = "n4"\nurl = "http://n4"\nzone = "z"\nweight = 2.0\n\n'
    assert edited.text == COMMENTED.replace("# Where we are.", added + "# Where we are.")
    assert edited.topology().nodes[-1] == new(zone="z", weight=2.0, key=Secret(env="KEY"))


def test_a_node_with_a_key_of_its_own_says_where_it_is() -> None:
    edited = document()
    edited.add_node(new(group="b", key=Secret(command='pass show "n 4"')))
    assert edited.topology().nodes[-1].key == Secret(command='pass show "n 4"')


def test_a_node_is_added_at_the_end_of_a_file_that_does_not_end_its_last_line() -> None:
    edited = document(EXAMPLE.rstrip("\n"))
    edited.add_node(new("n6", group="b"))
    assert names(edited) == ["n1", "n2", "n3", "n4", "n5", "n6"]
    assert edited.text.startswith(EXAMPLE)


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("n1", COMMENTED[COMMENTED.index('[[nodes]]\nname = "n1"') : COMMENTED.index("# The second.")]),
        ("n2", '[[nodes]]\nurl = "http://b"\nname = "n2"\n\n'),
        ("n3", '[[nodes]]\nname = "n3"\nurl = "http://c"\n'),
    ],
)
def test_a_node_is_taken_out_and_the_comments_around_it_stay(name: str, gone: str) -> None:
    edited = document()
    edited.remove_node(name)
    assert edited.text == COMMENTED.replace(gone, "")
    assert names(edited) == [other for other in ("n1", "n2", "n3") if other != name]


def test_a_changed_value_keeps_the_comment_behind_it() -> None:
    edited = document()
    edited.set_weight("n1", 3)
    edited.change_node("n2", url="http://other", zone="z")
    assert "weight = 3.0      # bigger disk" in edited.text
    assert edited.text.replace("3.0", "1.5").replace("http://other", "http://b") == COMMENTED.replace(
        'name = "n2"\n', 'name = "n2"\nzone = "z"\n'
    )


def test_a_new_key_goes_below_the_last_one_and_none_takes_one_out() -> None:
    edited = document()
    edited.set_weight("n3", 2)
    assert 'url = "http://c"\nweight = 2.0\n# weight = 7\n' in edited.text
    edited.change_node("n3", weight=None)
    assert edited.topology().node("n3").weight == 1.0
    assert edited.text == COMMENTED


def test_a_node_is_drained_and_taken_back() -> None:
    edited = document()
    edited.change_node("n2", drained=True)
    assert edited.text == COMMENTED.replace('name = "n2"\n', 'name = "n2"\ndrained = true\n')
    assert edited.topology().node("n2").drained
    edited.change_node("n2", drained=None)
    assert edited.text == COMMENTED


def test_edits_may_be_valid_together_that_are_not_one_by_one() -> None:
    edited = document(
        COMMENTED.replace("# since 2021", "\nreplicas = 2") + '[[nodes]]\nname = "n4"\nurl = "http://d"\n'
    )
    for name in ("n3", "n4"):
        edited.change_node(name, group="b")
    assert len(edited.topology().groups()["b"]) == 2
    for name in ("n3", "n4"):
        edited.change_node(name, drained=True)
    assert [node.name for node in edited.topology().active_nodes] == ["n1", "n2"]


def test_a_replaced_node_keeps_its_place_and_its_comments() -> None:
    edited = document()
    other = new("n9", zone="z", weight=1.5, key=Secret(env="KEY"))
    edited.replace_node("n1", other)
    assert edited.topology().nodes[0] == other
    assert edited.text == COMMENTED.replace('"n1"       # the', '"n9"       # the').replace(
        '"http://a"', '"http://n9"'
    ).replace("# bigger disk\n", '# bigger disk\nzone = "z"\n')
    for node in (
        new("n1", key=Secret(file="n1.key"), drained=True),
        new("n1", key=Secret(command="pass n1"), group="b", weight=2.0),
        new("n9", key=Secret(env="KEY")),
    ):
        edited.replace_node(edited.topology().nodes[0].name, node)
        assert edited.topology().nodes[0] == node
    assert names(edited) == ["n9", "n2", "n3"]
    with pytest.raises(NotFound, match="`n7`"):
        edited.replace_node("n7", new())


def test_a_replaced_node_leaves_defaults_that_were_written_out() -> None:
    text = COMMENTED.replace("weight = 1.5 ", "weight = 1.0 ")
    edited = document(text)
    edited.replace_node("n1", new("n9", key=Secret(env="KEY")))
    assert edited.text == text.replace('"n1"', '"n9"').replace('"http://a"', '"http://n9"')


def test_a_replaced_node_with_another_key_names_one_key_only() -> None:
    edited = document(COMMENTED.replace("weight = 1.5 ", 'key_env = "KEY"\nweight = 1.5 '))
    edited.replace_node("n1", new("n9", key=Secret(file="n9.key")))
    assert edited.topology().nodes[0].key == Secret(file="n9.key")


def test_a_node_in_one_list_is_replaced_and_drained_in_place() -> None:
    text = 'nodes = [{name = "n1", url = "http://a"}, {name = "n2", url = "http://b"}] # all\n[cluster]\nname = "x"\n'
    edited = document(text)
    edited.replace_node("n1", new("n3", zone="z"))
    edited.change_node("n2", drained=True)
    assert edited.text == text.replace('"n1"', '"n3"').replace('"http://a"', '"http://n3", zone = "z"').replace(
        '"http://b"', '"http://b", drained = true'
    )


def test_a_key_of_the_cluster_is_changed_and_added_below_the_others() -> None:
    edited = document()
    edited.set_cluster("replicas", 2)
    assert edited.text == COMMENTED.replace("# since 2021\n", "# since 2021\nreplicas = 2\n")
    edited.set_cluster("replicas", 3)
    edited.set_cluster("name", "films")
    assert edited.text == COMMENTED.replace('"books"', '"films"').replace(
        "# since 2021\n", "# since 2021\nreplicas = 3\n"
    )
    assert edited.topology().cluster.replicas == 3


@pytest.mark.parametrize("written", ['cluster.name = "x"\n', 'cluster = {name = "x"} # it\n', ""])
def test_a_key_of_the_cluster_is_set_however_the_table_is_written(written: str) -> None:
    nodes = '[[nodes]]\nname = "n1"\nurl = "http://a"\n\n[[nodes]]\nname = "n2"\nurl = "http://b"\n'
    edited = document(written + nodes)
    edited.set_cluster("replicas", 2)
    edited.set_cluster("name", "y")
    assert (edited.topology().cluster.name, edited.topology().cluster.replicas) == ("y", 2)
    assert edited.text.endswith(nodes)
    assert ("# it" in edited.text) == ("# it" in written)


def test_nodes_written_in_one_list_are_edited_in_place() -> None:
    nodes = 'nodes = [\n  {name = "n1", url = "http://a"}, # one\n  {name = "n2", url = "http://b"},\n]\n'
    text = f'{nodes}[cluster]\nname = "x"\n'
    edited = document(text)
    edited.add_node(new("n3", weight=2.0))
    edited.set_weight("n1", 5)
    edited.remove_node("n2")
    assert [(node.name, node.weight) for node in edited.topology().nodes] == [("n1", 5.0), ("n3", 2.0)]
    assert "# one" in edited.text


def test_line_ends_stay_as_they_are() -> None:
    edited = document(COMMENTED.replace("\n", "\r\n"))
    edited.add_node(new())
    edited.set_weight("n2", 4)
    edited.remove_node("n1")
    assert edited.text.count("\n") == edited.text.count("\r\n")
    assert names(edited) == ["n2", "n3", "n4"]


def test_headers_are_found_however_they_are_written() -> None:
    edited = document(COMMENTED.replace('[[nodes]]\nname = "n3"', '  [[ "nodes" ]] # third\nname = "n3"'))
    edited.remove_node("n3")
    edited.add_node(new())
    assert names(edited) == ["n1", "n2", "n4"]


@pytest.mark.parametrize("inside", ["[[nodes]]", "[[nodes]]\nname = 1"])
def test_a_text_that_is_not_understood_is_refused_and_stays(inside: str) -> None:
    text = COMMENTED.replace('key_env = "KEY"', f'key_command = """\n{inside}\n"""')
    edited = document(text)
    with pytest.raises(TopologyInvalid, match="cannot be edited here"):
        edited.remove_node("n1")
    assert edited.text == text
    assert names(edited) == ["n1", "n2", "n3"]


def test_an_unknown_node_is_not_found() -> None:
    with pytest.raises(NotFound, match="`n9`"):
        document().remove_node("n9")
    with pytest.raises(NotFound, match="`n9`"):
        document().set_weight("n9", 1)


def test_what_would_be_invalid_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "miroir.toml"
    path.write_text(COMMENTED)
    edited = TopologyDocument.load(path)
    edited.add_node(new("n1"))
    with pytest.raises(TopologyInvalid, match=r"nodes\[3\].name"):
        edited.save()
    for name in ("n3", "n2"):
        edited = TopologyDocument.load(path)
        edited.change_node(name, weight=-1)
        with pytest.raises(TopologyInvalid, match="weight"):
            edited.save()
    assert path.read_text() == COMMENTED


def test_the_last_node_cannot_be_saved_away(tmp_path: Path) -> None:
    path = tmp_path / "miroir.toml"
    path.write_text('[cluster]\nname = "x"\n\n[[nodes]]\nname = "n1"\nurl = "http://a"\n')
    edited = TopologyDocument.load(path)
    edited.remove_node("n1")
    with pytest.raises(TopologyInvalid, match="has no node"):
        edited.save()


def test_saving_keeps_mode_and_link_and_leaves_nothing_behind(tmp_path: Path) -> None:
    real, link = tmp_path / "real" / "books.toml", tmp_path / "miroir.toml"
    real.parent.mkdir()
    real.write_text(COMMENTED)
    real.chmod(0o640)
    link.symlink_to("real/books.toml")
    edited = TopologyDocument.load(link)
    edited.add_node(new())
    assert [node.name for node in edited.save().nodes] == ["n1", "n2", "n3", "n4"]
    assert link.is_symlink()
    assert real.read_text() == edited.text
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert os.listdir(real.parent) == ["books.toml"]
    edited.remove_node("n4")
    edited.save()
    assert real.read_text().replace("\n\n", "\n") == COMMENTED.replace("\n\n", "\n")


def test_a_file_that_changed_or_went_away_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "miroir.toml"
    path.write_text(COMMENTED)
    edited = TopologyDocument.load(path)
    edited.add_node(new())
    path.write_text(COMMENTED + "# mine\n")
    with pytest.raises(TopologyInvalid, match="changed by somebody else"):
        edited.save()
    assert path.read_text() == COMMENTED + "# mine\n"
    path.unlink()
    with pytest.raises(TopologyInvalid, match="changed by somebody else"):
        edited.save()


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "miroir.toml"
    path.write_text(COMMENTED)
    edited = TopologyDocument.load(path)
    edited.add_node(new())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(TopologyInvalid, match="No space left"):
        patched.setattr(os, "fsync", full)
        edited.save()
    assert path.read_text() == COMMENTED
    assert os.listdir(tmp_path) == ["miroir.toml"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "remove", "weight"]), st.integers(1, 6)), max_size=8))
def test_any_edits_keep_the_comments_outside_of_tables_and_end_in_what_was_asked(edits: list[tuple[str, int]]) -> None:
    edited = document()
    expected = {node.name: node.weight for node in edited.topology().nodes}
    for what, number in edits:
        name = NodeName(f"n{number}")
        if what == "add" and name not in expected:
            edited.add_node(new(name))
            expected[name] = 1.0
        elif what == "remove" and name in expected and len(expected) > 1:
            edited.remove_node(name)
            del expected[name]
        elif what == "weight" and name in expected:
            edited.set_weight(name, number / 2)
            expected[name] = number / 2
    assert {node.name: node.weight for node in check_topology(edited.text, SOURCE).nodes} == expected
    for comment in (
        "# Our cluster.",
        "# since 2021",
        "# The nodes",
        "# The second",
        "# The third",
        "# Where",
        "# the end",
    ):
        assert comment in edited.text
