"""What a backup says of itself: frozen values, written as JSON and checked when they are read. Pure.

A backup is a folder named after its id. `begun.json` is written first and `manifest.json` last, so that a folder
without a manifest is an unfinished backup; a shard's journal says that all its files are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from miroir_cli.errors import BackupDamaged, BackupTooNew

FORMAT: Final = 1
"""Raised with every change that an older miroir would read wrongly."""

MANIFEST: Final = "manifest.json"
BEGUN: Final = "begun.json"

SECRET_PARTS: Final = ("apiKey", "headers")
"""Of an embedder: what is a secret, or may be one."""


Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Time = Annotated[int, msgspec.Meta(ge=0, le=250_000_000_000_000)]
"""Milliseconds since 1970, in years that calendars have."""


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file with documents of a shard, one a line; `name` is below the backup's folder, `sha256` is that of the
    stored bytes."""

    name: str
    bytes: Count
    documents: Count
    sha256: str


class ShardPart(msgspec.Struct, frozen=True, kw_only=True):
    """A shard as it was at one moment: after write `intent` of its index and before any later one. `at` is in
    milliseconds since 1970; `node` is where it was read, in epoch `epoch` of the cluster."""

    shard: Count
    incarnation: int
    at: Time
    intent: int
    epoch: int
    node: str
    documents: Count
    files: tuple[File, ...] = ()


class IndexPart(msgspec.Struct, frozen=True, kw_only=True):
    """An index: what is fixed, the user's settings without miroir's own names, and its shards.

    `secrets` names the settings whose values were left out, such as `embedders.default.apiKey`.
    """

    uid: str
    primary_key: str
    shards: Positive
    replicas: Positive | None
    tie_break: bool
    settings: dict[str, Any]
    secrets: tuple[str, ...] = ()
    created_at: Time = 0
    parts: tuple[ShardPart, ...] = ()

    @property
    def documents(self) -> int:
        return sum(part.documents for part in self.parts)

    @property
    def files(self) -> tuple[File, ...]:
        return tuple(file for part in self.parts for file in part.files)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


