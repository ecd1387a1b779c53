"""`python -m release.audit`: known vulnerabilities of what miroir needs at run time, where somebody can be asked.

Asks the package index through `pip-audit`. When that does not answer in time nothing is known: it says so and is
content, for a check must work without a network.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from release.dependencies import EXTRAS, NEVER_IMPORTED, ROOT, closure

LIMIT = 60.0
"""Seconds for the whole audit."""

ACCEPTED: Mapping[str, str] = {}
"""Vulnerabilities that do not concern miroir, by their ids, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vulnerability:
    """A known vulnerability of an installed package; `fixed`: versions without it."""

    package: str
    version: str
    id: str
    fixed: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the index tells. `silent`: packages of which it tells nothing, `audited`: the number of the others."""

    found: Sequence[Vulnerability]
    audited: int
    silent: Sequence[str] = ()


class NotAsked(Exception):
    """Nobody could be asked."""


def pinned() -> str:
    """What is audited, one requirement a line."""
    found = closure(EXTRAS)
    return "".join(
        f"{name}=={package.version}\n" for name, package in found.items() if name not in (ROOT, *NEVER_IMPORTED)
    )


def ask(requirements: str, *, options: Sequence[str] = (), limit: float = LIMIT) -> Report:
    """What is known of pinned requirements. Raises `NotAsked` with the reason."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text(requirements)
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(path), "--no-deps", "--disable-pip"]
        command += ["--format", "json", "--progress-spinner", "off", "--timeout", "10", *options]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            raise NotAsked(f"no answer within {limit:g} s") from None
    return read_report(done.stdout, done.stderr)


def read_report(output: str, complaints: str) -> Report:
    """What `pip-audit` has printed. Raises `NotAsked` when it is no report, or one that knows of no package at all."""
    try:
        dependencies = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = [line for line in complaints.splitlines() if line.strip()]
        raise NotAsked(lines[-1][:200] if lines else "pip-audit printed nothing") from None
    silent = [each["name"] for each in dependencies if "skip_reason" in each]
    if len(silent) == len(dependencies):
        raise NotAsked(f"the package index tells nothing of vulnerabilities ({len(silent)} packages)")
    found = [
        Vulnerability(package=each["name"], version=each["version"], id=known["id"], fixed=known["fix_versions"])
        for each in dependencies
        for known in each.get("vulns", ())
        if not {known["id"], *known.get("aliases", ())} & set(ACCEPTED)
    ]
    return Report(found=found, audited=len(dependencies) - len(silent), silent=silent)


def main(options: Sequence[str] = ()) -> int:
    try:
        report = ask(pinned(), options=options)
    except NotAsked as reason:
        print(f"audit of dependencies skipped: {reason}")
        return 0
    for each in report.found:
        better = f", fixed in {', '.join(each.fixed)}" if each.fixed else ", not fixed yet"
        print(f"{each.package} {each.version}: {each.id}{better}")
    if report.silent:
        print(f"audit: nothing is known of {', '.join(report.silent)}")
    if not report.found:
        print(f"audit: no known vulnerability in {report.audited} dependencies")
    return 1 if report.found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
