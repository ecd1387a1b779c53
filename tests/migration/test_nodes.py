"""Nodes added, drained, removed and replaced: the file says it, the run does it, and no document is lost on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.errors import ForeignNode, Locked, NodeUnavailable, NotFound, Refused, UsageError
from miroir_cli.migration.nodes import (
    NodeChange,
    carry_out,
    plan_addition,
    plan_drain,
    plan_removal,
    plan_replacement,
)
from miroir_cli.migration.rebalance import RUN_LOCK, Change, Outcome, make_plan, rebalance
from miroir_cli.migration.run import RunOptions
from miroir_cli.model import RESERVED_INDEX, Index, Node, NodeName
from miroir_cli.store.journal import RunState
from miroir_cli.topology.document import TopologyDocument
from tests.backends import about_the_file, both_backends
from tests.faults.world import (
    UID,
    Ledger,
    World,
    check,
    create,
    keys_of_every_shard,
    put,
    stale,
    world_of,
    write_topology,
)

N1, N2, N3, N4 = (NodeName(f"n{number}") for number in range(1, 5))
QUICK = RunOptions(retry_for=2.0)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Four nodes, of which the topology file names the first three; 6 shards."""
    with world_of(tmp_path, nodes=4) as world:
        yield world


def name_nodes(world: World, names: str, *, replicas: int) -> None:
    """Write a topology file with these nodes."""
    urls = {NodeName(name): world.engines[NodeName(name)].url for name in names.split()}
    write_topology(world.path.parent, urls, shards=6, replicas=replicas)


@asynccontextmanager
async def books(world: World, names: str = "n1 n2 n3", *, replicas: int) -> AsyncIterator[tuple[Index, Ledger]]:
    """An index with documents in every shard on these nodes; at the end every replica is checked."""
    name_nodes(world, names, replicas=replicas)
    ledger = Ledger()
    async with world.cluster() as cluster:
        index = await create(cluster, UID)
        await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
    yield index, ledger
    async with world.cluster() as cluster:
        await check(cluster, index, ledger)


def joining(world: World, name: NodeName, **options: object) -> Node:
    return Node(name=name, url=world.engines[name].url, **options)  # type: ignore[arg-type]


async def do(cluster: Cluster, wanted: NodeChange) -> Outcome:
    return await carry_out(cluster, wanted, options=QUICK)


async def loads(world: World) -> dict[str, int]:
    """The replicas on each node, all of them in sync."""
    async with world.cluster() as cluster:
        map = await cluster.reload(UID)
        assert {replica.state.value for replica in map.replicas} == {"serving"}
        return dict(sorted(Counter(replica.node for replica in map.replicas).items()))


async def rebalance_run(world: World) -> Outcome:
    """What `miroir rebalance run` does with the file as it is now."""
    async with world.cluster() as cluster:
        return await rebalance(cluster, Change(title="rebalance"), options=QUICK)


def file_names(world: World) -> list[str]:
    return [node.name for node in world.topology.nodes]


async def uids_on(world: World, name: NodeName) -> set[str]:
    """The indexes of a node, also when the file does not name it."""
    name_before = world.path.read_text()
    try:
        write_topology(world.path.parent, {name: world.engines[name].url})
        async with world.cluster() as cluster:
            return {index["uid"] for index in (await cluster.fleet[name].get("indexes"))["results"]}
    finally:
        world.path.write_text(name_before)


# -- add


@both_backends
async def test_a_node_that_joins_gets_its_share_and_the_file_names_it(world: World) -> None:
    async with books(world, replicas=2):
        async with world.cluster() as cluster:
            wanted = await plan_addition(cluster, joining(world, N4))
            outcome = await do(cluster, wanted)
        assert outcome.result is not None and outcome.result.run.state is RunState.DONE
        assert file_names(world) == ["n1", "n2", "n3", "n4"]
        assert await loads(world) == {"n1": 3, "n2": 3, "n3": 3, "n4": 3}
        async with world.cluster() as cluster:
            again = await plan_addition(cluster, joining(world, N4))
            assert not again.pending


async def test_planning_changes_nothing(world: World) -> None:
    async with books(world, replicas=2):
        before = world.path.read_text()
        async with world.cluster() as cluster:
            epoch = await cluster.store.epoch()
            wanted = await plan_addition(cluster, joining(world, N4))
            assert wanted.pending and len(wanted.plan.steps) == wanted.plan.minimum == 3
            assert await cluster.store.epoch() == epoch
            assert N4 not in await cluster.store.members()
        assert world.path.read_text() == before
        assert await uids_on(world, N4) == set()