class KeyPart(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its value, which follows from its uid and the master key."""

    uid: str
    name: str | None
    description: str | None
    actions: tuple[str, ...]
    indexes: tuple[str, ...]
    expires_at: str | None


class AliasPart(msgspec.Struct, frozen=True, kw_only=True):
    """A name that stands for indexes of the backup: `kind` is `single` or `multi`."""

    name: str
    kind: Literal["single", "multi"]
    targets: tuple[str, ...]


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that has begun: `indexes` as somebody asked for them, None for all. What it writes is the same when it
    goes on."""

    format: Positive
    id: str
    cluster: str
    cluster_id: str
    started_at: Time
    indexes: tuple[str, ...] | None
    compression: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole backup. `compression` is `zstd` or `gzip`; `only`: the indexes that were asked for, None for all.

    `aliases`: those of which every index is in it. An older miroir reads the rest.
    """

    format: Positive
    id: str
    miroir: str
    cluster: str
    cluster_id: str
    epoch: int
    started_at: Time
    finished_at: Time
    compression: str
    indexes: tuple[IndexPart, ...]
    keys: tuple[KeyPart, ...] | None = None
    aliases: tuple[AliasPart, ...] = ()
    only: tuple[str, ...] | None = None

    @property
    def documents(self) -> int:
        return sum(index.documents for index in self.indexes)

    @property
    def bytes(self) -> int:
        return sum(index.bytes for index in self.indexes)

    def index(self, uid: str) -> IndexPart | None:
        return next((index for index in self.indexes if index.uid == uid), None)

    def json(self) -> dict[str, Any]:
        """The contract with scripts: what it has, without the names of files."""
        return {
            "backup": self.id,
            "format": self.format,
            "miroir": self.miroir,
            "cluster": self.cluster,
            "epoch": self.epoch,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "compression": self.compression,
            "documents": self.documents,
            "bytes": self.bytes,
            "indexes": [
                {
                    "index": index.uid,
                    "primary_key": index.primary_key,
                    "shards": index.shards,
                    "replicas": index.replicas,
                    "tie_break": index.tie_break,
                    "documents": index.documents,
                    "bytes": index.bytes,
                    "settings": index.settings,
                    "secrets": list(index.secrets),
                    "parts": [_part_json(part) for part in index.parts],
                }
                for index in self.indexes
            ],
            "keys": None if self.keys is None else [msgspec.to_builtins(key) for key in self.keys],
            "aliases": [msgspec.to_builtins(alias) for alias in self.aliases],
        }


def _part_json(part: ShardPart) -> dict[str, Any]:
    return {
        "shard": part.shard,
        "at": part.at,
        "intent": part.intent,
        "epoch": part.epoch,
        "node": part.node,
        "documents": part.documents,
        "files": len(part.files),
        "bytes": sum(file.bytes for file in part.files),
    }


class _Version(msgspec.Struct):
    format: int


Record = TypeVar("Record", Begun, Manifest, ShardPart)


def encode(record: Begun | Manifest | ShardPart) -> bytes:
    """As it is stored, indented: people look into it."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def decode(content: bytes, kind: type[Record], *, name: str) -> Record:
    """Read it back. Raises `BackupTooNew`, and `BackupDamaged` naming what is wrong; `name` is what errors call it."""
    try:
        if kind is not ShardPart:
            version = msgspec.json.decode(content, type=_Version).format
            if version > FORMAT:
                raise BackupTooNew(
                    f"`{name}` has format {version}, this miroir reads up to {FORMAT}",
                    hint="install a newer miroir",
                )
        found = msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupDamaged(
            f"`{name}` is damaged: {error}", hint="take another backup: `miroir backup list`"
        ) from error
    if isinstance(found, Manifest):
        _check(found, name)
    return found


def _check(manifest: Manifest, name: str) -> None:
    """What the types do not say."""
    uids = [index.uid for index in manifest.indexes]
    files = [file.name for index in manifest.indexes for file in index.files]
    wrongs = [wrong for index in manifest.indexes for wrong in _wrong_with(index)]
    wrongs += [f"index `{uid}` is there twice" for uid in _doubled(uids)]
    wrongs += [f"`{file}` is there twice" for file in _doubled(files)]
    wrongs += [f"`{file}` is outside of the backup" for file in files if not _is_inside(file)]
    if wrongs:
        raise BackupDamaged(f"`{name}` is damaged: {wrongs[0]}", hint="take another backup: `miroir backup list`")


def _wrong_with(index: IndexPart) -> Iterable[str]:
    parts = {part.shard for part in index.parts}
    if not len(index.parts) == len(parts) == index.shards or max(parts) != index.shards - 1:
        yield f"index `{index.uid}` has not every shard once"
    for part in index.parts:
        if part.documents != sum(file.documents for file in part.files):
            yield f"the counts of shard {part.shard} of `{index.uid}` differ"
    if index.documents and not index.primary_key:
        yield f"index `{index.uid}` has documents and no primary key"


def _doubled(names: Iterable[str]) -> Iterable[str]:
    return (name for name, times in Counter(names).items() if times > 1)


def _is_inside(name: str) -> bool:
    """Whether a file's name stays below the backup's folder."""
    return "\0" not in name and not {"", ".", ".."}.intersection(name.split("/"))


def without_secrets(settings: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The settings of an index without the secrets of its embedders, and where there were any."""
    embedders = settings.get("embedders")
    if not isinstance(embedders, Mapping):
        return dict(settings), ()
    secrets = tuple(f"embedders.{path}" for name, each in embedders.items() for path in _secrets(name, each))
    kept = {name: _cleaned(each) for name, each in embedders.items()}
    return {**settings, "embedders": kept}, secrets


def _secrets(path: str, part: Any) -> Iterable[str]:
    """Paths of secrets in an embedder; a composite one has two of them inside."""
    if isinstance(part, Mapping):
        for name, value in part.items():
            if name in SECRET_PARTS and value:
                yield f"{path}.{name}"
            else:
                yield from _secrets(f"{path}.{name}", value)


def _cleaned(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    return {name: _cleaned(value) for name, value in part.items() if not (name in SECRET_PARTS and value)}


def missing_secrets(secrets: Iterable[str], patch: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of the secrets that a patch of the settings says nothing of; null says that there is none any more."""

    def given(value: Any, path: list[str]) -> bool:
        if not path or value is None:
            return True
        return isinstance(value, Mapping) and path[0] in value and given(value[path[0]], path[1:])

    return tuple(path for path in secrets if not given(patch, path.split(".")))
