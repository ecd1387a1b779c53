"""What a restore or a copy remembers between two processes: small files beside the state file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from miroir_cli.errors import StateUnavailable
from miroir_cli.topology.save import replaced


class Remembered:
    """A JSON object under a name of its own, kept until `forget`. Blocks."""

    def __init__(self, folder: Path, what: Mapping[str, object]) -> None:
        name = hashlib.sha256(msgspec.json.encode(dict(what), order="sorted")).hexdigest()[:20]
        self.path = folder / f"{name}.json"
        self._what = what

    def read(self) -> dict[str, Any]:
        """What was saved last; nothing when that cannot be read."""
        try:
            found = msgspec.json.decode(self.path.read_bytes())
        except (OSError, msgspec.DecodeError):
            return {}
        return found["kept"] if isinstance(found, dict) and isinstance(found.get("kept"), dict) else {}

    def save(self, kept: Mapping[str, Any]) -> None:
        """Raises `StateUnavailable`."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replaced(self.path) as file:
                file.write(msgspec.json.encode({"what": self._what, "kept": kept}))
        except OSError as error:
            raise StateUnavailable(
                f"`{self.path}` cannot be written: {error.strerror}",
                hint="check the owner, the mode and the free space",
            ) from error

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
