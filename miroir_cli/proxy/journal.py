"""Requests that change the cluster by themselves, keys and runs, in the journal of commands. Writes are tasks."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING

from miroir_cli.errors import MiroirError, first_of
from miroir_cli.secrecy import text_without_secrets
from miroir_cli.store.journal import INTERRUPTED, LONGEST_RESULT, CommandRecord
from miroir_cli.store.processes import born

if TYPE_CHECKING:
    from miroir_cli.proxy.router import Call, Handler, Reply

INTERNAL = 1


def kept(words: str, handler: Handler) -> Handler:
    """The same handler with a record of every call under the name `words`: begun before it, ended after it."""

    @wraps(handler)
    async def recorded(call: Call) -> Reply:
        store = call.service.cluster.store
        record = _record(call, words)
        with suppress(MiroirError):
            await store.save_command(record, durable=True)
        ended = replace(record, status=INTERRUPTED)  # a request that is given up raises no `Exception`
        try:
            reply = await handler(call)
            ended = replace(record, status=0)
            return reply
        except Exception as error:
            known = first_of(error)
            ended = replace(record, status=INTERNAL, result=type(known).__name__)
            if isinstance(known, MiroirError):
                said = text_without_secrets(known.message)[:LONGEST_RESULT]
                ended = replace(record, status=known.exit_status, code=known.code, result=said)
            raise
        finally:
            with suppress(MiroirError):
                await store.save_command(replace(ended, finished_at=time.time_ns() // 1_000_000), durable=False)

    return recorded


def _record(call: Call, words: str) -> CommandRecord:
    cluster, key = call.service.cluster, call.caller.key
    host, pid, now = socket.gethostname(), os.getpid(), time.time_ns()
    path = call.target.partition("?")[0]
    if "key" in call.path:  # which may be the key itself
        path = f"{path.rpartition('/')[0]}/{{key}}"
    if path.startswith("/_miroir/"):
        who = "admin key"
    else:
        who = "master key" if key is None else f"key {key.record.uid}"
    return CommandRecord(
        mark=f"{host}:{pid}:{now}:{call.request_id}",
        words=words,
        line=f"{call.method} {path}",
        cluster=cluster.topology.cluster.name,
        user=who,
        host=host,
        pid=pid,
        started_at=now // 1_000_000,
        born=born(pid),
        topology=str(cluster.topology.path.absolute()),
    )
