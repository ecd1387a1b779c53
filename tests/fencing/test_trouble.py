"""Keys that are gone, disks that are others, nodes that make no keys, and what is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from miroir_cli.checkup.examine import examine
from miroir_cli.checkup.gather import gather
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.errors import ApiError, AuthenticationFailed
from miroir_cli.fencing.keys import NO_RIGHT
from miroir_cli.indexes.status import status
from miroir_cli.model import NodeName, ReplicaState
from miroir_cli.node.answers import Refused
from miroir_cli.proxy.keyring import Keyring
from miroir_cli.store.slots import KEY_PREFIX
from tests.backends import state_at
from tests.faults.moving import HookedStore
from tests.faults.world import HURRIED, N1, N2, UID, Ledger, World, check, create, keys_of_every_shard, put, stale
from tests.fencing.world import CALM, KINDS, MASTER, Kinds, guarded_world, slot_keys, slots_of
from tests.store.redis_server import RedisServer

if TYPE_CHECKING:
    from miroir_cli.store.protocol import Store


@pytest.fixture(autouse=True)
def redis(redis_server: RedisServer) -> Iterator[None]:
    redis_server.empty()
    with state_at(redis_server.url):
        yield


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_that_was_deleted_by_hand_is_made_again(tmp_path: Path, kind: Kinds) -> None:
    with kind(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            index, ledger = await create(cluster), Ledger()
            (slot,) = await slots_of(cluster)
            for client in cluster.fleet.clients.values():
                await client.manage("DELETE", f"keys/{slot.key}")
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            assert stale(await check(cluster, index, ledger)) == set()
            assert await slots_of(cluster) == (slot,)
            assert await slot_keys(cluster) == {N1: [slot.key_name], N2: [slot.key_name]}


async def test_a_process_whose_slot_was_shut_out_goes_on_under_another_one(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster, world.cluster(patience=CALM) as other:
            index, ledger = await create(cluster), Ledger()
            (first,) = await slots_of(cluster)
            assert other.fencing is not None
            assert set(await other.fencing.shut_out(other.fleet, [N1, N2], overtaken=first.mark)) == {N1, N2}
            assert await slot_keys(cluster) == {N1: [], N2: []}
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            assert stale(await check(cluster, index, ledger)) == set()
            (second,) = await slots_of(cluster)
            assert second.number > first.number


async def test_a_request_that_is_refused_for_a_dirty_slot_is_sent_again_under_its_intent(tmp_path: Path) -> None:
    """The slot is shut out after the intent was recorded, and before the request reaches the node."""
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster, world.cluster(patience=CALM) as other:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, {"a": 0}, ledger)
            (first,) = await slots_of(cluster)

            async def shut_out(*_: object, **__: object) -> None:
                assert other.fencing is not None
                await other.fencing.shut_out(other.fleet, [N1, N2], overtaken=first.mark)

            cluster.store = cast("Store", HookedStore(cluster.store, {"after:open_intent": shut_out}))
            before = (await cluster.store.pending(UID)).newest
            await put(cluster, index, {"a": 1}, ledger)
            assert stale(await check(cluster, index, ledger)) == set()
            assert (await cluster.store.pending(UID)).newest == before + 1
            (second,) = await slots_of(other)
            assert second.number > first.number


async def test_a_write_to_an_emptied_disk_is_refused_and_its_replicas_are_lost(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            world.engine(2).wipe()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 2), ledger)
            map = await check(cluster, index, ledger)
            assert {each.state for each in map.replicas if each.node == N2} == {ReplicaState.LOST}
            assert await cluster.fleet[N2].top_task() == -1


async def test_a_write_to_the_only_replica_on_an_emptied_disk_says_what_is_wrong(tmp_path: Path) -> None:
    with guarded_world(tmp_path, replicas=1) as world:
        async with world.cluster(patience=CALM) as cluster:
            index = await create(cluster)
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), Ledger())
            world.engine(2).wipe()
            written = await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 2), Ledger())
            replicas = (await cluster.reload(UID)).replicas
            lost = frozenset(each.shard for each in replicas if each.state is ReplicaState.LOST)
            assert written is not None
            assert (written.refused, len(lost)) == (lost, 1)
            assert str(written.error) == "node `n2` is not the disk we knew"


async def test_a_configured_key_that_is_refused_is_told_and_marks_nothing(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            index = await create(cluster)
            await put(cluster, index, {"a": 1}, Ledger())
        (tmp_path / "key").write_text("another-key-that-nobody-knows")
        async with world.cluster(patience=CALM) as cluster:
            with pytest.raises(AuthenticationFailed):
                await create(cluster, "films")
            assert stale(await cluster.reload(UID)) == set()


async def state_findings(world: World) -> dict[str, str]:
    report = examine(await gather(world.topology, patience=HURRIED))
    return {each.check: each.message for each in report.findings if each.check in ("state.unfenced", "key.apart")}


async def test_nobody_waits_longer_for_a_key_than_for_the_answer(tmp_path: Path) -> None:
    """A mover that holds up writers has little time: a node that hangs over its key must not have more."""
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=replace(HURRIED, answer=60.0)) as cluster:
            index = await create(cluster)
            (slot,) = await slots_of(cluster)
            assert cluster.fencing is not None
            cluster.fencing.drop(slot)
            world.engine(2).faults.add(Kind.DELAY, method="POST", path="^/keys", seconds=60.0)
            answer = await cluster.fleet[N2].write("DELETE", f"indexes/{index.uid}/documents", timeout=0.3)
            assert isinstance(answer, Refused)
            assert answer.error.message == "node `n2` made no key in time"


async def test_nodes_without_a_master_key_are_written_to_and_named(tmp_path: Path) -> None:
    with guarded_world(tmp_path, master_key=None) as world:
        async with world.cluster(patience=CALM) as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            assert stale(await check(cluster, index, ledger)) == set()
            assert await slots_of(cluster) == ()
            told = await status(cluster)
            assert set(told["unfenced"]) == {N1, N2}
            assert "unfenced: `n1`, `n2` each has no key in the topology file" in told["warnings"][0]
        found = await state_findings(world)
        assert "nodes `n1`, `n2` are unfenced, for each has no master key" in found["state.unfenced"]


async def test_a_key_that_may_not_manage_keys_is_used_as_it_is_and_its_nodes_are_named(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            actions = ["documents.*", "indexes.*", "settings.*", "tasks.*", "stats.*", "version", "search"]
            made = {"uid": "d0c6e5cf-2c5a-4b5c-9a3e-1f0b3c5d7e9f", "actions": actions, "indexes": ["*"]}
            found = await cluster.fleet.all(lambda client: client.manage("POST", "keys", {**made, "expiresAt": None}))
        (tmp_path / "key").write_text(found[N1]["key"])
        async with world.cluster(patience=CALM) as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            assert stale(await check(cluster, index, ledger)) == set()
            assert cluster.fencing is not None
            assert set(cluster.fencing.unfenced) == {N1, N2}
            assert (await status(cluster))["unfenced"] == dict.fromkeys((N1, N2), NO_RIGHT)
        assert "does not let the key in the topology file make" in (await state_findings(world))["state.unfenced"]
        (tmp_path / "key").write_text(MASTER)
        async with world.cluster(patience=CALM) as cluster:
            assert await slots_of(cluster) == ()
            told = await status(cluster)
            assert (told["unfenced"], told["warnings"]) == ({}, [])


async def test_a_key_of_a_writer_is_no_difference_between_nodes(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            await create(cluster)
            (slot,) = await slots_of(cluster)
            await cluster.fleet[N2].manage("DELETE", f"keys/{slot.key}")
            assert await state_findings(world) == {}


async def test_what_nobody_knows_of_any_more_is_taken_away(tmp_path: Path) -> None:
    """A slot's key whose record is gone, and the slot of a dead process on a node that was taken out."""
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            await create(cluster)
            (slot,) = await slots_of(cluster)
            assert cluster.fencing is not None
            body = {"name": f"{KEY_PREFIX}slot:99", "actions": ["documents.*"], "indexes": ["*"], "expiresAt": None}
            await cluster.fleet[N1].manage("POST", "keys", body)
            assert await cluster.fencing.tidy() == 1
            assert await slot_keys(cluster) == {N1: [slot.key_name], N2: [slot.key_name]}
            register = cluster.backend.slots() if cluster.backend is not None else None
            assert register is not None
            await register.spoil([await register.take([NodeName("n9")])])
            assert len(await slots_of(cluster)) == 2
            await cluster.fencing.tidy()
            assert await slots_of(cluster) == (slot,)


