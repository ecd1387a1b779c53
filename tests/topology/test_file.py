from __future__ import annotations

import re
from pathlib import Path

import pytest

from miroir_cli.errors import NotFound, TopologyInvalid
from miroir_cli.model import Node, NodeName, Secret
from miroir_cli.topology.file import (
    EXAMPLE,
    ClusterSettings,
    check_topology,
    find_topology,
    load_topology,
    render_topology,
)

SMALL = """\
[cluster]
name = "books"

[[nodes]]
name = "n1"
url = "http://10.0.0.1:7700"

[[nodes]]
name = "n2"
url = "http://10.0.0.2:7700"
"""
SOURCE = Path("miroir.toml")


def refusal(text: str) -> TopologyInvalid:
    with pytest.raises(TopologyInvalid) as caught:
        check_topology(text, SOURCE)
    assert "miroir.toml" in caught.value.message
    assert not caught.value.message.endswith(".")
    assert caught.value.hint
    return caught.value


def change(old: str, new: str) -> str:
    assert SMALL.count(old) == 1
    return SMALL.replace(old, new)


# -- the example


def test_the_example_has_every_key_and_each_is_read() -> None:
    topology = check_topology(EXAMPLE, SOURCE)
    assert topology.cluster == ClusterSettings(name="books", shards=24, replicas=2, min_in_sync=1, partial="error")
    assert topology.state.url == "sqlite:.miroir/state.db"
    key = Secret(env="MIROIR_NODE_KEY")
    assert topology.nodes == (
        Node(name=NodeName("n1"), url="http://10.0.0.1:7700", group="a", zone="eu-1", key=key),
        Node(name=NodeName("n2"), url="http://10.0.0.2:7700", group="a", zone="eu-2", weight=2.0, key=key),
        Node(name=NodeName("n3"), url="http://10.0.1.1:7700", group="b", key=Secret(file="n3.key")),
        Node(name=NodeName("n4"), url="http://10.0.1.2:7700", group="b", key=key),
        Node(name=NodeName("n5"), url="http://10.0.1.3:7700", group="b", drained=True, key=key),
    )
    assert [node.name for node in topology.active_nodes] == ["n1", "n2", "n3", "n4"]
    every = (
        "name shards replicas min_in_sync partial url key_env key_file key_command group zone weight drained".split()
    )
    assert all(re.search(rf"^(# )?{key} = ", EXAMPLE, re.MULTILINE) for key in every)


@pytest.mark.parametrize("key", ["key_file", "key_command"])
def test_what_the_example_shows_in_comments_is_read_too(key: str) -> None:
    lines = [line for line in EXAMPLE.splitlines() if not line.startswith("key_env")]
    text = "\n".join(line.removeprefix("# ") if line.startswith(f"# {key} = ") else line for line in lines)
    secret = check_topology(text, SOURCE).nodes[0].key
    assert secret is not None and secret.env is None
    assert bool(secret.file) == (key == "key_file") and bool(secret.command) == (key == "key_command")


def test_a_rendered_file_says_what_it_was_given() -> None:
    nodes = (
        Node(name=NodeName("a.1"), url="https://a:1", zone="z", weight=0.5, key=Secret(command='pass "a b"')),
        Node(name=NodeName("b"), url="http://b"),
    )
    text = render_topology(name="books", nodes=nodes, shards=7, replicas=2, min_in_sync=2, partial="allow")
    topology = check_topology(text, SOURCE)
    assert topology.nodes == nodes
    assert topology.cluster == ClusterSettings(name="books", shards=7, replicas=2, min_in_sync=2, partial="allow")


def test_defaults_are_those_of_one_small_cluster() -> None:
    topology = check_topology(SMALL, SOURCE)
    assert topology.cluster == ClusterSettings(name="books")
    assert topology.state.url == "sqlite:.miroir/state.db"
    assert [(node.group, node.zone, node.weight, node.key) for node in topology.nodes] == [
        ("main", None, 1.0, None)
    ] * 2


