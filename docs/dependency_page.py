"""docs/reference/dependencies.md: what miroir needs at run time, under which licences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from release.dependencies import DEPENDENCIES


def dependency_lines(table: Callable[[Sequence[str], Sequence[tuple[str, ...]]], list[str]]) -> list[str]:
    """The page; `table` makes lines of Markdown of headings and rows."""
    direct = [(f"`{name}`", each.purpose, each.licence) for name, each in DEPENDENCIES.items() if each.purpose]
    others = [(f"`{name}`", each.licence) for name, each in DEPENDENCIES.items() if not each.purpose]
    return [
        "# Dependencies and their licences",
        "",
        "miroir itself is under the MIT licence. At run time it needs Python 3.11 to 3.14 and these packages; their",
        "own licences apply to them. A test compares the list with what is installed. `make dist` writes a bill of",
        "materials with the versions that are in the zipapp (CycloneDX, `dist/miroir-VERSION.cdx.json`), and",
        "`make check` asks for known vulnerabilities.",
        "",
        "## What miroir imports",
        "",
        *table(["package", "what for", "licence"], sorted(direct)),
        "## What those need",
        "",
        "Some of them on some systems or Pythons only.",
        "",
        *table(["package", "licence"], sorted(others)),
    ]
