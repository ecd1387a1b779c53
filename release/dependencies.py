"""What miroir needs at run time, what for, and under which licences. A test compares this with what is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = "miroir"
EXTRAS = ("parquet", "zstd")
"""The extras of the package that people install; `dev` is for who works on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """`licence` is an SPDX expression; `purpose` is empty for what only another dependency needs."""

    licence: str
    purpose: str = ""


DEPENDENCIES: Mapping[str, Dependency] = {
    "brotli": Dependency(licence="MIT", purpose="compressed requests and answers of `miroir serve`"),
    "httptools": Dependency(licence="MIT", purpose="reading HTTP"),
    "httpx": Dependency(licence="BSD-3-Clause", purpose="speaking to the nodes"),
    "msgspec": Dependency(licence="BSD-3-Clause", purpose="JSON"),
    "prometheus-client": Dependency(licence="Apache-2.0 AND BSD-2-Clause", purpose="metrics"),
    "rich": Dependency(licence="MIT", purpose="tables and progress bars"),
    "sniffio": Dependency(licence="MIT OR Apache-2.0", purpose="makes httpx quicker"),
    "sqlite-utils": Dependency(licence="Apache-2.0", purpose="the state file"),
    "starlette": Dependency(licence="BSD-3-Clause", purpose="the embedded development node"),
    "tenacity": Dependency(licence="Apache-2.0", purpose="trying again"),
    "tomlkit": Dependency(licence="MIT", purpose="the topology file"),
    "typer": Dependency(licence="MIT", purpose="the command line"),
    "uvicorn": Dependency(licence="BSD-3-Clause", purpose="the HTTP server of `miroir serve`"),
    "xxhash": Dependency(licence="BSD-2-Clause", purpose="which shard a document belongs to"),
    "fsspec": Dependency(licence="BSD-3-Clause", purpose="backups elsewhere than in a folder (extra `remote`)"),
    "redis": Dependency(licence="MIT", purpose="the state in Redis or Valkey, for several hosts (extra `redis`)"),
    "pyarrow": Dependency(licence="Apache-2.0", purpose="Parquet files (extra `parquet`)"),
    "zstandard": Dependency(licence="BSD-3-Clause", purpose="zstd files before Python 3.14 (extra `zstd`)"),
    "annotated-doc": Dependency(licence="MIT"),
    "annotated-types": Dependency(licence="MIT"),
    "anyio": Dependency(licence="MIT"),
    "backports-zstd": Dependency(licence="PSF-2.0"),
    "certifi": Dependency(licence="MPL-2.0"),
    "cffi": Dependency(licence="MIT"),
    "click": Dependency(licence="BSD-3-Clause"),
    "click-default-group": Dependency(licence="Unlicense"),
    "colorama": Dependency(licence="BSD-3-Clause"),
    "h11": Dependency(licence="MIT"),
    "httpcore": Dependency(licence="BSD-3-Clause"),
    "idna": Dependency(licence="BSD-3-Clause"),
    "markdown-it-py": Dependency(licence="MIT"),
    "mdurl": Dependency(licence="MIT"),
    "pip": Dependency(licence="MIT"),
    "pluggy": Dependency(licence="MIT"),
    "pycparser": Dependency(licence="BSD-3-Clause"),
    "pydantic": Dependency(licence="MIT"),
    "pydantic-core": Dependency(licence="MIT"),
    "pygments": Dependency(licence="BSD-2-Clause"),
    "python-dateutil": Dependency(licence="BSD-3-Clause"),
    "shellingham": Dependency(licence="ISC"),
    "six": Dependency(licence="MIT"),
    "sqlite-fts4": Dependency(licence="Apache-2.0"),
    "tabulate": Dependency(licence="MIT"),
    "typing-extensions": Dependency(licence="PSF-2.0"),
    "typing-inspection": Dependency(licence="MIT"),
    "tzdata": Dependency(licence="Apache-2.0"),
}
"""By name as the package index writes it; first those that miroir imports itself. Some are needed on some systems and
Pythons only."""

NEVER_IMPORTED = frozenset({"pip"})
"""Named by sqlite-utils for a command of its own that miroir does not have: not in the zipapp."""


def closure(extras: Iterable[str] = ()) -> dict[str, Distribution]:
    """Everything that miroir needs in this environment, itself included, by canonical name."""
    found: dict[str, Distribution] = {}
    todo = [(ROOT, extra) for extra in ("", *extras)]
    seen: set[tuple[str, str]] = set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found.setdefault(name, distribution(name))
        todo += needed_by(found[name], extra)
    return dict(sorted(found.items()))


def needed_by(package: Distribution, extra: str = "") -> list[tuple[str, str]]:
    """What a package asks for here: canonical name and extra of each, as far as it is installed."""
    wanted: list[tuple[str, str]] = []
    for line in package.requires or ():
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = str(canonicalize_name(requirement.name))
        if is_installed(name):
            wanted += [(name, each) for each in ("", *requirement.extras)]
    return wanted


def is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def stated_licence(package: Distribution) -> str | None:
    """What a package itself says of its licence, as an SPDX expression where it says one."""
    metadata: Any = package.metadata
    classified = [name.rpartition(" :: ")[2] for name in metadata.get_all("Classifier", []) if "License ::" in name]
    given = metadata.get("License-Expression") or metadata.get("License") or " OR ".join(classified)
    return SPELLINGS.get(given, given) or None


SPELLINGS = {
    "Apache License, Version 2.0": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "Public Domain": "Unlicense",
}
