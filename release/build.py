"""`python -m release.build [FOLDER]`: wheel, source archive, zipapp and bill of materials, in `dist/`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from miroir_cli import __version__
from release.bill import bill_of_materials
from release.zipapp import build_zipapp, packages, tag

ROOT = Path(__file__).resolve().parents[1]


def build_wheel(folder: Path) -> Path:
    """Build the wheel; its path."""
    return _hatch(folder, "wheel", f"miroir-{__version__}-py3-none-any.whl")


def build_source(folder: Path) -> Path:
    """Build the source archive; its path."""
    return _hatch(folder, "sdist", f"miroir-{__version__}.tar.gz")


def _hatch(folder: Path, kind: str, name: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder.resolve()), "--target", kind]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder / name


def build_all(folder: Path) -> list[Path]:
    """Build everything into a folder; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel, source = build_wheel(folder), build_source(folder)
    contents = packages()
    zipapp = folder / f"miroir-{__version__}-{tag()}.pyz"
    with tempfile.TemporaryDirectory() as between:
        build_zipapp(wheel, zipapp, contents=contents, folder=Path(between))
    bill = folder / f"miroir-{__version__}.cdx.json"
    bill.write_text(bill_of_materials(contents, at=float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())))
    return [wheel, source, zipapp, bill]


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist"
    for path in build_all(folder):
        print(f"{path.stat().st_size / 1024:8,.0f} KiB  {path}")


if __name__ == "__main__":
    main()
