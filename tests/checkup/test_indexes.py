"""What the doctor says of indexes, their replicas and unfinished work, staged on nodes and in the state file."""

from __future__ import annotations

from pathlib import Path

from miroir_cli.checkup.finding import Severity
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.model import Index, IndexUid, ReplicaState, ShardId, WriteKind
from miroir_cli.replication.members import call_roll
from miroir_cli.replication.write import write
from miroir_cli.store.locks import import_file
from tests.backends import about_the_file
from tests.checkup.staged import change_state, findings
from tests.faults.world import N1, N2, UID, Ledger, addition, create, keys_of_every_shard, put, world_of

STAGED_IN_A_FILE = about_the_file("staged with SQL; what is found rests on what any state says")
REPLICA = "insert or replace into placements (uid, shard, node, state, since) values"


async def test_stale_and_lost_replicas(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, replicas=3, min_in_sync=2) as world:
        async with world.cluster() as cluster:
            index = await create(cluster)
            world.engine(1).faults.add(Kind.FAIL_TASK, path=UID)
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), Ledger())
            world.engine(2).wipe()
            await call_roll(cluster)
        found = await findings(world)
        assert set(found) == {"replica.stale", "replica.lost", "index.quorum", "node.tasks"}
        stale, lost = found["replica.stale"], found["replica.lost"]
        assert stale.message == (
            f"index `{UID}`: 2 shards on node `n1` are stale (missed a write): shards 0, 1; 4 documents differ at least"
        )
        assert (stale.where, stale.hint) == (f"{UID}@n1", f"run `miroir repair {UID}`")
        assert "2 shards on node `n2` are lost" in lost.message
        assert found["index.quorum"].severity is Severity.ERROR
        world.engine(1).stop()
        assert (await findings(world))["replica.stale"].hint.startswith("bring node `n1` back, then run")