async def test_a_kill_between_the_edit_of_the_file_and_the_run_leaves_the_run_to_whoever_comes_next(
    world: World,
) -> None:
    async with books(world, replicas=2):
        async with world.cluster() as cluster:
            (await plan_addition(cluster, joining(world, N4))).document.save()
        async with world.cluster() as cluster:
            again = await plan_addition(cluster, joining(world, N4))
            assert again.pending and not again.edits
        await rebalance_run(world)
        assert await loads(world) == {"n1": 3, "n2": 3, "n3": 3, "n4": 3}


async def test_names_and_urls_that_are_taken_are_refused(world: World) -> None:
    async with books(world, replicas=2):
        async with world.cluster() as cluster:
            for node in (Node(name=N1, url="http://10.0.0.9:7700"), Node(name=N4, url=world.engines[N1].url)):
                with pytest.raises(UsageError, match="already"):
                    await plan_addition(cluster, node)


async def test_a_node_that_does_not_answer_is_not_added(world: World) -> None:
    async with books(world, replicas=2):
        world.engines[N4].stop()
        async with world.cluster() as cluster:
            with pytest.raises(NodeUnavailable, match="n4"):
                await plan_addition(cluster, joining(world, N4))
        assert file_names(world) == ["n1", "n2", "n3"]


