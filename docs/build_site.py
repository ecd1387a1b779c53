"""Build the documentation as a site with zensical.toml; broken links and anchors are errors.

`python docs/build_site.py [--output FOLDER]` writes it, to site/ unless another folder is named; `--check` only says
whether it could be written.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "zensical.toml"
SOURCES = ("*.py", "*.toml", "__pycache__")
"""What lies beside the pages and is not for readers; `operations/` and `reference/` have files that are."""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def build(output: Path, *, pages: Path = ROOT / "docs") -> str | None:
    """Write the site of a folder of pages. Returns what is wrong with them, if anything is."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        shutil.copytree(pages, work / "docs", ignore=_sources)
        shutil.copy(CONFIGURATION, work)
        for page in (work / "docs").rglob("*.md"):
            page.write_text(bars_in_code(page.read_text()))
        done = subprocess.run(
            [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
            cwd=work,
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return COLOURS.sub("", (done.stdout + done.stderr).partition("Traceback")[0]).strip()
        shutil.rmtree(output, ignore_errors=True)
        shutil.move(work / "site", output)
    return None


def bars_in_code(text: str) -> str:
    """A bar in the code of a table is escaped for GitHub; the generator knows by itself that it parts no cells."""
    return re.sub(
        r"^\|.*\|$", lambda row: re.sub(r"`[^`]+`", lambda code: code[0].replace("\\|", "|"), row[0]), text, flags=re.M
    )


def _sources(folder: str, names: list[str]) -> set[str]:
    beside_the_pages = "tutorial.md" in names
    return set(shutil.ignore_patterns(*SOURCES)(folder, names)) if beside_the_pages else set()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--output", type=Path, default=ROOT / "site")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        wrong = build(Path(name) / "site" if options.check else options.output)
    if wrong is not None:
        sys.stderr.write(f"{wrong}\n\nerror: links of docs/ lead nowhere, see above\n")
        return 1
    if not options.check:
        sys.stdout.write(f"written: {options.output}/index.html\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
