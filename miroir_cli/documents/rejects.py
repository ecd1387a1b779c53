"""Lines that were not imported: counted, shown by example, and written to a file for whoever mends them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from miroir_cli.errors import TemporaryError

if TYPE_CHECKING:
    from miroir_cli.documents.chunk import Reject

SHOWN: Final = 5
"""Rejects kept to be shown."""


class RejectsFile:
    """The file of `--rejects`: one JSON object a line, `{"file", "line", "reason", "document"}`. Blocks.

    `document` is the document itself when it is JSON, else its text. Without a path only the first few are kept.
    """

    def __init__(self, path: Path | None, names: Sequence[str]) -> None:
        self.path = path
        self.first: list[str] = []
        self._names = names

    def begin(self, resume: tuple[int, int] | None) -> None:
        """Start the file anew, or with what stands in it up to a line of a source (the rest is found again)."""
        if self.path is None:
            return
        kept = b""
        try:
            if resume is not None and self.path.exists():
                with self.path.open("rb") as file:
                    kept = b"".join(line for line in file if self._stands(line, *resume))
            self.path.write_bytes(kept)
        except OSError as error:
            raise self._failed(error) from error

    def _stands(self, line: bytes, source: int, last_line: int) -> bool:
        try:
            entry: Any = msgspec.json.decode(line)
            place = self._names.index(entry["file"]), entry["line"]
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
            return False
        return place <= (source, last_line)

    def add(self, source: int, rejects: Sequence[Reject]) -> None:
        """Write rejects of a source, on disk before this returns."""
        name = self._names[source]
        for reject in rejects[: SHOWN - len(self.first)] if len(self.first) < SHOWN else ():
            self.first.append(f"{name}, line {reject.line}: {reject.reason}")
        if self.path is None or not rejects:
            return
        lines = [msgspec.json.encode(_entry(name, reject)) + b"\n" for reject in rejects]
        try:
            with self.path.open("ab") as file:
                file.write(b"".join(lines))
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> TemporaryError:
        return TemporaryError(
            f"cannot write the rejects to `{self.path}`: {(error.strerror or str(error)).lower()}",
            hint="make room or name another file, and run the same command again: it goes on from there",
        )


def _entry(name: str, reject: Reject) -> dict[str, object]:
    entry: dict[str, object] = {"file": name, "line": reject.line, "reason": reject.reason}
    if reject.document is not None:
        entry["document"] = _shown(reject.document)
    return entry


def _shown(document: bytes) -> object:
    try:
        document.decode()
        return msgspec.Raw(msgspec.json.encode(msgspec.json.decode(document)))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return document.decode(errors="replace")
