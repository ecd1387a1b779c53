"""Record docs/picture.svg, the terminal picture of the README: a real `miroir demo`, from its searches on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "picture.svg"
WIDTH = 100
FIRST = "1916, when summer time"
LAST = "The same hits"


def record() -> str:
    """What the demo prints in colours, between the two lines."""
    done = subprocess.run(
        [sys.executable, "-m", "miroir_cli", "demo", "--engine", "embedded"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if FIRST in line)
    last = next(number for number, line in enumerate(lines) if LAST in line)
    return "\n".join(lines[first : last + 1])


def draw(recorded: str, *, title: str = "miroir demo", width: int = WIDTH, name: str = "miroir") -> str:
    """The lines as SVG, with the reader's own fixed-width font; the parts of each picture begin with its `name`."""
    console = Console(record=True, width=width, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(recorded))
    frame = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    drawn = console.export_svg(title=title, code_format=frame, unique_id=name)
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw(record()))
