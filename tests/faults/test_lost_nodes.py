"""`recover_state` with nodes that are away, behind, emptied or new, and indexes that come, go or are half there."""

from __future__ import annotations

from pathlib import Path

import pytest

from miroir_cli.dev.engine.faults import Kind
from miroir_cli.errors import (
    AlreadyExists,
    NodeUnavailable,
    NotFound,
    Refused,
)
from miroir_cli.indexes.catalog import delete_index
from miroir_cli.indexes.configure import change_settings
from miroir_cli.model import NodeName, ReplicaState, StoredUid
from miroir_cli.replication.members import call_roll
from tests.faults.loss import lose, recover, serving, state_file, told, with_writes
from tests.faults.process import Mortuary
from tests.faults.world import (
    N1,
    N2,
    N3,
    UID,
    Ledger,
    check,
    create,
    put,
    shard_of,
    stale,
    world_of,
)

# -- nodes that are away or behind


async def test_a_node_that_does_not_answer_stops_it_and_is_named(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3) as world:
        await with_writes(world)
        lose(world)
        world.engine(2).stop()
        with pytest.raises(Refused, match="node `n2` cannot be reached") as caught:
            await recover(world)
        assert caught.value.exit_status == 14
        assert caught.value.hint is not None and "--accept-loss n2" in caught.value.hint
        assert not state_file(world).exists()


async def test_the_shards_that_only_an_accepted_loss_had_are_lost_by_name(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=6, replicas=1) as world:
        ledger, _ = await with_writes(world)
        lose(world)
        world.engine(2).stop()
        found = await recover(world, "n2")
        assert found.accepted == (N2,)
        async with world.cluster() as cluster:
            map = await cluster.reload(UID)
            on_n2 = {replica.shard for replica in map.replicas if replica.node == N2}
            assert on_n2 and set(found.election.uncovered[map.index.uid]) == on_n2
            assert {r.state for r in map.replicas if r.node == N2} == {ReplicaState.LOST}
            assert set(await cluster.store.members()) == {N1, N3}
            left = {key: values for key, values in ledger.values.items() if shard_of(key, map.index) not in on_n2}
            await put(cluster, map.index, dict.fromkeys(left, "new"), Ledger())
            world.engine(2).start()
            assert set((await call_roll(cluster)).present) == {N1, N2, N3}
            assert {r.state for r in (await cluster.reload(UID)).replicas if r.node == N2} == {ReplicaState.LOST}