async def test_a_shard_that_nobody_has_in_sync(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            await cluster.store.mark(UID, {N1: [ShardId(0)]}, state=ReplicaState.STALE)
            await cluster.store.mark(UID, {N2: [ShardId(0)]}, state=ReplicaState.LOST)
        finding = (await findings(world))["index.uncovered"]
        assert finding.severity is Severity.ERROR
        assert "shard 0 without any in-sync replica (`n1` stale, `n2` lost)" in finding.message
        assert "bring node `n2` back" in finding.hint
        assert f"miroir repair {UID} --accept-data-loss" in finding.hint


@STAGED_IN_A_FILE
async def test_replicas_on_their_way_while_no_run_is_alive(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            change_state(world, f"{REPLICA} ('{UID}', 0, 'n3', 'joining', 9)")
            change_state(world, f"{REPLICA} ('{UID}', 1, 'n3', 'leaving', 9)")
            async with cluster.locks.order(UID), cluster.locks.once("run"):
                assert not {"replica.joining", "replica.leaving"} & set(await findings(world))
            async with cluster.locks.order(UID), cluster.locks.once("tasks.finisher"):  # a proxy is at work
                found = await findings(world)
        assert "shard 0 on node `n3` is joining, and no run is at work" in found["replica.joining"].message
        assert "miroir rebalance run" in found["replica.leaving"].hint


@STAGED_IN_A_FILE
async def test_fewer_replicas_than_the_index_asks_for(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        change_state(world, "delete from placements where node = 'n2' and shard = 1")
        found = await findings(world)
        assert set(found) == {"index.replicas", "index.placement"}
        assert "shard 1 has fewer than 2 replicas in group `main`" in found["index.replicas"].message


@STAGED_IN_A_FILE
async def test_an_index_with_more_replicas_than_there_are_nodes(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        change_state(world, "update indexes set own_replicas = 1")
        text = world.path.read_text()
        world.path.write_text(text[: text.rindex("[[nodes]]")].replace("replicas = 2", "replicas = 1"))
        found = await findings(world)
        assert found["index.placement"].severity is Severity.ERROR
        assert "cannot be placed" in found["index.placement"].message


@STAGED_IN_A_FILE
async def test_replicas_are_judged_by_the_file_as_it_is_now_unless_the_index_has_its_own_number(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        text = world.path.read_text()
        for replicas, message in (("1", "0 replicas to copy, 2 only to drop"), ("3", "2 replicas to copy")):
            world.path.write_text(text.replace("replicas = 2", f"replicas = {replicas}"))
            found = await findings(world)
            assert message in found["index.placement"].message
            assert ("index.replicas" in found) == (replicas == "3")
        assert "shards 0, 1 have fewer than 3 replicas" in found["index.replicas"].message
        change_state(world, "update indexes set own_replicas = 1")
        assert not {"index.placement", "index.replicas"} & set(await findings(world))


async def test_a_group_that_is_on_its_way_out_lacks_nothing(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        name = f'[[nodes]]\nname = "n9"\nurl = "{world.engine(2).url}/"\n'
        text = world.path.read_text()
        world.path.write_text(text + name.replace('/"', '/x"') + 'group = "b"\ndrained = true\n')
        assert "index.replicas" not in await findings(world)


async def test_writes_in_doubt_and_writes_not_settled(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index = await create(cluster)
            await write(cluster, index, addition(index, {"k": 1}))
            found = await findings(world)
            assert set(found) == {"write.unsettled"}
            assert found["write.unsettled"].severity is Severity.INFO
            await cluster.store.open_intent(
                index, kind=WriteKind.ADD, documents={ShardId(0): 1}, nonce="x", min_in_sync=1, owner="test"
            )
            found = await findings(world)
            assert set(found) == {"write.unsettled", "write.doubt"}
            assert "write 2 was interrupted" in found["write.doubt"].message
            async with cluster.locks.order(UID):
                assert set(await findings(world)) == {"write.unsettled", "lock.held"}


async def test_imports_that_were_interrupted_or_run(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            record = await cluster.store.begin_import(
                uid=UID, incarnation=1, fingerprint={"sources": [{"name": "/data/books.ndjson"}]}, options={}
            )
            found = await findings(world)
            assert set(found) == {"import.unfinished"}
            assert "an import of `/data/books.ndjson` was interrupted" in found["import.unfinished"].message
            async with cluster.locks.once(import_file(UID, record.id)):
                found = await findings(world)
            assert set(found) == {"import.running", "lock.held"}
            assert f"the lock of import {record.id} into `{UID}`" in found["lock.held"].message


async def test_creations_and_deletions_that_were_interrupted(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index = await create(cluster)
            await cluster.store.begin_deletion(index)
            finding = (await findings(world))["index.unfinished"]
            assert finding.hint == f"run `miroir index delete {UID}` again: it goes on with it"
            await cluster.store.forget_index(UID)
            begun = Index(uid=IndexUid("films"), incarnation=0, primary_key="id", shards=1, replicas=1)
            await cluster.store.begin_creation(begun, nodes={N1: 3})
            finding = (await findings(world))["index.unfinished"]
            assert finding.hint == (
                "run `miroir index create films --primary-key id --shards 1` again: it goes on with it"
            )
            async with cluster.locks.order("films"):
                assert "index.unfinished" not in await findings(world)


async def test_settings_and_indexes_changed_past_miroir(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster, settings={"searchableAttributes": ["title", "text"]})
            client = cluster.fleet[N2]
            body = b'{"stopWords": ["the"], "searchableAttributes": ["text", "title"], "rankingRules": ["typo"]}'
            answer = await client.write("PATCH", f"indexes/{UID}/settings", content=body)
            await client.wait_task(answer.task)  # type: ignore[union-attr]
            found = await findings(world)
            assert set(found) == {"settings.drift"}
            assert found["settings.drift"].where == f"{UID}@n2"
            assert "`rankingRules`, `searchableAttributes`, `stopWords`" in found["settings.drift"].message
            answer = await client.write("DELETE", f"indexes/{UID}")
            await client.wait_task(answer.task)  # type: ignore[union-attr]
        found = await findings(world)
        assert set(found) == {"index.missing"}
        assert f"node `n2` has no index `{UID}`, of which it should hold 2 shards" in found["index.missing"].message
