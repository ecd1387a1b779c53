"""What documents and searches ask of nodes: an estimate for a cluster that is not there yet. Pure.

The coefficients were measured on Meilisearch 1.50 (`python -m benchmarks.sizing`; docs/benchmarks.md has the figures
and the machine). Text, settings and processors differ by more than measurements do, hence everything is a range: its
lower end is what our easiest data needed with a little room, its upper end what the hardest needed with some more.
Vectors are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Final, Literal

MOST_NODES: Final = 1_000
"""Clusters larger than this are not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """An estimate: it is expected between `low` and `high`."""

    low: float
    high: float

    def __mul__(self, factor: float) -> Range:
        return Range(low=self.low * factor, high=self.high * factor)

    def __add__(self, other: Range) -> Range:
        return Range(low=self.low + other.low, high=self.high + other.high)


DATABASE: Final = Range(low=2.5, high=14)
"""Bytes of a node's database for each byte of NDJSON that it holds. It is this wide because it is a matter of the text:
many different words and many filterable fields take most."""

MEASURED: Final = Range(low=0.8, high=1.3)
"""How far what a sample has taken is from what all of it will take."""

WORKING_ROOM: Final = Range(low=1.1, high=1.5)
"""Disk for each byte of database: the queue, what indexing needs, and shards that arrive before others leave."""

PROCESS: Final = Range(low=0.25e9, high=1.0e9)
"""Memory of the process itself while it indexes, in bytes; indexing takes more where there is more."""

CACHED: Final = Range(low=0.2, high=1.0)
"""Share of the database that has to be in memory: less of it is read from disk at each search."""

INDEXING: Final = Range(low=0.35, high=1.2)
"""Processor seconds of a node for a megabyte of NDJSON."""

INDEXING_CORES: Final = 0.5
"""Share of its cores that a node indexes with."""

SEARCH: Final = Range(low=0.8, high=2.0)
"""Processor milliseconds of a node for its part of a search, with `SEARCH_DOCUMENTS` documents on it."""

SEARCH_DOCUMENTS: Final = 20_000
SEARCH_GROWTH: Final = Range(low=0.08, high=0.2)
"""With which power of its documents a node's part of a search grows."""

UTILISATION: Final = Range(low=0.4, high=0.7)
"""How much of their processors nodes can spend on searches before these wait for each other."""

PROXY: Final = Range(low=1.3, high=1.8)
"""Processor milliseconds of `miroir serve` for a search that asks two or three nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked for, and of what. Sizes in bytes; None where nobody said anything."""

    documents: int
    bytes_per_document: int
    nodes: int = 3
    replicas: int = 2
    groups: int = 1
    node_cores: int = 4
    node_memory: int | None = None
    node_disk: int | None = None
    queries_per_second: float | None = None
    database_ratio: float | None = None
    """Bytes of database for a byte of documents, where a sample has told."""

    @property
    def nodes_per_group(self) -> int:
        return self.nodes // self.groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one node or the cluster needs of one thing, and what there is of it, if that was said."""

    name: Literal["disk", "memory", "searches"]
    estimate: Range
    given: float | None

    @property
    def verdict(self) -> Literal["fits", "may fit", "does not fit", "not asked"]:
        """Searches are the other way round: the estimate is what can be had, `given` what is wanted."""
        if self.given is None:
            return "not asked"
        if self.name == "searches":
            easy, possible = self.given <= self.estimate.low, self.given <= self.estimate.high
        else:
            easy, possible = self.given >= self.estimate.high, self.given >= self.estimate.low
        return "fits" if easy else "may fit" if possible else "does not fit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """The estimate for one demand. Bytes, seconds, searches a second; `after_loss`: with one node of a group gone and
    its copies made again on the others, None where they are too few for that."""

    documents_per_node: int
    database: Range
    disk: Need
    memory: Need
    after_loss: Range | None
    import_seconds: Range
    nodes_asked: Range
    searches: Need
    proxy_workers: Range | None

    @property
    def needs(self) -> tuple[Need, ...]:
        return (self.disk, self.memory, self.searches)

    @property
    def fits(self) -> Literal["yes", "perhaps", "no"]:
        """Whether everything that was said of the nodes is enough."""
        verdicts = {need.verdict for need in self.needs}
        return "no" if "does not fit" in verdicts else "perhaps" if "may fit" in verdicts else "yes"


def estimate(demand: Demand) -> Sizing:
    """What the demand needs. `nodes` are to be a multiple of `groups`, and each group to have `replicas` of them."""
    size = demand.nodes_per_group
    stored = demand.documents * demand.replicas / size
    megabytes = stored * demand.bytes_per_document / 1e6
    ratio = DATABASE if demand.database_ratio is None else MEASURED * demand.database_ratio
    database = ratio * (stored * demand.bytes_per_document)
    disk = Range(low=database.low * WORKING_ROOM.low, high=database.high * WORKING_ROOM.high)
    memory = _memory(database)
    lost = _memory(database * (size / (size - 1))) if size > demand.replicas else None
    cores = max(1.0, demand.node_cores * INDEXING_CORES)
    asked = nodes_asked(size, demand.replicas)
    return Sizing(
        documents_per_node=ceil(stored),
        database=database,
        disk=Need(name="disk", estimate=disk, given=demand.node_disk),
        memory=Need(name="memory", estimate=memory, given=demand.node_memory),
        after_loss=lost,
        import_seconds=INDEXING * (megabytes / cores),
        nodes_asked=asked,
        searches=Need(name="searches", estimate=_searches(demand, stored, asked), given=demand.queries_per_second),
        proxy_workers=None if demand.queries_per_second is None else PROXY * (demand.queries_per_second / 1000),
    )


def nodes_asked(nodes: int, replicas: int) -> Range:
    """How many nodes of a group a search asks: as few as have all shards, which placement does not always allow."""
    fewest = ceil(nodes / replicas)
    return Range(low=fewest, high=nodes if replicas == 1 else min(nodes, fewest + 1))


def smallest(demand: Demand, *, sure: bool = True) -> Demand | None:
    """The demand with the fewest nodes that are enough, more groups only where searches need them; `sure`: by the upper
    ends of the estimates. None when no cluster of `MOST_NODES` is."""
    enough = _certainly if sure else _possibly
    return next((each for each in _candidates(demand) if enough(estimate(each))), None)


def _certainly(sizing: Sizing) -> bool:
    return sizing.fits == "yes"


def _possibly(sizing: Sizing) -> bool:
    return sizing.fits != "no"


def _candidates(demand: Demand) -> Iterator[Demand]:
    """Clusters in the order of their nodes, then of their groups."""
    for nodes in range(max(1, demand.replicas), MOST_NODES + 1):
        for groups in range(1, nodes // demand.replicas + 1):
            if nodes % groups == 0:
                yield replace(demand, nodes=nodes, groups=groups)


def _memory(database: Range) -> Range:
    return PROCESS + Range(low=database.low * CACHED.low, high=database.high * CACHED.high)


def _searches(demand: Demand, stored: float, asked: Range) -> Range:
    """Searches a second of all groups together: their processors, by what one search takes of them."""
    times = max(1.0, stored / SEARCH_DOCUMENTS)
    cheap, dear = SEARCH.low * times**SEARCH_GROWTH.low, SEARCH.high * times**SEARCH_GROWTH.high
    milliseconds = demand.nodes * demand.node_cores * 1000.0
    return Range(
        low=milliseconds * UTILISATION.low / (dear * asked.high),
        high=milliseconds * UTILISATION.high / (cheap * asked.low),
    )
