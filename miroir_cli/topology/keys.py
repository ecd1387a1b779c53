"""The nodes' keys and Redis's password, from where the topology file says they are. No error and no repr ever shows
one."""

from __future__ import annotations

import hashlib
import hmac
import os
import shlex
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from miroir_cli.errors import AuthenticationFailed, TopologyInvalid

if TYPE_CHECKING:
    from miroir_cli.model import Secret

COMMAND_LIMIT = 10.0
"""Seconds for a key_command or password_command."""

LONGEST_FILE = 64 * 1024


def resolve_key(secret: Secret | None, *, base: Path, environ: Mapping[str, str] | None = None) -> str | None:
    """The key itself; None where the topology file names nothing. May wait for a command: call it in a thread.

    `base` is the folder of the topology file: key files are relative to it and commands run in it. Raises
    `AuthenticationFailed` saying what is missing, `TopologyInvalid` for a command that cannot be split into words.
    """
    if secret is None:
        return None
    if secret.env is not None:
        return _from_environment(secret.env, os.environ if environ is None else environ, secret.what)
    if secret.file is not None:
        return _from_file(_path(secret.file, base), secret.what)
    return None if secret.command is None else _from_command(secret.command, base, secret.what)


def value_of(uid: str, master_key: str) -> str:
    """The value of an API key, as Meilisearch makes it of its uid and the master key."""
    return hmac.new(master_key.encode(), uid.encode(), hashlib.sha256).hexdigest()


def source_of(secret: Secret | None) -> str | None:
    """Where a key is, in words without any of it: the arguments of a command may be secret."""
    if secret is None:
        return None
    if secret.env is not None:
        return f"environment variable {secret.env}"
    if secret.file is not None:
        return f"{secret.what} file {secret.file}"
    return f"{secret.what}_command {(secret.command or '').split(None, 1)[0]}"


def key_file_is_open(secret: Secret | None, *, base: Path) -> bool:
    """Whether other users of this machine can read the key file; False without a file."""
    if secret is None or secret.file is None:
        return False
    try:
        return bool(_path(secret.file, base).stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except (OSError, ValueError):
        return False


def _path(written: str, base: Path) -> Path:
    try:
        return base / Path(written).expanduser()
    except RuntimeError:  # `~user` of a user that does not exist
        return base / written


def _from_environment(name: str, environ: Mapping[str, str], what: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        problem = "is empty" if name in environ else "is not set"
        raise AuthenticationFailed(
            f"environment variable `{name}` {problem}", hint=f"run `export {name}=...`, or change {what}_env"
        )
    return _usable(value, f"environment variable `{name}`", what)


def _from_file(path: Path, what: str) -> str:
    where = f"{what} file `{path}`"
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise AuthenticationFailed(f"{where} cannot be read: {reason}", hint=f"check {what}_file") from None
    if len(content) > LONGEST_FILE:
        raise AuthenticationFailed(f"{where} is too long for a {what}", hint=f"check {what}_file")
    return _usable(content.decode("utf-8", "replace").strip(), where, what)


def _from_command(command: str, base: Path, what: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        raise TopologyInvalid(
            f"{what}_command cannot be split into words", hint="check its quotes; it runs without a shell"
        )
    where = f"{what}_command `{words[0]}`"  # its arguments may be secret
    hint = "run it by hand to see why"
    try:
        done = subprocess.run(
            words, cwd=base, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        raise AuthenticationFailed(f"{where} did not end within {COMMAND_LIMIT:g} s", hint=hint) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a program's name"
        raise AuthenticationFailed(f"{where} cannot be run: {reason}", hint="it runs without a shell") from None
    if done.returncode != 0:
        raise AuthenticationFailed(f"{where} ended with status {done.returncode}", hint=hint)
    return _usable(
        done.stdout.decode("utf-8", "replace").partition("\n")[0].strip(), f"the first line of {where}", what
    )


def _usable(value: str, where: str, what: str) -> str:
    """A key is sent in a header: one line of visible ASCII."""
    if not value:
        owner = "the nodes' key" if what == "key" else f"the {what}"
        raise AuthenticationFailed(f"{where} is empty", hint=f"it should hold {owner}")
    if not (value.isascii() and value.isprintable()):
        raise AuthenticationFailed(
            f"{where} holds characters that cannot be in a {what}", hint=f"a {what} is one line of ASCII characters"
        )
    return value