def test_a_drained_node_takes_no_shards_and_too_few_others_are_refused_by_name() -> None:
    drained = change('name = "n2"', 'name = "n2"\ndrained = true')
    topology = check_topology(drained, SOURCE)
    assert [node.name for node in topology.active_nodes] == ["n1"]
    assert len(topology.nodes) == 2
    error = refusal(drained.replace('name = "books"', 'name = "books"\nreplicas = 2'))
    assert "`cluster.replicas` is 2, the cluster has 1 node that takes shards (`n2` is drained)" in error.message
    error = refusal(drained.replace('url = "http://10.0.0.1:7700"', 'url = "http://10.0.0.1:7700"\ndrained = true'))
    assert "the cluster has 0 nodes that take shards (`n1`, `n2` are drained)" in error.message


# -- errors that name the key


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ('name = "n2"', 'name = "n2"\nweigth = 2', "`nodes[1].weigth` is not a key", "did you mean `weight`?"),
        ('name = "books"', 'name = "books"\nreplica = 2', "`cluster.replica` is not a key", "`replicas`"),
        ("[cluster]", "[clusters]\n[cluster]", "`clusters` is not a key", "`cluster`"),
        ("[cluster]", '[state]\nurls = "sqlite:x"\n[cluster]', "`state.urls` is not a key", "`url`"),
        ("[cluster]", '[defaults]\nkeyenv = "X"\n[cluster]', "`defaults.keyenv` is not a key", "`key_env`"),
        ('name = "books"', "name = 5", "`cluster.name` is the number 5, expected a string", ""),
        ('name = "books"', 'title = "x"', "`cluster.name` is missing", ""),
        ('name = "books"', 'name = ""', "`cluster.name` is empty", ""),
        ('name = "books"', 'name = "b\\n"', "`cluster.name` is `b\n`", ""),
        ('name = "books"', 'name = "b"\nshards = "24"', "`cluster.shards` is a string, expected a whole number", ""),
        ('name = "books"', 'name = "b"\nshards = 0', "`cluster.shards` is 0, expected 1 to 65536", ""),
        ('name = "books"', 'name = "b"\nshards = 65537', "`cluster.shards` is 65537, expected 1 to 65536", ""),
        ('name = "books"', 'name = "b"\nshards = 1.5', "`cluster.shards` is the number 1.5", ""),
        ('name = "books"', 'name = "b"\nshards = true', "`cluster.shards` is true, expected a whole number", ""),
        ('name = "books"', 'name = "b"\nshards = 2026-01-01', "`cluster.shards` is a date or time", ""),
        ('name = "books"', 'name = "b"\nreplicas = 0', "`cluster.replicas` is 0", ""),
        ('name = "books"', 'name = "b"\nreplicas = 3', "`cluster.replicas` is 3, the cluster has 2 nodes", "add nodes"),
        ('name = "books"', 'name = "b"\nmin_in_sync = 2', "each shard has 1 replicas in all", "replicas x groups"),
        ('name = "books"', 'name = "b"\npartial = "maybe"', '`cluster.partial` is "maybe", expected "error"', ""),
        ('"n2"', '"n 2"', "`nodes[1].name` is `n 2`", ""),
        ('"n2"', '"n1"', "`nodes[1].name` is `n1`, the same as `nodes[0].name`", ""),
        ('name = "n2"\n', "", "`nodes[1].name` is missing", ""),
        ('name = "n2"', 'name = "n2"\nweight = 0', "`nodes[1].weight` is the number 0, expected one above 0", ""),
        ('name = "n2"', 'name = "n2"\nweight = -1', "`nodes[1].weight` is the number -1", ""),
        ('name = "n2"', 'name = "n2"\nweight = inf', "`nodes[1].weight` is the number inf", ""),
        ('name = "n2"', 'name = "n2"\nweight = nan', "`nodes[1].weight` is the number nan", ""),
        ('name = "n2"', f'name = "n2"\nweight = 1{"0" * 400}', "`nodes[1].weight` is a large number", ""),
        ('name = "n2"', 'name = "n2"\nweight = "2"', "`nodes[1].weight` is a string, expected a number", ""),
        ('name = "n2"', 'name = "n2"\ndrained = "yes"', "`nodes[1].drained` is a string, expected true or false", ""),
        ('name = "n2"', 'name = "n2"\ndrained = 1', "`nodes[1].drained` is the number 1, expected true or false", ""),
        ('name = "n2"', 'name = "n2"\nzone = ["a"]', "`nodes[1].zone` is a list, expected a string", ""),
        ('name = "n2"', 'name = "n2"\ngroup = {a = 1}', "`nodes[1].group` is a table, expected a string", ""),
        ("http://10.0.0.2:7700", "10.0.0.2:7700", "`nodes[1].url` is `10.0.0.2:7700`", "`http://10.0.0.2:7700`"),
        ("http://10.0.0.2:7700", "ftp://10.0.0.2", "expected http://HOST:PORT or https://HOST:PORT", ""),
        ("http://10.0.0.2:7700", "http://", "expected http://HOST:PORT", ""),
        ("http://10.0.0.2:7700", "http://a:b", "which is not a url", ""),
        ("http://10.0.0.2:7700", "http://a:70000", "which is not a url", ""),
        ("http://10.0.0.2:7700", "http://[::1", "which is not a url", ""),
        ("http://10.0.0.2:7700", "http://a b", "expected http://HOST:PORT", ""),
        ("http://10.0.0.2:7700", "HTTP://10.0.0.1:7700/", "the same as `nodes[0].url`", ""),
        (
            "[cluster]",
            '[state]\nurl = "redis://:pw@h"\n[cluster]',
            "`state.url` has a password in it",
            "use password_env, password_file or password_command",
        ),
        (
            "[cluster]",
            '[state]\nurl = "state.db"\n[cluster]',
            "does not begin with `sqlite:`",
            "sqlite:PATH",
        ),
        ("[cluster]", '[state]\nurl = "sqlite:"\n[cluster]', "which names no file", ""),
        ("[cluster]", '[state]\nurl = "sqlite::memory:"\n[cluster]', "which names no file", ""),
        ("[cluster]", "state = 1\n[cluster]", "`state` is the number 1, expected a table", ""),
    ],
)
def test_a_mistake_is_named_with_its_key(old: str, new: str, message: str, hint: str) -> None:
    error = refusal(change(old, new))
    assert message in error.message
    assert hint in (error.hint or "")


