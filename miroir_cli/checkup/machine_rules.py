"""What can be wrong with this machine: files that others may read or change, the disk under the state, limits. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from miroir_cli.checkup.finding import Finding, error, info, several, size, span, warning
from miroir_cli.topology.serve import ServeSettings

if TYPE_CHECKING:
    from miroir_cli.checkup.facts import Facts

MIB = 1024**2
NO_ROOM = 100 * MIB
LITTLE_ROOM = 1024 * MIB
LITTLE_SHARE = 0.05
"""Little room is less than `LITTLE_ROOM` and less than this part of the disk."""

LONG_LOG = 64 * MIB
"""Bytes of write-ahead log that SQLite does not reach while it may put them into the file: it does so every 4 MB."""

KEPT_LONG = 7 * 86_400.0

PYTHONS = ((3, 11), (3, 14))
"""The oldest and the newest Python that miroir is tested with."""

SPARE_DESCRIPTORS = 256
"""Files and connections to nodes, beside those to clients."""

DOUBTFUL = ("lustre", "beegfs", "gpfs", "virtiofs", "vboxsf", "prl_fs", "ncpfs", "coda")
LOCAL_FUSE = ("fuse.fuse-overlayfs", "fuse.lxcfs", "fuse.gocryptfs", "fuse.cryfs", "fuse.ntfs", "fuse.mergerfs")


def state_open(facts: Facts) -> Iterator[Finding]:
    """The state holds what embedders' settings hold, and the clients' API keys without their values."""
    files = facts.state.files
    if files is not None and files.open_to_others:
        yield warning(
            "state.open",
            facts.state.path,
            f"other users of this machine can read the state file `{facts.state.path}` or what lies beside it",
            f"run `chmod go-rwx {shlex.quote(facts.state.path)}*`",
        )


def state_full(facts: Facts) -> Iterator[Finding]:
    files = facts.state.files
    if files is None or files.free_bytes is None or not files.disk_bytes:
        return
    free, share = files.free_bytes, files.free_bytes / files.disk_bytes
    if free < NO_ROOM or (free < LITTLE_ROOM and share < LITTLE_SHARE):
        finding = error if free < NO_ROOM else warning
        yield finding(
            "state.space",
            facts.state.path,
            f"the disk under the state file has {size(free)} left of {size(files.disk_bytes)}: without room no write "
            "is taken",
            "make room on it, or put the state file on a larger disk (`[state] url`)",
        )


def state_log(facts: Facts) -> Iterator[Finding]:
    files = facts.state.files
    if files is not None and files.log_bytes > LONG_LOG:
        yield warning(
            "state.log",
            facts.state.path,
            f"the write-ahead log of the state file has grown to {size(files.log_bytes)}: somebody has been reading "
            "the file for long, and SQLite cannot empty the log before that ends",
            "end the program that has the state file open (a `sqlite3` shell, a backup tool), or restart `miroir "
            "serve`; the next write empties the log",
        )


def state_aside(facts: Facts) -> Iterator[Finding]:
    """What `miroir state recover` has kept of old state files, a week after the newest."""
    files = facts.state.files
    if files is None or not files.set_aside:
        return
    age = facts.now - max(each.at for each in files.set_aside)
    if age > KEPT_LONG:
        total = sum(each.bytes for each in files.set_aside)
        names = " ".join(shlex.quote(each.path) for each in files.set_aside)
        yield info(
            "state.aside",
            facts.state.path,
            f"{several(len(files.set_aside), 'old state file')} of `miroir state recover` "
            f"{'is' if len(files.set_aside) == 1 else 'are'} still here ({size(total)}, the newest {span(age)} old)",
            f"when nobody misses anything, delete what nobody needs: rm {names}",
        )


def state_doubtful(facts: Facts) -> Iterator[Finding]:
    """File systems that may or may not keep locks between hosts; those that do not are refused by everything."""
    kind = facts.state.files.file_system if facts.state.files is not None else None
    if kind is None or facts.state.network is not None or kind in LOCAL_FUSE:
        return
    if kind in DOUBTFUL or kind.startswith("fuse."):
        yield warning(
            "state.network",
            facts.state.path,
            f"the state file is on a file system ({kind}) that may not keep locks when another host uses it too",
            "put the state file on a local disk (`[state] url` in the topology file)",
        )


def topology_writable(facts: Facts) -> Iterator[Finding]:
    machine = facts.machine
    if machine is not None and machine.topology_writable:
        yield warning(
            "topology.writable",
            machine.topology,
            f"every user of this machine can change `{machine.topology}`: it says where documents go, and which "
            "programs give the keys",
            f"run `chmod o-w {shlex.quote(machine.topology)}`",
        )


def few_descriptors(facts: Facts) -> Iterator[Finding]:
    """Open files that the system allows this user at most; `miroir serve` needs one for each client."""
    machine = facts.machine
    if machine is None or machine.descriptors is None:
        return
    serves = facts.serve is not None and facts.serve.settings != ServeSettings()
    clients = facts.serve.settings.connections if facts.serve is not None and serves else 0
    wanted = clients + SPARE_DESCRIPTORS
    if machine.descriptors < wanted:
        forwhom = f"{clients:,} connections (`serve.connections`) and the nodes" if clients else "nodes and files"
        yield warning(
            "host.descriptors",
            machine.topology,
            f"this user may open {machine.descriptors:,} files at once, {wanted:,} are needed for {forwhom}",
            "raise the hard limit (`ulimit -Hn` shows it; LimitNOFILE= in a systemd unit)"
            + (", or lower `serve.connections`" if clients else ""),
        )


def platform_untested(facts: Facts) -> Iterator[Finding]:
    machine = facts.machine
    if machine is None:
        return
    oldest, newest = PYTHONS
    if not oldest <= machine.python <= newest:
        yield warning(
            "host.python",
            machine.topology,
            f"miroir runs on Python {_version(machine.python)}, it is tested with {_version(oldest)} to "
            f"{_version(newest)}",
            "install miroir with a Python of these versions",
        )
    if machine.system != "Linux":
        yield info(
            "host.system",
            machine.topology,
            f"on {machine.system} miroir cannot tell network file systems, and which process of a lock is stopped",
            "nothing to do; run `miroir serve` and long runs on Linux where you can",
        )


def _version(numbers: tuple[int, int]) -> str:
    return ".".join(map(str, numbers))


MACHINE_RULES = (
    state_open,
    state_full,
    state_log,
    state_aside,
    state_doubtful,
    topology_writable,
    few_descriptors,
    platform_untested,
)
