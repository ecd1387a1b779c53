"""What every backend says when it refuses, in the same words."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from miroir_cli.errors import (
    AlreadyExists,
    IndexNotFound,
    IndexRenamed,
    Locked,
    MiroirError,
    TemporaryError,
    WorkAhead,
)
from miroir_cli.store.processes import called

if TYPE_CHECKING:
    from miroir_cli.model import Index, IndexUid
    from miroir_cli.store.journal import RunRecord
    from miroir_cli.store.records import ImportRecord


def gone(index: Index, *, now_called: IndexUid | None) -> MiroirError:
    """Why an index is not to be found under its name any more."""
    if now_called is not None:
        return IndexRenamed(
            f"index `{index.uid}` was renamed to `{now_called}` meanwhile",
            hint="run `miroir index list`, then try again",
        )
    return deleted(index.uid)


def deleted(uid: str) -> MiroirError:
    """An index that who asks believed to be there."""
    return IndexNotFound(f"index `{uid}` was deleted meanwhile", hint="run `miroir index list`")


def work_ahead(index_uid: str, task: int) -> MiroirError:
    """Why a write of an index cannot be recorded yet."""
    return WorkAhead(f"index `{index_uid}` waits for task {task}", hint="send the request again in a moment")


def exists_already(uid: str) -> MiroirError:
    return AlreadyExists(f"index `{uid}` exists already", hint=f"run `miroir index show {uid}`")


def name_taken(index: Index) -> MiroirError:
    """Somebody was quicker to create an index that is called so on the nodes."""
    return TemporaryError(f"the name `{index.stored_as}` on the nodes was taken meanwhile", hint="create it again")


# -- why an index cannot get another name now


def is_written(uid: str) -> MiroirError:
    return Locked(f"a write of index `{uid}` is on its way", hint="run the command again in a moment")


def is_moved(uid: str, run: RunRecord) -> MiroirError:
    return Locked(
        f"run {run.id} moves shards of index `{uid}`: {called(run.process)} (`{run.command}`) "
        f"since {_clock(run.started_at)}",
        hint="wait for it (`miroir rebalance status`), or cancel it: `miroir rebalance cancel`",
    )


def is_filled(uid: str, record: ImportRecord) -> MiroirError:
    return Locked(
        f"import {record.id} into index `{uid}` has been running since {_clock(record.started_at)}",
        hint="wait for it, or interrupt it: the same import goes on later, under the new name",
    )


def _clock(moment: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment / 1000))