@about_the_file("two clusters with a state each; they do not share a database of Redis")
async def test_a_node_of_another_cluster_is_not_added(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    foreign = World(path=write_topology(other, {N4: world.engines[N4].url}), engines=world.engines)
    async with foreign.cluster() as cluster:
        await create(cluster, "films")
    async with books(world, replicas=2):
        async with world.cluster() as cluster:
            with pytest.raises(ForeignNode, match="belongs to another cluster"):
                await plan_addition(cluster, joining(world, N4))
        assert file_names(world) == ["n1", "n2", "n3"]


async def test_a_node_with_an_index_of_the_same_name_is_not_added(world: World) -> None:
    async with books(world, replicas=2):
        async with world.cluster() as cluster:
            wanted = await plan_addition(cluster, joining(world, N4))
            async with cluster.with_topology(wanted.topology) as changed:
                answer = await changed.fleet[N4].write("POST", "indexes", content=b'{"uid": "books"}')
                await changed.fleet[N4].wait_task(answer.task)  # type: ignore[union-attr]
            with pytest.raises(Refused, match="has an index `books` that is not the cluster's"):
                await plan_addition(cluster, joining(world, N4))


async def test_a_new_group_gets_a_copy_of_everything(world: World) -> None:
    async with books(world, replicas=1):
        async with world.cluster() as cluster:
            await do(cluster, await plan_addition(cluster, joining(world, N4, group="b")))
        assert await loads(world) == {"n1": 2, "n2": 2, "n3": 2, "n4": 6}


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_process_that_is_under_way_gets_to_know_a_node_that_joins(world: World, replicas: int) -> None:
    async with books(world, replicas=replicas) as (index, ledger), world.cluster() as importing:
        documents = dict.fromkeys(keys_of_every_shard(index), 2)
        await put(importing, index, documents, ledger)
        async with world.cluster() as cluster:
            await do(cluster, await plan_addition(cluster, joining(world, N4)))
        for value in (3, 4):
            written = await put(importing, index, dict.fromkeys(documents, value), ledger)
            assert written is not None and not written.refused
        map = await importing.reload(UID)
        assert N4 in map.nodes() and stale(map) == set()


# -- drain


async def test_a_drained_node_stays_in_the_file_and_gets_nothing(world: World) -> None:
    async with books(world, "n1 n2 n3 n4", replicas=2):
        async with world.cluster() as cluster:
            outcome = await do(cluster, await plan_drain(cluster, [N2]))
        assert outcome.expelled == ()
        assert world.topology.node("n2").drained
        assert await loads(world) == {"n1": 4, "n3": 4, "n4": 4}
        assert await uids_on(world, N2) == {RESERVED_INDEX}
        async with world.cluster() as cluster:
            await create(cluster, "films")
            assert N2 not in (await cluster.reload("films")).nodes()


async def test_draining_leaves_enough_nodes_or_is_refused(world: World) -> None:
    async with books(world, replicas=2):
        async with world.cluster() as cluster:
            with pytest.raises(Refused, match="the cluster has 1 node that takes shards"):
                await plan_drain(cluster, [N2, N3])
            with pytest.raises(NotFound, match="`n9` is not in"):
                await plan_drain(cluster, ["n9"])
            world.engines[N2].stop()
            with pytest.raises(NodeUnavailable, match="nothing can be copied from it") as raised:
                await plan_drain(cluster, [N2])
            assert "miroir node remove n2 --no-drain" in str(raised.value.hint)
            world.engines[N2].start()


async def test_a_node_that_serves_an_index_is_sent_its_settings_no_second_time(world: World) -> None:
    """Whoever settles just then would take the task for a stranger's, and all that the node serves for stale."""

    async def settings_tasks(name: NodeName) -> int:
        async with world.cluster() as cluster:
            page = await cluster.fleet[name].tasks(indexUids=UID, types="settingsUpdate", limit=1)
            return int(page["total"])

    async with books(world, "n1 n2 n3 n4", replicas=2):
        before = await settings_tasks(N1)
        async with world.cluster() as cluster:
            wanted = await plan_drain(cluster, [N2])
            assert N1 in {step.target for step in wanted.plan.steps}
            await do(cluster, wanted)
        assert await settings_tasks(N1) == before


async def test_nobody_else_comes_between_the_edit_of_the_file_and_the_end_of_the_run(world: World) -> None:
    """Another tool that is let in with the new file would plan a run of its own."""
    async with books(world, replicas=1), world.cluster() as cluster, world.cluster() as other:
        wanted = await plan_removal(cluster, [N2])
        before = world.path.read_text()
        let_in: list[str] = []

        async def knock() -> None:
            while True:
                with suppress(Locked):
                    async with other.locks.once(RUN_LOCK):
                        let_in.append(world.path.read_text())
                await asyncio.sleep(0)

        knocking = asyncio.create_task(knock())
        await asyncio.sleep(0.01)
        try:
            while True:
                with suppress(Locked):  # the other one is in, before anything was done
                    await do(cluster, wanted)
                    break
        finally:
            knocking.cancel()
        after = world.path.read_text()
        await asyncio.wait([knocking])
        assert let_in and set(let_in) <= {before, after}
        assert file_names(world) == ["n1", "n3"]


# -- remove


@both_backends
async def test_a_removed_node_is_emptied_and_belongs_to_nobody(world: World) -> None:
    async with books(world, replicas=1):
        async with world.cluster() as cluster:
            outcome = await do(cluster, await plan_removal(cluster, [N2]))
            assert outcome.expelled == (N2,)
            assert N2 not in await cluster.store.members()
        assert file_names(world) == ["n1", "n3"]
        assert await loads(world) == {"n1": 3, "n3": 3}
        assert await uids_on(world, N2) == set()


async def test_a_removal_that_was_killed_before_its_last_edit_is_finished_by_the_same_command(world: World) -> None:
    async with books(world, replicas=1):
        async with world.cluster() as cluster:
            (await plan_removal(cluster, [N2])).document.save()
        await rebalance_run(world)
        assert file_names(world) == ["n1", "n2", "n3"]
        assert await loads(world) == {"n1": 3, "n3": 3}
        async with world.cluster() as cluster:
            again = await plan_removal(cluster, [N2])
            assert again.pending and not again.plan.steps
            await do(cluster, again)
        assert file_names(world) == ["n1", "n3"]
        async with world.cluster() as cluster:
            with pytest.raises(NotFound):
                await plan_removal(cluster, [N2])


async def test_a_removal_that_was_killed_while_it_took_leave_is_finished_by_the_same_command(world: World) -> None:
    async with books(world, replicas=1):
        async with world.cluster() as cluster:
            (await plan_removal(cluster, [N2])).document.save()
        await rebalance_run(world)
        async with world.cluster() as cluster:  # killed after the first of the last three steps
            await cluster.store.expel(N2)
        async with world.cluster() as cluster:
            outcome = await do(cluster, await plan_removal(cluster, [N2]))
            assert outcome.expelled == (N2,)
            assert N2 not in await cluster.store.members()
        assert file_names(world) == ["n1", "n3"]
        assert await uids_on(world, N2) == set()


async def test_a_dead_node_is_removed_when_others_have_what_it_had(world: World) -> None:
    async with books(world, replicas=2):
        world.engines[N2].stop()
        async with world.cluster() as cluster:
            with pytest.raises(NodeUnavailable):
                await plan_removal(cluster, [N2])
            outcome = await do(cluster, await plan_removal(cluster, [N2], drain=False))
            assert outcome.expelled == (N2,)
        assert file_names(world) == ["n1", "n3"]
        assert await loads(world) == {"n1": 6, "n3": 6}


async def test_the_only_copy_of_a_shard_is_not_removed_unless_it_is_given_up(world: World) -> None:
    name_nodes(world, "n1 n2 n3", replicas=1)
    async with world.cluster() as cluster:
        index = await create(cluster, UID)
        await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), Ledger())
        on_n2 = [replica.shard for replica in (await cluster.reload(UID)).replicas if replica.node == N2]
        world.engines[N2].stop()
        named = ", ".join(map(str, on_n2))
        with pytest.raises(Refused, match=f"shards {named} of index `books`: no in-sync copy answers") as raised:
            await plan_removal(cluster, [N2], drain=False)
        assert "`--force`" in str(raised.value.hint)
        assert file_names(world) == ["n1", "n2", "n3"]
        wanted = await plan_removal(cluster, [N2], drain=False, give_up=True)
        assert list(wanted.plan.lost[index.uid]) == on_n2
        outcome = await do(cluster, wanted)
        assert outcome.expelled == (N2,)
    assert await loads(world) == {"n1": 3, "n3": 3}


