"""The configurations that the protocol has to survive, in groups; `with_faults` gives one for each set of faults."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations_with_replacement

from tests.model.scenario import CLEAR, DELETE, PATCH, PUT, Fault, Move, Operation, Scenario
from tests.model.state import Kind

Faults = tuple[Fault, ...]

NONE: list[Faults] = [()]
USUAL = (Fault.CRASH, Fault.LATE, Fault.DOWN, Fault.WIPE, Fault.FAIL)
SINGLE: list[Faults] = [(fault,) for fault in (*USUAL, Fault.TRUNCATE, Fault.LAG)]
PAIRS: list[Faults] = list(combinations_with_replacement(USUAL, 2))

BATCH = Operation(kind=Kind.PUT, keys=(0, 1))
PUT_SECOND = Operation(kind=Kind.PUT, keys=(1,))
DELETE_SECOND = Operation(kind=Kind.DELETE, keys=(1,))

# writes

TWO_WRITERS = Scenario(writers=((PUT,), (PATCH,)))
THREE_WRITES = Scenario(writers=((PUT, PATCH), (DELETE,)))
THREE_REPLICAS = Scenario(replicas=("SSS",), writers=((PUT,), (PATCH,)))
TWO_KEYS = Scenario(shard_of=(0, 0), writers=((BATCH,), (DELETE_SECOND,)))
TWO_SHARDS = Scenario(replicas=("SS-", "-SS"), shard_of=(0, 1), writers=((BATCH,), (CLEAR,)))

OLD_LOOK = Scenario(writers=((PUT, PATCH),), watcher=True)

# reads

WRITES_READ = Scenario(writers=((PUT, PATCH),), reader=True)
MOVE_READ = Scenario(replicas=("S-",), runs=((Move(target=1, leaves=0),),), writers=((PUT,),), reader=True)

# moves

JOIN, REPAIR = (Move(target=1),), (Move(target=1),)
AWAY, BACK = Move(target=1, leaves=0), Move(target=0, leaves=1)


def joining(operation: Operation) -> Scenario:
    """A second replica, built while somebody writes; a second run goes on when the first one dies."""
    return Scenario(replicas=("S-",), runs=(JOIN, JOIN), writers=((operation,),))


def repairing(operation: Operation) -> Scenario:
    return Scenario(replicas=("SX",), runs=(REPAIR, REPAIR), writers=((operation,),))


def moving(operation: Operation) -> Scenario:
    return Scenario(replicas=("S-",), runs=((AWAY,), (AWAY,)), writers=((operation,),))


CATCHING_UP = Scenario(replicas=("S-",), runs=(JOIN,), writers=((PUT, PATCH),))
GOES_STALE = Scenario(runs=(REPAIR,), writers=((PUT, PATCH),))
THERE_AND_BACK = Scenario(replicas=("S-",), runs=((AWAY, BACK), (BACK,)), writers=((PUT,),))
GIVEN_UP = Scenario(replicas=("S-",), runs=(JOIN, (Move(target=1, gives_up=True),)), writers=((PUT,),))
"""A second run gives up what the first one has begun."""
STALE_LEAVES = Scenario(replicas=("SS-",), runs=((Move(target=2, leaves=1),),), writers=((PUT,),))
"""The replica that is replaced may go stale before it leaves."""
THIRD_REPLICA = Scenario(replicas=("SS-",), runs=((Move(target=2),),), writers=((PUT,),))
ONE_FENCE = Scenario(
    replicas=("S-", "S-"), shard_of=(0, 1), runs=((AWAY, Move(target=1, shard=1)),), writers=((BATCH,),)
)
"""Two shards move to one node in one run; a write touches both."""
FENCED_BEFORE_STALE = Scenario(
    replicas=("S-", "SS"), shard_of=(1,), runs=((Move(target=1), Move(target=1, shard=1)),), writers=((PUT, PATCH),)
)
"""The second shard may go stale on the target after the run's fence there."""
STORE_LOST = Scenario(replicas=("S-",), runs=((AWAY,),), writers=((PUT,),), faults=(Fault.STORE,))
STRAYS = Scenario(writers=((PUT,), (PATCH,)), faults=(Fault.STRAY,), strays_everywhere=True)
JOIN_BESIDE_STRAYS = Scenario(
    replicas=("S-", "SS"), shard_of=(1,), runs=(JOIN,), faults=(Fault.STRAY,), strays_everywhere=True
)
"""An empty shard joins on a node that serves another one."""


def with_faults(scenario: Scenario, choices: Iterable[Faults]) -> list[Scenario]:
    return [replace(scenario, faults=faults) for faults in choices]


def wide() -> dict[str, list[Scenario]]:
    """More than the tests have time for: every scenario with each fault and pairs of them."""
    stray: Faults = (Fault.STRAY,)
    every = [*NONE, *SINGLE, *PAIRS]
    writes = (TWO_WRITERS, THREE_WRITES, THREE_REPLICAS, TWO_KEYS, TWO_SHARDS, OLD_LOOK)
    copies = (joining(PUT), joining(CLEAR), repairing(PATCH), moving(DELETE))
    leaving = (THERE_AND_BACK, GIVEN_UP, STALE_LEAVES)
    runs = (CATCHING_UP, GOES_STALE, *leaving, THIRD_REPLICA, ONE_FENCE, FENCED_BEFORE_STALE)
    some = [*NONE, *SINGLE, stray, *combinations_with_replacement((Fault.CRASH, Fault.LATE, Fault.FAIL), 2)]
    lost = [(Fault.STORE, *faults) for faults in every]
    return {
        "writes": [found for scenario in writes for found in with_faults(scenario, every)]
        + [STRAYS, JOIN_BESIDE_STRAYS],
        "reads": with_faults(WRITES_READ, every) + with_faults(MOVE_READ, [*NONE, *SINGLE, stray]),
        "one shard joins, is repaired, moves": [
            found for scenario in copies for found in with_faults(scenario, [*every, stray])
        ],
        "longer runs": [found for scenario in runs for found in with_faults(scenario, some)],
        "the state store is lost": with_faults(STORE_LOST, lost),
    }


def name_of(scenario: Scenario) -> str:
    """A test's name: the faults that happen in it."""
    return "+".join(fault.name.lower() for fault in scenario.faults) or "no fault"