def test_replicas_beyond_the_nodes_of_one_group_name_the_group() -> None:
    text = change('name = "n2"', 'name = "n2"\ngroup = "b"').replace('"books"', '"books"\nreplicas = 2')
    text += '[[nodes]]\nname = "n3"\nurl = "http://c"\n'
    assert "`cluster.replicas` is 2, group `b` has 1 node" in refusal(text).message


def test_a_group_of_drained_nodes_is_on_its_way_out_and_held_to_nothing() -> None:
    text = change('name = "n2"', 'name = "n2"\ngroup = "b"\ndrained = true').replace('"books"', '"books"\nreplicas = 2')
    text += '[[nodes]]\nname = "n3"\nurl = "http://c"\n'
    assert [node.name for node in check_topology(text, SOURCE).active_nodes] == ["n1", "n3"]
    beyond = text.replace("replicas = 2", "replicas = 2\nmin_in_sync = 3")
    assert "each shard has 2 replicas in all" in refusal(beyond).message


def test_min_in_sync_counts_the_replicas_of_all_groups() -> None:
    text = change('name = "n2"', 'name = "n2"\ngroup = "b"').replace('"books"', '"books"\nmin_in_sync = 2')
    assert check_topology(text, SOURCE).cluster.min_in_sync == 2


@pytest.mark.parametrize("text", ['[cluster]\nname = "b"\n', 'nodes = []\n[cluster]\nname = "b"\n'])
def test_a_cluster_needs_a_node(text: str) -> None:
    assert "`nodes` has no node" in refusal(text).message


def test_one_table_of_nodes_is_not_a_list_of_them() -> None:
    error = refusal('[cluster]\nname = "b"\n[nodes]\nname = "n1"\n')
    assert "`nodes` is a table, expected a list of tables" in error.message
    assert "`[[nodes]]`" in (error.hint or "")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("http://books", "http://books:80/"),
        ("https://Books/", "https://books:443"),
        ("http://localhost:7700", "http://127.0.0.1:7700"),
        ("http://[::1]:7700", "http://localhost:7700"),
        ("http://books./x", "http://books/x/"),
    ],
)
def test_one_server_under_two_spellings_is_refused(first: str, second: str) -> None:
    text = SMALL.replace("http://10.0.0.1:7700", first).replace("http://10.0.0.2:7700", second)
    assert "the same as `nodes[0].url`" in refusal(text).message


