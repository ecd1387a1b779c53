"""What a check-up finds: one line that says what and where, and the command or action that mends it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from miroir_cli.model import shards_named


class Severity(StrEnum):
    """`error`: something does not work now. `warning`: it works, with less safety than asked for. `info`: worth
    knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


COMMAND = re.compile(r"\b(?:run|or) `((?:miroir|chmod|kill) [^`]+)`")
"""A command that a hint says to type; others it only mentions."""

PLACEHOLDER = re.compile(r"(^|[ =])[A-Z]{3,}($| )|--accept-data-loss")
"""What somebody has to think about first: a word to fill in, or documents that would be given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`check` names the kind of finding for scripts, `where` the node, index, lock or file it is about."""

    severity: Severity
    check: str
    where: str
    message: str
    hint: str

    @property
    def next(self) -> tuple[str, ...]:
        """The commands of the hint that can be typed as they stand, in its order."""
        return tuple(command for command in COMMAND.findall(self.hint) if not PLACEHOLDER.search(command))


def error(check: str, where: str, message: str, hint: str) -> Finding:
    return Finding(severity=Severity.ERROR, check=check, where=where, message=message, hint=hint)


def warning(check: str, where: str, message: str, hint: str) -> Finding:
    return Finding(severity=Severity.WARNING, check=check, where=where, message=message, hint=hint)


def info(check: str, where: str, message: str, hint: str) -> Finding:
    return Finding(severity=Severity.INFO, check=check, where=where, message=message, hint=hint)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors, then warnings, then the rest, each in the order in which they were found."""
    ranks = list(Severity)
    return tuple(sorted(findings, key=lambda finding: ranks.index(finding.severity)))


def at_least(findings: Iterable[Finding], severity: Severity) -> tuple[Finding, ...]:
    """Those that are as bad as `severity`, or worse."""
    ranks = list(Severity)
    return tuple(finding for finding in findings if ranks.index(finding.severity) <= ranks.index(severity))


def count(findings: Iterable[Finding]) -> str:
    """`2 errors, 1 warning`."""
    severities = [finding.severity for finding in findings]
    words = ((Severity.ERROR, "error"), (Severity.WARNING, "warning"), (Severity.INFO, "notice"))
    counted = [(severities.count(severity), word) for severity, word in words]
    return ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for number, word in counted if number)


# How rules write numbers


def several(number: int, one: str) -> str:
    """`1 task`, `12 tasks`."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"


def have(shards: Sequence[int]) -> str:
    """`shard 3 has`, `shards 1, 2 have`."""
    return f"{shards_named(shards)} {'has' if len(shards) == 1 else 'have'}"


def quoted(names: Iterable[str]) -> str:
    """`n1`, `n2` in backticks, in the order of the names."""
    return ", ".join(f"`{name}`" for name in sorted(set(names)))


def span(seconds: float) -> str:
    """`12 s`, `5 min`, `3 h`, `2 days`."""
    units: Sequence[tuple[float, str]] = ((86_400, "days"), (3_600, "h"), (60, "min"))
    for size, unit in units:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(bytes: int) -> str:
    """`812 bytes`, `3.4 GiB`."""
    amount, unit = float(bytes), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1000 or unit == "TiB":
            break
        amount /= 1024
    return f"{bytes} bytes" if unit == "bytes" else f"{amount:.{0 if amount >= 100 else 1}f} {unit}"
