"""The options that every command has, wherever on its line they stand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class ProgressForm(StrEnum):
    """How progress is shown. `auto`: bars on a terminal, a line now and then elsewhere, nothing with `-q`."""

    AUTO = "auto"
    BAR = "bar"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The global options, wherever on the command line they stood."""

    topology: Path | None = None
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    no_color: bool = False
    progress: ProgressForm = ProgressForm.AUTO

    @classmethod
    def guess(cls, words: Sequence[str]) -> Options:
        """What can be told before the command line is understood, so that its errors have the right shape."""
        before_end = words[: words.index("--")] if "--" in words else words
        return cls(
            json="--json" in before_end or _truth(os.environ.get("MIROIR_JSON")),
            no_color="--no-color" in before_end or _truth(os.environ.get("MIROIR_NO_COLOR")),
        )


def _truth(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true", "t", "yes", "y", "on")