async def test_a_node_that_does_not_answer_is_not_fenced_and_keeps_the_slot_on_record(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster, world.cluster(patience=CALM) as other:
            await create(cluster)
            (slot,) = await slots_of(cluster)
            assert other.fencing is not None
            world.engine(2).faults.add(Kind.REFUSE, count=None, method="DELETE", path="^/keys", status=503)
            assert await other.fencing.shut_out(other.fleet, [N1, N2], overtaken=slot.mark) == (N1,)
            (left,) = await slots_of(cluster)
            assert (left.dirty, left.fenced) == (True, frozenset({N1}))
            world.engine(2).faults.clear()
            assert await other.fencing.shut_out(other.fleet, [N2]) == (N2,)
            assert await slots_of(cluster) == ()


async def test_clients_do_not_see_the_keys_of_writers(tmp_path: Path) -> None:
    """The clients of a new proxy are given the keys that the nodes have: these are not among them."""
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            await create(cluster)
            (slot,) = await slots_of(cluster)
            keyring = Keyring(cluster)
            names = [key["name"] for key in await keyring.listed()]
            assert names
            assert slot.key_name not in names
            with pytest.raises(ApiError, match="not found"):
                await keyring.get(slot.key)
            await keyring.mend()
            assert await slot_keys(cluster) == {N1: [slot.key_name], N2: [slot.key_name]}