def test_servers_that_differ_in_scheme_port_or_path_are_two() -> None:
    for second in ("https://10.0.0.1:7700", "http://10.0.0.1:7701", "http://10.0.0.1:7700/two"):
        assert len(check_topology(change("http://10.0.0.2:7700", second), SOURCE).nodes) == 2


# -- secrets


@pytest.mark.parametrize("key", ["key", "api_key", "apiKey", "master-key", "password", "token"])
@pytest.mark.parametrize("above", ["[cluster]", '[[nodes]]\nname = "n3"\nurl = "http://c"'])
def test_a_key_written_into_the_file_is_refused_without_repeating_it(key: str, above: str) -> None:
    text = f'{above}\n{key} = "s3cret-value"\n'
    text = SMALL + text if above != "[cluster]" else change("[cluster]\n", text)
    error = refusal(text)
    assert "s3cret" not in f"{error} {error.hint}"
    assert key in error.message
    if key != "apiKey":
        assert "is a secret written into the file" in error.message
        assert "key_env" in (error.hint or "")


@pytest.mark.parametrize(
    "url", ["http://u:s3cret@h:7700", "http://s3cret@h", "http://u:s3cret@h:x", "u:s3cret@h", "http://h?key=s3cret"]
)
def test_a_secret_in_a_url_is_not_repeated(url: str) -> None:
    error = refusal(change("http://10.0.0.2:7700", url))
    assert "`nodes[1].url` has " in error.message
    assert "s3cret" not in f"{error} {error.hint}"


@pytest.mark.parametrize("url", ["redis://:s3cret@h", "rediss://u:s3cret@h", "postgres://u:s3cret@h"])
def test_a_secret_in_the_state_url_is_not_repeated(url: str) -> None:
    error = refusal(change("[cluster]", f'[state]\nurl = "{url}"\n[cluster]'))
    assert "s3cret" not in f"{error} {error.hint}"


def test_a_key_in_place_of_a_variable_is_not_repeated() -> None:
    error = refusal(change("[cluster]", '[defaults]\nkey_env = "s3cret-Value"\n[cluster]'))
    assert "`defaults.key_env` is not the name of an environment variable" in error.message
    assert "s3cret" not in f"{error} {error.hint}"


def test_a_node_takes_its_own_key_before_the_default_one() -> None:
    text = change("[cluster]", '[defaults]\nkey_env = "ALL"\n[cluster]') + 'key_command = "pass n2"\n'
    first, second = check_topology(text, SOURCE).nodes
    assert first.key == Secret(env="ALL")
    assert second.key == Secret(command="pass n2")


def test_two_places_for_one_key_are_refused() -> None:
    error = refusal(SMALL + 'key_env = "A"\nkey_file = "b"\n')
    assert "`nodes[1].key_file` and `key_env` are both given" in error.message


# -- files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"\xef\xbb\xbf[cluster]", "begins with a byte order mark"),
        (b'[cluster]\nname = "\xff"', "line 2: not UTF-8 text"),
        (b"[cluster]\nname = \n", "line 2: not TOML (unexpected character"),
        (b'[cluster]\nname = "a"\nname = "b"\n', 'line 3: not TOML (key "name" already exists'),
        (b"[cluster]\nname = books\n", "line 2: not TOML"),
        (b"x = 1\n" * 200_000, "is larger than 1 MiB"),
    ],
    ids=["empty", "blank", "mark", "not-utf-8", "no-value", "twice", "no-quotes", "huge"],
)
def test_a_file_that_cannot_be_read_is_one_clear_error(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "miroir.toml"
    path.write_bytes(content)
    with pytest.raises(TopologyInvalid) as caught:
        load_topology(path)
    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_missing_file_or_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TopologyInvalid, match="does not exist") as caught:
        load_topology(tmp_path / "none.toml")
    assert "miroir init" in (caught.value.hint or "")
    with pytest.raises(TopologyInvalid, match="is a folder"):
        load_topology(tmp_path)
    with pytest.raises(TopologyInvalid, match="cannot be read"):
        load_topology(tmp_path / ("x" * 300))


