"""Runs and their steps.

`miroir:runs:<id>` is a run, with the indexes that its steps are about; `miroir:runs:_unfinished` names those that have
not ended. The steps are the fields of `miroir:steps:<run>`: there may be many, so they are not read to write one.
`miroir:steps:_switching:<uid>` names the steps `<run>/<number>` that are about to switch a shard of an index: whoever
imports looks there before every batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.errors import NotFound
from miroir_cli.model import IndexUid, NodeName, ShardId
from miroir_cli.store.encoding import from_json, now, to_json
from miroir_cli.store.journal import (
    KEPT_RUNS,
    Process,
    RunId,
    RunKind,
    RunRecord,
    RunState,
    StepEvent,
    StepRecord,
    StepState,
    Wanted,
)
from miroir_cli.store.processes import this_process
from miroir_cli.store.redis.access import Part
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.run_events import events_by_process, note, read_events
from miroir_cli.store.redis.values import answered, number, texts

if TYPE_CHECKING:
    from miroir_cli.model import Index, Json
    from miroir_cli.store.redis.fields import Hash
    from miroir_cli.store.redis.transaction import Transaction

RUNS: Final = listing("runs")
UNFINISHED: Final = "miroir:runs:_unfinished"
OLD_MOVERS: Final = 7 * 24 * 3_600_000
"""Milliseconds for which the attempts of moves are known, while no run is under way."""


def switching_key(uid: str) -> str:
    return f"miroir:steps:_switching:{uid}"


async def begin_run(transaction: Transaction, run: RunRecord, steps: Sequence[StepRecord]) -> RunRecord:
    """Record a run with its steps before anything of it happens; returns it with its id."""
    id = RunId(await transaction.next("runs"))
    begun = transaction.fresh(key("runs", id))
    begun.update(
        texts(
            {
                "id": id,
                "kind": run.kind.value,
                "title": run.title,
                "state": run.state.value,
                "wanted": run.wanted.value,
                "parallel": run.parallel,
                "rate": run.rate,
                **_fields_of(run.process),
                "command": run.command,
                "fingerprint": run.fingerprint,
                "started_at": now(),
                "summary": to_json(run.summary),
                "indexes": sorted({step.index for step in steps}),
            }
        )
    )
    transaction.fresh(key("steps", id)).update({str(step.number): _step_text(step) for step in steps})
    for step in steps:
        _list_switching(transaction, id, step)
    note(transaction, id, None, process=run.process, command=run.command, state="begun", detail=f"{len(steps)} steps")
    old = await transaction.ranged(RUNS, high=id - KEPT_RUNS)
    for record in await transaction.hashes(key("runs", member.name) for member in old):
        if "finished_at" in record:
            await _drop(transaction, record)
    transaction.add(RUNS, str(id), id)
    transaction.add(UNFINISHED, str(id), id)
    return _run_of(begun)


async def _drop(transaction: Transaction, record: Hash) -> None:
    id = RunId(int(record["id"]))
    for event in await read_events(transaction, id):
        if event.step is None:
            transaction.discard(events_by_process(event.process.host, event.process.pid), f"{id}:{event.at}")
    for uid in from_json(record["indexes"]):
        for name in await transaction.names(switching_key(uid)):
            if name.startswith(f"{id}/"):
                transaction.discard(switching_key(uid), name)
    transaction.discard(RUNS, str(id))
    transaction.also("DEL", key("steps", id), key("events", id))
    record.clear()


def _fields_of(process: Process) -> dict[str, str]:
    return {"host": process.host, "pid": str(process.pid), "born": process.born}


def _process_of(run: Mapping[str, str]) -> Process:
    return Process(host=run["host"], pid=int(run["pid"]), born=run["born"])


def _run_of(fields: Mapping[str, str]) -> RunRecord:
    return RunRecord(
        id=RunId(int(fields["id"])),
        kind=RunKind(fields["kind"]),
        title=fields["title"],
        state=RunState(fields["state"]),
        wanted=Wanted(fields["wanted"]),
        parallel=int(fields["parallel"]),
        rate=number(fields.get("rate")),
        process=_process_of(fields),
        command=fields["command"],
        fingerprint=fields["fingerprint"],
        started_at=int(fields["started_at"]),
        finished_at=number(fields.get("finished_at")),
        summary=from_json(fields["summary"]),
    )


async def read_run(transaction: Transaction, id: RunId) -> RunRecord | None:
    found = await transaction.hash(key("runs", id))
    return _run_of(found) if found else None


async def _require(transaction: Transaction, id: RunId) -> Hash:
    found = await transaction.hash(key("runs", id))
    if not found:
        raise NotFound(f"run {id} not found", hint="run `miroir journal list`")
    return found


async def read_runs(transaction: Transaction, *, limit: int) -> tuple[RunRecord, ...]:
    """The newest runs, newest first."""
    newest = await transaction.ranged(RUNS, limit=limit, reverse=True)
    return tuple(map(_run_of, await transaction.hashes(key("runs", member.name) for member in newest)))


async def _unfinished(transaction: Transaction) -> list[Hash]:
    return await transaction.hashes(key("runs", id) for id in await transaction.names(UNFINISHED))


async def read_unfinished(transaction: Transaction, *, kind: RunKind) -> RunRecord | None:
    """The oldest run of a kind that has not ended."""
    return next((_run_of(record) for record in await _unfinished(transaction) if record["kind"] == kind), None)


async def read_open_runs(transaction: Transaction, uid: str) -> tuple[RunRecord, ...]:
    """Unfinished runs with a step of an index that has not ended.

    What is decided by it holds as long as nobody begins, adopts or ends a run; how far its steps are may change.
    """
    runs = [record for record in await _unfinished(transaction) if uid in from_json(record["indexes"])]
    steps = await _glance(transaction, [key("steps", record["id"]) for record in runs])
    return tuple(
        _run_of(record) for record, found in zip(runs, steps, strict=True) if any(_is_open(text, uid) for text in found)
    )


def _is_open(text: str, uid: str) -> bool:
    step = from_json(text)
    return step["index"] == uid and not StepState(step["state"]).ended


async def _glance(transaction: Transaction, keys: Sequence[str]) -> list[list[str]]:
    """The values of hashes, of which each field may change meanwhile."""
    found = await transaction.ask([("HGETALL", each) for each in keys], watch=False)
    return [list(answered(each).values()) for each in found]


async def adopt_run(transaction: Transaction, id: RunId, *, process: Process, command: str) -> RunRecord:
    """Another process drives the run from now on."""
    run = await _require(transaction, id)
    run.update(_fields_of(process), command=command, state=RunState.RUNNING.value, wanted=Wanted.GO.value)
    note(transaction, id, None, process=process, command=command, state="resumed")
    return _run_of(run)


async def control_run(
    transaction: Transaction, id: RunId, *, wanted: Wanted | None, rate: int | None, parallel: int | None, command: str
) -> None:
    """Say what is wanted of a run; a number replaces its `rate` (0: none) or `parallel`."""
    run = await _require(transaction, id)
    if wanted is not None:
        run["wanted"] = wanted.value
        note(transaction, id, None, process=this_process(), command=command, state=f"asked: {wanted}")
    for name, value in (("rate", rate), ("parallel", parallel)):
        if value is not None:
            run[name] = str(value)
            if not value:
                del run[name]
            note(transaction, id, None, process=this_process(), command=command, state=f"{name}: {value}")


async def save_run(transaction: Transaction, id: RunId, *, state: RunState, summary: Json | None) -> None:
    run = await _require(transaction, id)
    before = run["state"]
    run.pop("finished_at", None)
    run.update(texts({"state": state.value, "finished_at": now() if state.ended else None}))
    if summary is not None:
        run["summary"] = to_json(summary)
    if state != before:
        note(transaction, id, None, process=_process_of(run), command=run["command"], state=state.value)
    if not state.ended:
        transaction.add(UNFINISHED, str(id), id)
        return
    transaction.discard(UNFINISHED, str(id))
    if not await transaction.names(UNFINISHED):
        await _forget_old_movers(transaction)


async def _forget_old_movers(transaction: Transaction) -> None:
    uids = await transaction.names(listing("indexes"))
    for movers in await transaction.hashes(key("movers", uid) for uid in uids):
        for nonce, text in list(movers.items()):
            if from_json(text)["created_at"] < now() - OLD_MOVERS:
                del movers[nonce]


# -- steps


def _step_text(step: StepRecord) -> str:
    return to_json(
        {
            "index": step.index,
            "incarnation": step.incarnation,
            "shard": step.shard,
            "target": step.target,
            "leaving": step.leaving,
            "repair": step.repair,
            "state": step.state.value,
            "documents": step.documents,
            "copied": step.copied,
            "pause": step.pause,
            "error": step.error,
        }
    )


def _step_of(number: int, text: str) -> StepRecord:
    fields = from_json(text)
    return StepRecord(
        number=number,
        index=IndexUid(fields["index"]),
        incarnation=fields["incarnation"],
        shard=ShardId(fields["shard"]),
        target=None if fields["target"] is None else NodeName(fields["target"]),
        leaving=None if fields["leaving"] is None else NodeName(fields["leaving"]),
        repair=fields["repair"],
        state=StepState(fields["state"]),
        documents=fields["documents"],
        copied=fields["copied"],
        pause=fields["pause"],
        error=fields["error"],
    )


async def read_steps(transaction: Transaction, id: RunId) -> tuple[StepRecord, ...]:
    found = await transaction.hash(key("steps", id))
    return tuple(_step_of(n, found[str(n)]) for n in sorted(map(int, found)))


async def save_step(transaction: Transaction, id: RunId, step: StepRecord, *, detail: str) -> None:
    """Record how far a step is; a new state, or a detail, is a line of the journal. The transaction does not see it
    afterwards. Steps of a run are saved at the same time by the one process that drives it: they do not conflict."""
    run = await _require(transaction, id)
    (before,) = await transaction.ask([("HGET", key("steps", id), step.number)], watch=False)
    transaction.also("HSET", key("steps", id), step.number, _step_text(step))
    _list_switching(transaction, id, step)
    if step.index not in (indexes := from_json(run["indexes"])):
        run["indexes"] = to_json(sorted([*indexes, step.index]))
    if detail or before is None or from_json(before)["state"] != step.state:
        note(
            transaction,
            id,
            step.number,
            process=_process_of(run),
            command=run["command"],
            state=step.state.value,
            detail=detail,
        )


def _list_switching(transaction: Transaction, id: RunId, step: StepRecord) -> None:
    if step.state is StepState.SWITCHING and step.error is None:
        transaction.add(switching_key(step.index), f"{id}/{step.number}", id)
    else:
        transaction.discard(switching_key(step.index), f"{id}/{step.number}")


async def read_switching(transaction: Transaction, uid: str) -> tuple[Process, ...]:
    ids = dict.fromkeys(name.partition("/")[0] for name in await transaction.names(switching_key(uid)))
    runs = await transaction.hashes(key("runs", id) for id in ids)
    driven = (run for run in runs if run and "finished_at" not in run and run["wanted"] == Wanted.GO)
    return tuple(dict.fromkeys(map(_process_of, driven)))


async def rename_steps(
    transaction: Transaction,
    follows: Mapping[IndexUid, IndexUid],
    fresh: Mapping[IndexUid, int],
    known: Mapping[IndexUid, Index],
) -> None:
    """Every step about a name is one about the name that follows it. Those about the incarnation that a name stands for
    get its `fresh` one; those of its predecessors keep theirs."""
    runs = await transaction.hashes(key("runs", id) for id in await transaction.names(RUNS))
    concerned = [run for run in runs if not follows.keys().isdisjoint(from_json(run["indexes"]))]
    for run, steps in zip(
        concerned, await transaction.hashes(key("steps", run["id"]) for run in concerned), strict=True
    ):
        run["indexes"] = to_json(sorted(follows.get(uid, uid) for uid in from_json(run["indexes"])))
        for n, text in list(steps.items()):
            fields: dict[str, Any] = from_json(text)
            uid = fields["index"]
            if uid not in follows:
                continue
            if uid in fresh and fields["incarnation"] == known[uid].incarnation:
                fields["incarnation"] = fresh[uid]
            fields["index"] = follows[uid]
            steps[n] = to_json(fields)
    await _rename_switching(transaction, follows)


async def _rename_switching(transaction: Transaction, follows: Mapping[IndexUid, IndexUid]) -> None:
    found = {uid: await transaction.ranged(switching_key(uid)) for uid in follows}
    for uid in follows:
        transaction.empty(switching_key(uid))
    for uid, members in found.items():
        for member in members:
            transaction.add(switching_key(follows[uid]), member.name, member.score)


class Runs(Part):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def begin_run(self, run: RunRecord, steps: Sequence[StepRecord]) -> RunRecord:
        return await self.access.write(lambda transaction: begin_run(transaction, run, steps))

    async def adopt_run(self, id: RunId, *, process: Process, command: str) -> RunRecord:
        return await self.access.write(lambda transaction: adopt_run(transaction, id, process=process, command=command))

    async def run(self, id: RunId) -> RunRecord | None:
        return await self.access.read(lambda transaction: read_run(transaction, id))

    async def runs(self, *, limit: int = 20) -> tuple[RunRecord, ...]:
        return await self.access.read(lambda transaction: read_runs(transaction, limit=limit))

    async def unfinished_run(self, kind: RunKind = RunKind.REBALANCE) -> RunRecord | None:
        return await self.access.read(lambda transaction: read_unfinished(transaction, kind=kind))

    async def control_run(
        self,
        id: RunId,
        *,
        command: str,
        wanted: Wanted | None = None,
        rate: int | None = None,
        parallel: int | None = None,
    ) -> None:
        await self.access.write(
            lambda transaction: control_run(
                transaction, id, wanted=wanted, rate=rate, parallel=parallel, command=command
            )
        )

    async def save_run(self, id: RunId, *, state: RunState, summary: Json | None = None) -> None:
        await self.access.write(lambda transaction: save_run(transaction, id, state=state, summary=summary))

    async def steps(self, id: RunId) -> tuple[StepRecord, ...]:
        return await self.access.read(lambda transaction: read_steps(transaction, id))

    async def save_step(self, id: RunId, step: StepRecord, *, detail: str = "") -> None:
        await self.access.write(lambda transaction: save_step(transaction, id, step, detail=detail))

    async def switching(self, uid: str) -> tuple[Process, ...]:
        """The processes whose runs are about to switch a shard of the index."""
        return await self.access.read(lambda transaction: read_switching(transaction, uid))

    async def events(self, id: RunId) -> tuple[StepEvent, ...]:
        return await self.access.read(lambda transaction: read_events(transaction, id))