async def test_a_forced_removal_that_was_killed_after_its_edit_is_finished_by_the_same_command(world: World) -> None:
    name_nodes(world, "n1 n2 n3", replicas=1)
    async with world.cluster() as cluster:
        await create(cluster, UID)
        world.engines[N2].stop()
        (await plan_removal(cluster, [N2], drain=False, give_up=True)).document.save()
    with pytest.raises(Refused, match="the only in-sync replica is on `n2`, which is not in the topology file"):
        await rebalance_run(world)
    async with world.cluster() as cluster:
        await do(cluster, await plan_removal(cluster, [N2], drain=False, give_up=True))
    assert await loads(world) == {"n1": 3, "n3": 3}


async def test_an_entry_taken_out_by_hand_is_followed_and_its_node_expelled(world: World) -> None:
    async with books(world, replicas=2):
        name_nodes(world, "n1 n3", replicas=2)
        outcome = await rebalance_run(world)
        assert outcome.expelled == (N2,)
        assert await loads(world) == {"n1": 6, "n3": 6}


async def test_an_entry_taken_out_by_hand_whose_node_has_an_only_copy_stops_everything(world: World) -> None:
    async with books(world, replicas=1):
        name_nodes(world, "n1 n3 n4", replicas=1)
        with pytest.raises(Refused, match=r"shards .* of index `books`: last copy") as raised:
            await rebalance_run(world)
        assert "miroir node remove NAME --no-drain --force" in str(raised.value.hint)
        name_nodes(world, "n1 n2 n3", replicas=1)
        assert await loads(world) == {"n1": 2, "n2": 2, "n3": 2}


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_group_is_removed_by_removing_its_nodes_and_nothing_is_copied(world: World, replicas: int) -> None:
    """With two replicas a group cannot lose one node alone, but it can lose both."""
    async with books(world, "n1 n2", replicas=replicas):
        document = TopologyDocument.load(world.path)
        for name in (N3, N4):
            document.add_node(joining(world, name, group="b"))
        document.save()
        await rebalance_run(world)
        each = 3 * replicas
        assert await loads(world) == {"n1": each, "n2": each, "n3": each, "n4": each}
        async with world.cluster() as cluster:
            wanted = await plan_removal(cluster, [N3, N4])
            assert wanted.plan.minimum == 0 and len(wanted.plan.steps) == 6 * replicas
            outcome = await do(cluster, wanted)
        assert outcome.expelled == (N3, N4)
        assert file_names(world) == ["n1", "n2"]
        assert await loads(world) == {"n1": each, "n2": each}
        assert await uids_on(world, N3) == set()


async def test_a_group_takes_the_place_of_another_in_one_run(world: World) -> None:
    async with books(world, "n1 n2", replicas=1):
        document = TopologyDocument.load(world.path)
        for name in (N1, N2):
            document.change_node(name, drained=True)
        for name in (N3, N4):
            document.add_node(joining(world, name, group="b"))
        document.save()
        outcome = await rebalance_run(world)
        assert outcome.result is not None and outcome.result.run.state is RunState.DONE
        assert await loads(world) == {"n3": 3, "n4": 3}


# -- replace


async def test_a_node_that_answers_is_drained_into_its_successor_and_leaves_in_the_end(world: World) -> None:
    async with books(world, replicas=1):
        document = TopologyDocument.load(world.path)
        document.change_node(N2, zone="z")
        document.save()
        async with world.cluster() as cluster:
            wanted = await plan_replacement(cluster, N2, name=N4, url=world.engines[N4].url)
            assert [node.name for node in wanted.topology.nodes] == ["n1", "n4", "n3", "n2"]
            outcome = await do(cluster, wanted)
        assert outcome.expelled == (N2,)
        assert file_names(world) == ["n1", "n4", "n3"]
        assert world.topology.node("n4").zone == "z"
        assert await loads(world) == {"n1": 2, "n3": 2, "n4": 2}
        assert await uids_on(world, N2) == set()
        async with world.cluster() as cluster:
            assert not (await plan_replacement(cluster, N2, name=N4, url=world.engines[N4].url)).pending