async def test_a_lost_node_that_knew_more_does_not_pass_for_the_newer_one_when_it_comes_back(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        ledger, keys = await with_writes(world)
        async with world.cluster() as cluster:
            indexes = [(await cluster.reload(UID)).index, *[await create(cluster, uid) for uid in ("films", "songs")]]
            index = indexes[0]
            world.engine(1).stop()
            for each in reversed(indexes):
                await put(cluster, each, dict.fromkeys(keys, "only n2"), Ledger())
            world.engine(1).start()
        lose(world)
        world.engine(2).stop()
        await recover(world, "n2")
        async with world.cluster() as cluster:
            await put(cluster, index, dict.fromkeys(keys, "after"), ledger)
        world.engine(2).start()
        lose(world)
        await recover(world)
        async with world.cluster() as cluster:
            map = await check(cluster, index, ledger)
            assert serving(map) == {0: ("n1",), 1: ("n1",)}


async def test_the_newest_copy_wins_over_a_node_that_missed_the_stale_mark_of_its_own_replica(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        ledger, keys = await with_writes(world)
        async with world.cluster() as cluster:
            index = (await cluster.reload(UID)).index
            world.engine(1).stop()
            await put(cluster, index, dict.fromkeys(keys, "newer"), ledger)
            assert stale(await cluster.reload(UID)) == {N1}
            await told(cluster, N2, (await cluster.reload(UID)).epoch)
        lose(world)
        world.engine(1).start()
        found = await recover(world)
        assert found.election.sources[index.uid][1] == (N2,)
        async with world.cluster() as cluster:
            assert serving(await check(cluster, index, ledger)) == {0: ("n2",), 1: ("n2",)}


async def test_a_mark_that_no_node_was_told_is_made_up_for_by_what_the_tasks_show(tmp_path: Path) -> None:
    """Killed after the mark was recorded: the copies still call both in sync, but only one has the last write."""
    with world_of(tmp_path) as world:
        ledger, keys = await with_writes(world)
        world.engine(1).faults.add(Kind.FAIL_TASK, path=UID)
        with Mortuary(world.path) as mortuary:
            await mortuary.die("write", "after:settle_intents", "7")
        lose(world)
        await recover(world)
        ledger.begun(dict.fromkeys(keys, 7))
        ledger.acknowledged(dict.fromkeys(keys, 7))
        async with world.cluster() as cluster:
            map = await check(cluster, (await cluster.reload(UID)).index, ledger)
            assert serving(map) == {0: ("n2",), 1: ("n2",)}


async def test_an_emptied_disk_is_never_chosen(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        ledger, _ = await with_writes(world)
        lose(world)
        world.engine(1).wipe()
        found = await recover(world)
        assert found.election.newcomers == (N1,)
        async with world.cluster() as cluster:
            map = await check(cluster, (await cluster.reload(UID)).index, ledger)
            assert {(r.node, r.state) for r in map.replicas} == {(N1, ReplicaState.LOST), (N2, ReplicaState.SERVING)}
            assert set(await cluster.store.members()) == {N1, N2}


async def test_a_node_that_is_new_in_the_topology_file_is_no_member_before_it_is_welcomed(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, replicas=1) as world:
        text = world.path.read_text()
        world.path.write_text(text[: text.rindex("[[nodes]]")])
        await with_writes(world)
        lose(world)
        world.path.write_text(text)
        found = await recover(world)
        assert found.election.newcomers == (N3,)
        assert {member.name for member in found.election.state.members} == {N1, N2}


async def test_a_node_with_a_part_of_an_index_that_left_the_topology_file_is_asked_for(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=6) as world:
        await with_writes(world)
        lose(world)
        text = world.path.read_text()
        world.path.write_text(text[: text.rindex("[[nodes]]")])
        with pytest.raises(Refused, match="`n3`, which had a part of an index"):
            await recover(world)
        await recover(world, "n3")
        async with world.cluster() as cluster:
            map = await cluster.reload(UID)
            assert {r.state for r in map.replicas if r.node == N3} == {ReplicaState.LOST}


async def test_a_loss_of_a_node_that_nobody_knows_is_a_mistake(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        await with_writes(world)
        lose(world)
        with pytest.raises(NotFound, match="no node is called `n7`"):
            await recover(world, "n7")


# -- indexes that are there or not


@pytest.mark.parametrize("holder_lost", [False, True])
async def test_a_deleted_index_does_not_come_back_from_a_node_that_was_down_meanwhile(
    tmp_path: Path, holder_lost: bool
) -> None:
    with world_of(tmp_path, nodes=3, shards=1, replicas=1) as world:
        await with_writes(world)
        async with world.cluster() as cluster:
            films = await create(cluster, "films")
            (holder,) = (await cluster.reload(UID)).nodes()
            away = next(number for number in (1, 2, 3) if f"n{number}" != holder)
            world.engine(away).stop()
            await delete_index(cluster, UID)
            world.engine(away).start()
            assert (await cluster.fleet[NodeName(f"n{away}")].get_document(StoredUid("_miroir"), "index-books"))[
                "uid"
            ] == UID
        lose(world)
        if holder_lost:
            world.engines[holder].stop()
        found = await recover(world, *([holder] if holder_lost else []))
        assert dict(found.election.state.deleted) == {UID: 1} and not found.election.unknown
        world.engines[holder].start()
        async with world.cluster() as cluster:
            assert [index.uid for index in await cluster.store.indexes()] == ["films"]
            assert (await create(cluster)).incarnation > films.incarnation


async def test_an_index_that_was_created_again_is_not_taken_for_the_deleted_one(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        await with_writes(world)
        async with world.cluster() as cluster:
            await delete_index(cluster, UID)
        ledger, keys = await with_writes(world, writes=1)
        lose(world)
        await recover(world)
        async with world.cluster() as cluster:
            map = await check(cluster, (await cluster.reload(UID)).index, ledger)
            assert map.index.incarnation == 2
            written = await put(cluster, map.index, dict.fromkeys(keys, "new"), ledger)
            assert written is not None and written.n == 2


async def test_an_index_whose_creation_had_not_ended_is_named_and_not_taken_over(tmp_path: Path) -> None:
    with world_of(tmp_path) as world, Mortuary(world.path) as mortuary:
        async with world.cluster() as cluster:
            await create(cluster, "films")
        await mortuary.die("create", "before:finish_creation")
        lose(world)
        found = await recover(world)
        assert found.election.unknown == {UID: (N1, N2)}
        async with world.cluster() as cluster:
            assert [index.uid for index in await cluster.store.indexes()] == ["films"]
            with pytest.raises(AlreadyExists, match="already has an index `books` that this cluster does not know"):
                await create(cluster)


async def test_an_index_whose_deletion_had_not_been_told_counts_as_deleted(tmp_path: Path) -> None:
    with world_of(tmp_path) as world, Mortuary(world.path) as mortuary:
        await with_writes(world)
        await mortuary.die("delete", "after:forget_index")
        lose(world)
        found = await recover(world)
        assert found.election.vanished == (UID,)
        async with world.cluster() as cluster:
            assert (await create(cluster)).incarnation == 2


async def test_a_deletion_that_was_half_done_can_be_finished(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        await with_writes(world)
        async with world.cluster() as cluster:
            world.engine(2).faults.add(Kind.REFUSE, method="DELETE", path="^/indexes/books$")
            with pytest.raises(NodeUnavailable):
                await delete_index(cluster, UID)
        lose(world)
        world.engine(2).faults.clear()
        await recover(world)
        async with world.cluster() as cluster:
            states = {(r.node, r.state) for r in (await cluster.reload(UID)).replicas}
            assert states == {(N1, ReplicaState.LOST), (N2, ReplicaState.SERVING)}
            await delete_index(cluster, UID)
            assert [index["uid"] for index in (await cluster.fleet[N2].get("indexes"))["results"]] == ["_miroir"]


async def test_changed_settings_come_back(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        await with_writes(world, writes=1)
        async with world.cluster() as cluster:
            await change_settings(cluster, UID, {"stopWords": ["the"]})
        lose(world)
        await recover(world)
        async with world.cluster() as cluster:
            assert (await cluster.reload(UID)).index.settings == {"stopWords": ["the"]}