def test_the_first_place_that_names_a_file_wins(tmp_path: Path) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    places = {
        "explicit": tmp_path / "explicit.toml",
        "variable": tmp_path / "variable.toml",
        "folder": here / "miroir.toml",
        "home": home / ".config" / "miroir" / "miroir.toml",
    }
    for path in places.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SMALL)
    environ = {"HOME": str(home)}
    named = {**environ, "MIROIR_TOPOLOGY": str(places["variable"])}
    assert find_topology(places["explicit"], named, folder=here) == places["explicit"]
    assert find_topology(None, named, folder=here) == places["variable"]
    assert find_topology(None, environ, folder=here) == places["folder"]
    assert find_topology(None, {**environ, "MIROIR_TOPOLOGY": ""}, folder=tmp_path) == places["home"]
    with pytest.raises(TopologyInvalid, match="no topology file") as caught:
        find_topology(None, {}, folder=tmp_path)
    assert "miroir init" in (caught.value.hint or "")


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "miroir.toml").write_text(SMALL)
    with pytest.raises(TopologyInvalid, match="named by MIROIR_TOPOLOGY"):
        find_topology(None, {"MIROIR_TOPOLOGY": str(tmp_path / "none.toml")}, folder=tmp_path)
    with pytest.raises(TopologyInvalid, match="is a folder"):
        find_topology(tmp_path, {}, folder=tmp_path)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("sqlite:.miroir/state.db", "{}/.miroir/state.db"),
        ("sqlite:/var/x.db", "/var/x.db"),
        ("sqlite:///var/x.db", "/var/x.db"),
    ],
)
def test_the_state_is_beside_the_file_unless_its_path_is_absolute(written: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "miroir.toml"
    path.write_text(change("[cluster]", f'[state]\nurl = "{written}"\n[cluster]'))
    assert str(load_topology(path).state_path) == expected.format(tmp_path.resolve())


def test_a_node_that_is_not_there_names_the_likely_one() -> None:
    topology = check_topology(EXAMPLE, SOURCE)
    assert topology.node("n3").group == "b"
    assert {name: len(nodes) for name, nodes in topology.groups().items()} == {"a": 2, "b": 3}
    with pytest.raises(NotFound, match="node `n33` is not in") as caught:
        topology.node("n33")
    assert "did you mean `n3`?" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("port = 0", "`serve.port` is 0, expected 1 to 65535", "topology.md"),
        ('port = "http"', "`serve.port` is a string, expected a whole number", "topology.md"),
        ("worker = 2", "`serve.worker` is not a key that miroir knows", "`workers`"),
        ("hedge = 1", "`serve.hedge` is the number 1, expected true or false", "topology.md"),
        ("header_timeout = -1", "`serve.header_timeout` is the number -1, expected one above 0", "topology.md"),
        ('admin = "secret"', "`serve.admin` is a string, expected a table", "topology.md"),
        ('admin = { key = "secret" }', "`serve.admin.key` is a secret written into the file", "key_env"),
    ],
)
def test_what_is_wrong_with_serving_is_named(written: str, message: str, hint: str) -> None:
    text = f'[cluster]\nname = "x"\n[serve]\n{written}\n[[nodes]]\nname = "n1"\nurl = "http://a:1"\n'
    with pytest.raises(TopologyInvalid) as raised:
        check_topology(text, SOURCE)
    assert message in raised.value.message
    assert hint in (raised.value.hint or "")
    assert 'secret"' not in raised.value.message


def test_serving_has_defaults_and_keeps_what_is_written() -> None:
    text = '[cluster]\nname = "x"\n[serve]\nport = 8000\nheal = false\n[[nodes]]\nname = "n1"\nurl = "http://a:1"\n'
    serve = check_topology(text, SOURCE).serve
    assert (serve.host, serve.port, serve.workers, serve.heal, serve.hedge) == ("127.0.0.1", 8000, 1, False, True)