async def test_a_replacement_that_was_killed_after_its_edit_goes_on_with_the_same_command(world: World) -> None:
    async with books(world, replicas=1):
        async with world.cluster() as cluster:
            (await plan_replacement(cluster, N2, name=N4, url=world.engines[N4].url)).document.save()
        async with world.cluster() as cluster:
            wanted = await plan_replacement(cluster, N2, name=N4, url=world.engines[N4].url)
            assert wanted.pending and not wanted.edits
            await do(cluster, wanted)
        assert file_names(world) == ["n1", "n4", "n3"]
        assert await loads(world) == {"n1": 2, "n3": 2, "n4": 2}


@both_backends
async def test_a_dead_node_is_replaced_from_the_other_copies(world: World) -> None:
    async with books(world, replicas=2):
        world.engines[N2].stop()
        async with world.cluster() as cluster:
            outcome = await do(cluster, await plan_replacement(cluster, N2, name=N4, url=world.engines[N4].url))
        assert outcome.expelled == (N2,)
        assert file_names(world) == ["n1", "n4", "n3"]
        assert await loads(world) == {"n1": 4, "n3": 4, "n4": 4}


async def test_a_dead_node_with_an_only_copy_is_not_replaced_unless_it_is_given_up(world: World) -> None:
    name_nodes(world, "n1 n2 n3", replicas=1)
    url = world.engines[N4].url
    async with world.cluster() as cluster:
        await create(cluster, UID)
        world.engines[N2].stop()
        with pytest.raises(Refused, match=r"shards .* of index `books`: no in-sync copy answers but that on `n2`"):
            await plan_replacement(cluster, N2, name=N4, url=url)
        assert file_names(world) == ["n1", "n2", "n3"]
        await do(cluster, await plan_replacement(cluster, N2, name=N4, url=url, give_up=True))
    assert await loads(world) == {"n1": 2, "n3": 2, "n4": 2}


async def test_a_node_cannot_be_replaced_by_itself_or_by_a_node_that_is_there(world: World) -> None:
    async with books(world, replicas=2):
        async with world.cluster() as cluster:
            with pytest.raises(UsageError, match="a name of its own"):
                await plan_replacement(cluster, N2, name=N2, url="http://10.0.0.9:7700")
            with pytest.raises(UsageError, match="`n3` is in"):
                await plan_replacement(cluster, N2, name=N3, url="http://10.0.0.9:7700")
            with pytest.raises(UsageError, match="`n3` is in the cluster already"):
                await plan_replacement(cluster, N2, name=N3, url=world.engines[N3].url)
            with pytest.raises(UsageError, match="is node `n3` already"):
                await plan_replacement(cluster, N2, name=N4, url=world.engines[N3].url)
            with pytest.raises(NotFound):
                await plan_replacement(cluster, "n9", name=N4, url=world.engines[N4].url)
            with pytest.raises(ForeignNode, match="is node `n2`, not `n4`"):
                await plan_replacement(cluster, N2, name=N4, url=world.engines[N2].url)


# -- edits by hand, and who else is at work


async def test_more_and_fewer_replicas_by_editing_the_file(world: World) -> None:
    async with books(world, replicas=1):
        name_nodes(world, "n1 n2 n3", replicas=2)
        await rebalance_run(world)
        assert await loads(world) == {"n1": 4, "n2": 4, "n3": 4}
        name_nodes(world, "n1 n2 n3", replicas=1)
        await rebalance_run(world)
        assert await loads(world) == {"n1": 2, "n2": 2, "n3": 2}
        async with world.cluster() as cluster:
            assert (await cluster.reload(UID)).index.replicas == 1
            assert (await make_plan(cluster, Change(title="rebalance")))[0].steps == ()


async def test_nothing_is_written_while_another_run_is_under_way(world: World) -> None:
    async with books(world, replicas=2):
        async with world.cluster() as cluster, world.cluster() as other:
            wanted = await plan_addition(cluster, joining(world, N4))
            async with other.locks.once(RUN_LOCK):
                with pytest.raises(Locked, match="by process"):
                    await do(cluster, wanted)
        assert file_names(world) == ["n1", "n2", "n3"]
