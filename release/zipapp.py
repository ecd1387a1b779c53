"""One file that is the command: miroir and everything that it needs, as installed and tested here.

Some of the dependencies are compiled, so a zipapp is for one Python and one platform, which its name says. Compiled
modules cannot be loaded out of an archive: `shiv` unpacks it once for each user, in `~/.shiv`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from importlib.metadata import Distribution
from pathlib import Path

from release.dependencies import NEVER_IMPORTED, ROOT, closure

LEFT_OUT = ("__pycache__", ".pyc")


def packages() -> dict[str, Distribution]:
    """What goes into the zipapp: what miroir needs here and in the extras that are small."""
    found = closure(["zstd"])
    return {name: package for name, package in found.items() if name not in NEVER_IMPORTED}


def tag() -> str:
    """What the zipapp is for, such as `cp311-linux_x86_64`."""
    version = "".join(map(str, sys.version_info[:2]))
    return f"cp{version}-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def build_zipapp(wheel: Path, target: Path, *, contents: Mapping[str, Distribution], folder: Path) -> None:
    """Put a wheel of miroir and the installed `contents` into the file `target`; `folder` is for what is in between."""
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for name, package in contents.items():
        if name != ROOT:
            copy_package(package, site)
    command = [sys.executable, "-m", "shiv", "--site-packages", str(site), "--output-file", str(target)]
    command += ["--console-script", "miroir", "--python", "/usr/bin/env python3"]
    command += ["--compressed", "--reproducible", "--extend-pythonpath"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def copy_package(package: Distribution, site: Path) -> None:
    """Copy the files of an installed package, without programs and what Python makes by itself."""
    for file in package.files or ():
        if ".." in file.parts or any(part.endswith(LEFT_OUT) for part in file.parts):
            continue
        source = Path(str(package.locate_file(file)))
        if source.is_file():
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
