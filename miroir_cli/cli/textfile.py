"""`--metrics-file`: what a command that ends leaves for node_exporter's textfile collector.

The one place of that option: `run` begins a `Job` when a command has it and it was given, `finish` ends it with the
exit status, and the figures come from the command's own JSON document, whether that is printed or not.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from miroir_cli import metrics
from miroir_cli.errors import UsageError

MetricsFile = Annotated[
    Path | None,
    typer.Option(
        "--metrics-file",
        metavar="FILE",
        help="When it ends, write how it went there, for node_exporter: FILE.prom in the folder that it reads.",
    ),
]

FIGURES: Final = (
    (metrics.JOB_DOCUMENTS, ("documents", "documents_moved")),
    (metrics.JOB_REJECTED, ("rejected",)),
    (metrics.JOB_DIFFERENCES, ("differences",)),
    (metrics.JOB_BYTES, ("bytes",)),
)
"""Which keys of a command's JSON document become which metric; of a list its length."""

SUCCESS: Final = re.compile(
    rf'^{metrics.PREFIX}{metrics.JOB_SUCCEEDED.name}\{{cluster="((?:[^"\\]|\\.)*)",.*\}} ([0-9.e+]+)$', re.M
)


@dataclass(slots=True, kw_only=True)
class Job:
    """One command with a metrics file, from its beginning to its end."""

    file: Path
    command: str
    index: str = ""
    cluster: str | None = None
    result: object = None
    began: float = field(default_factory=time.monotonic)

    def end(self, status: int) -> None:
        """Write the file as `replaced` does, readable by everybody, and raise what that raises."""
        from miroir_cli.topology.save import replaced

        before = _earlier(self.file)
        cluster = self.cluster if self.cluster is not None else before[0]
        labels = {"cluster": cluster, "command": self.command, "index": self.index}
        now = time.time()
        values = [
            (metrics.JOB_FINISHED, now),
            (metrics.JOB_SUCCEEDED, now if status == 0 else before[1]),
            (metrics.JOB_STATUS, float(status)),
            (metrics.JOB_DURATION, round(time.monotonic() - self.began, 3)),
            *figures(self.result),
        ]
        text = metrics.render_samples((metric, labels, value) for metric, value in values)
        with replaced(self.file) as file:
            file.write(text.encode())
        self.file.chmod(0o644)


def begin_job(ctx: typer.Context) -> Job | None:
    """The job of a command that was given a metrics file; none for one that only says what it would do."""
    file: Path | None = ctx.params.get("metrics_file")
    if file is None or ctx.params.get("dry_run"):
        return None
    if ctx.params.get("watch"):
        raise UsageError("`--metrics-file` is for a command that ends, `--watch` does not")
    index = ctx.params.get("index")
    words = ctx.command_path.split()[1:]
    uids = [index] if isinstance(index, str) else list(index or ())
    return Job(file=file, command=" ".join(words), index=",".join(uids))


def figures(result: object) -> Iterator[tuple[metrics.Metric, float]]:
    """What a command's JSON document says in numbers."""
    document = _document(result)
    for metric, keys in FIGURES:
        for key in keys:
            value = document.get(key)
            if isinstance(value, int | float):
                yield metric, float(value)
                break
            if isinstance(value, list | tuple):
                yield metric, float(len(value))
                break


def _document(result: object) -> Mapping[str, Any]:
    if result is None or isinstance(result, Mapping):
        return result or {}
    import msgspec

    found = msgspec.to_builtins(result)
    return found if isinstance(found, dict) else {}


def _earlier(file: Path) -> tuple[str, float]:
    """Cluster and last success of the file as it was: a failure must not make the last success forgotten."""
    try:
        found = SUCCESS.search(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        found = None
    if found is None:
        return "", 0.0
    return re.sub(r"\\(.)", lambda sign: "\n" if sign[1] == "n" else sign[1], found[1]), float(found[2])
