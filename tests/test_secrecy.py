"""No secret gets into a journal, wherever in a command line it stood; what is no secret stays as it was."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miroir_cli.secrecy import REMOVED, command_line, names_a_secret, secrets_of, text_without_secrets, without_secrets

PLAIN = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=4, max_size=40)
SECRETS = PLAIN.map(lambda text: f"s3cr3t{text}")
"""With a beginning that stands nowhere else."""

PLACES: dict[str, Callable[[str], list[str]]] = {
    "an option": lambda s: ["--key", s],
    "an option with =": lambda s: [f"--api-key={s}"],
    "a command that prints the key": lambda s: ["--key-command", f"echo {s}"],
    "another option": lambda s: ["--target-password", s],
    "a variable": lambda s: [f"MIROIR_NODE_KEY={s}"],
    "an address": lambda s: [f"http://user:{s}@10.0.0.1:7700"],
    "a named address": lambda s: [f"n4=https://user:{s}@host.example/path"],
    "an address without a user": lambda s: [f"http://:{s}@host"],
    "an address with a token alone": lambda s: [f"https://{s}@host.example"],
    "a password with a slash": lambda s: [f"http://user:a/{s}@host"],
    "a password with an at": lambda s: [f"http://user:a@{s}@host"],
    "a parameter": lambda s: [f"https://host/bucket?limit=5&api_key={s}&from=2"],
    "a signature": lambda s: [f"s3://bucket/path?X-Amz-Signature={s}"],
    "no scheme": lambda s: [f"user:{s}@host"],
    "a setting": lambda s: ["embedders=" + json.dumps({"default": {"source": "openAi", "apiKey": s}})],
    "a setting that is not quite JSON": lambda s: [f'embedders={{"default": {{"apiKey": "{s}", }}'],
    "a setting deep inside": lambda s: [json.dumps([{"a": {"b": [{"API_KEY": [s, s]}]}}])],
    "any header": lambda s: ["embedders=" + json.dumps({"x": {"headers": {"X-Custom": s}}})],
    "a header": lambda s: ["-H", f"Authorization: Bearer {s}"],
    "a header of another name": lambda s: ["-H", f"X-Api-Key: {s}"],
    "a bearer token": lambda s: [f"bearer {s}"],
    "a text in JSON": lambda s: [json.dumps({"url": f"http://user:{s}@host"})],
    "a web token": lambda s: [f"--filter=x = eyJhbGciOi.{s}.{s}"],
}


@pytest.mark.parametrize("place", PLACES)
@given(secret=SECRETS, before=st.lists(PLAIN, max_size=3), after=st.lists(PLAIN, max_size=3))
def test_no_secret_stays(place: str, secret: str, before: list[str], after: list[str]) -> None:
    line = command_line(["miroir", *before, *PLACES[place](secret), *after])
    assert secret not in line and "s3cr3t" not in line
    assert REMOVED in line
    words = shlex.split(line)
    assert words[1 : 1 + len(before)] == before
    assert words[len(words) - len(after) :] == after


@given(secret=st.text(min_size=12, max_size=30), around=st.tuples(PLAIN, PLAIN))
def test_what_is_known_to_be_secret_stays_nowhere(secret: str, around: tuple[str, str]) -> None:
    word = f"{around[0]} {secret} {around[1]}"
    [kept] = without_secrets([word], known=[secret])
    assert kept.count(secret) == REMOVED.count(secret) * kept.count(REMOVED)


@given(st.lists(PLAIN | st.sampled_from(["--primary-key", "-k", "id", "--filter", "year < 1950", "a=b c"])))
def test_what_is_no_secret_stays_as_it_was(words: list[str]) -> None:
    words = [word for word in words if not names_a_secret(word)]
    assert shlex.split(command_line(words)) == words


@pytest.mark.parametrize("value", ["aSecretKey16byte", "s3cr3t-key", "0123456789abcdef", "A" * 80])
def test_a_key_in_the_place_of_its_variable_is_removed(value: str) -> None:
    assert without_secrets(["--key-env", value, "x"]) == ["--key-env", REMOVED, "x"]
    assert without_secrets([f"--key-env={value}", "x"]) == [f"--key-env={REMOVED}", "x"]
    assert without_secrets(["--key-env", "NODE_KEY", "--key-env=KEY2"]) == ["--key-env", "NODE_KEY", "--key-env=KEY2"]


@given(st.lists(st.text(max_size=40)))
def test_a_second_time_removes_nothing_more(words: list[str]) -> None:
    once = without_secrets(words)
    assert without_secrets(once) == once
    assert len(once) == len(words)


@pytest.mark.parametrize(
    "words",
    [
        ["index", "create", "books", "--primary-key", "id", "--settings", "settings.json"],
        ["node", "add", "n4=http://10.0.0.4:7700", "--key-env", "NODE_KEY", "--zone", "eu-1"],
        ["node", "add", "n4=http://10.0.0.4:7700", "--key-file", "keys/n4"],
        ["index", "settings", "set", "books", 'separatorTokens=["a"]', 'rankingRules=["words", "price:asc"]'],
        ["index", "settings", "set", "books", 'embedders={"default": {"source": "userProvided", "dimensions": 3}}'],
        ["delete", "books", "--filter", 'title = "a:b" AND year > 1950 AND author IN ["x@y.example"]'],
        ["import", "books", "a b.ndjson", "https://host.example:8080/path/x@2.json?limit=3"],
        ["import", "books", "s3://bucket/key=5/part.ndjson"],
        ["rebalance", "run", "--window", "01:00-05:00", "--yes"],
    ],
    ids=" ".join,
)
def test_command_lines_without_secrets_are_kept_word_by_word(words: list[str]) -> None:
    assert without_secrets(words) == words


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("node `n1` at http://u:p@h:7700 cannot be reached", "node `n1` at http://u:REDACTED@h:7700 cannot be reached"),
        ("the key is wrong: api_key=abcdef", "the key is wrong: api_key=REDACTED"),
        ("index `books`: 3 of 5 failed", "index `books`: 3 of 5 failed"),
        ('{"apiKey": "sk-\\"1"}, done', '{"apiKey": "REDACTED"}, done'),
    ],
)
def test_messages_lose_their_secrets_and_nothing_else(text: str, kept: str) -> None:
    assert text_without_secrets(text) == kept


def test_names_tell_what_is_secret() -> None:
    secret = ["--key", "API_KEY", "apiKey", "X-Api-Key", "password", "AWS_SECRET_ACCESS_KEY", "access_token", "key"]
    assert [name for name in secret if not names_a_secret(name)] == []
    plain = ["--primary-key", "primaryKey", "--key-env", "key_file", "separatorTokens", "maxTokens", "author", "keys"]
    assert [name for name in plain if names_a_secret(name)] == []


def test_variables_that_are_secret_are_found_by_their_names() -> None:
    environment = {
        "NODE_KEY": "abcdefghijkl",
        "HOME": "/home/someone",
        "X_TOKEN": "rebalance",
        "KEY_FILE": "/a/b/c/d/e/f",
    }
    assert secrets_of(environment) == {"abcdefghijkl"}
