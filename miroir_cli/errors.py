"""Every error that miroir raises, in one tree.

    MiroirError                     1
    ├── UsageError                  2   the command line or a request is wrong
    │   ├── ReservedField           2   a document or setting uses a `_miroir_` name
    │   ├── PrimaryKeyRequired      2
    │   ├── SourceInvalid           2   a file to import cannot be read as documents, or is not the one begun with
    │   ├── ApiError                2   a request to the proxy is refused with one of Meilisearch's codes
    │   ├── IsAnAlias               2   an alias was named where an index itself is needed
    │   ├── MultiAlias              2   an alias of several indexes was named where one is needed
    │   │   └── MultiAliasNotWritable 2
    │   └── NodeRefusal             2   a node refused a request as wrong (its own code and message)
    ├── PartialError                3   part of it was done, the rest is named
    ├── NotFound                    4
    │   ├── IndexNotFound           4
    │   ├── AliasNotFound           4
    │   ├── DocumentNotFound        4
    │   └── BackupNotFound          4
    ├── AlreadyExists               2
    ├── TemporaryError              5   run again, it resumes
    │   ├── NodeUnavailable         5   a node did not answer, or answered that it is busy
    │   ├── WriteUnknown            5   a write whose outcome is not known yet
    │   ├── NoQuorum                5   fewer in-sync replicas than `min_in_sync`
    │   ├── ShardUnavailable        5   no in-sync replica of a shard answered
    │   ├── IndexRenamed            5   an index got another name while something was done with it
    │   ├── StateUnavailable        5   the state store cannot be written (disk full, read-only, busy, unreachable)
    │   ├── LeaseLost               5   another process took over what this one was doing while it was stopped
    │   ├── NodeTaskFailed          5   a node accepted a change and failed to apply it
    │   └── BackupUnavailable       5   the place of backups cannot be read or written (disk full, no permission)
    ├── ConfigurationError          6
    │   ├── TopologyInvalid         6
    │   ├── SettingsInvalid         6
    │   ├── NodeUnsupported         6   not Meilisearch, or too old
    │   ├── StateCorrupt            6   the state file is damaged: `miroir state recover`
    │   ├── StateTooNew             6
    │   └── BackupTooNew            6   the backup was written by a newer miroir
    ├── Locked                      8   another process holds the lock
    │   └── WorkAhead               8   a write waits for other work on its index to end
    ├── ChangesPending              9
    ├── AuthenticationFailed       12
    ├── DifferencesFound           13
    │   └── BackupDamaged          13   files of a backup are missing, or not what its manifest says
    ├── Refused                    14   it would lose data or coverage
    │   ├── ForeignNode            14   the node belongs to another cluster
    │   ├── AliasChanged           14   somebody else was quicker to change an alias
    │   ├── IndexFrozen            14   the index takes no documents until its settings are right on all nodes
    │   ├── PrimaryKeyFixed        14   documents are placed by the primary key that the index has
    │   └── EpochStale             14   the nodes know a newer state than this state store: `miroir state recover`
    └── Interrupted           130/143

The number is the exit status. `http_status` is what the proxy answers, `retry_helps` whether the same call can
succeed later without anybody changing anything.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final


class MiroirError(Exception):
    """Base of all errors: one line that says what and where, and a hint with the next step."""

    code: ClassVar[str] = "miroir_unexpected"
    exit_status: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    retry_helps: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


FILE_HINT: Final = "check its path, its owner and its mode"
"""The next step where the system refuses a file that was named."""


class UsageError(MiroirError):
    code = "miroir_usage"
    exit_status = 2
    http_status = 400


class ReservedField(UsageError):
    code = "miroir_reserved_field"


class PrimaryKeyRequired(UsageError):
    code = "miroir_primary_key_required"


class SourceInvalid(UsageError):
    code = "miroir_source_invalid"


class ApiError(UsageError):
    """A refusal by the proxy with a code of Meilisearch's, or one beside them: `api_code`. The status follows from it
    unless `status` says otherwise."""

    code = "miroir_api_error"

    def __init__(self, api_code: str, message: str, *, status: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.api_code = api_code
        self.status = status


class IsAnAlias(UsageError):
    """What was asked for is done with an index itself, and the name is that of an alias."""

    code = "miroir_is_an_alias"


class MultiAlias(UsageError):
    """What was asked for needs one index, and the alias stands for several."""

    code = "miroir_multi_alias"


class MultiAliasNotWritable(MultiAlias):
    code = "miroir_multi_alias_not_writable"
    http_status = 409


class NodeRefusal(UsageError):
    """A node's own answer to a request it considers wrong (4xx with a Meilisearch error body)."""

    code = "miroir_node_refusal"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        node_code: str,
        node: str,
        error_type: str = "invalid_request",
        retry_after: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.node_code = node_code
        self.node = node
        self.error_type = error_type
        self.retry_after = retry_after


class PartialError(MiroirError):
    code = "miroir_partial"
    exit_status = 3


class NotFound(MiroirError):
    code = "miroir_not_found"
    exit_status = 4
    http_status = 404


class IndexNotFound(NotFound):
    code = "index_not_found"


class AliasNotFound(NotFound):
    code = "miroir_alias_not_found"


class DocumentNotFound(NotFound):
    code = "document_not_found"


class BackupNotFound(NotFound):
    code = "miroir_backup_not_found"


class AlreadyExists(UsageError):
    code = "index_already_exists"
    http_status = 409


class TemporaryError(MiroirError):
    code = "miroir_temporary"
    exit_status = 5
    http_status = 503
    retry_helps = True


class NodeUnavailable(TemporaryError):
    """A node did not answer, or said that it cannot serve now.

    `sent` tells whether the request may have reached the node: only then is the outcome of a write unknown.
    """

    code = "miroir_node_unavailable"

    def __init__(
        self,
        message: str,
        *,
        node: str,
        sent: bool,
        retry_after: float | None = None,
        hint: str | None = "run `miroir status` to see which nodes answer",
    ) -> None:
        super().__init__(message, hint=hint)
        self.node = node
        self.sent = sent
        self.retry_after = retry_after


class WriteUnknown(TemporaryError):
    code = "miroir_write_unknown"


class NoQuorum(TemporaryError):
    code = "miroir_no_quorum"


class ShardUnavailable(TemporaryError):
    code = "miroir_shard_unavailable"


class IndexRenamed(TemporaryError):
    """What was begun with an index under a name cannot go on: that name stands for another one, or for none, now."""

    code = "miroir_index_renamed"


class StateUnavailable(TemporaryError):
    code = "miroir_state_unavailable"


class LeaseLost(TemporaryError):
    """This process held a lease, was stopped for longer than it lasts, and another one has it now."""

    code = "miroir_lease_lost"


class NodeTaskFailed(TemporaryError):
    code = "miroir_node_task_failed"


class BackupUnavailable(TemporaryError):
    code = "miroir_backup_unavailable"


class ConfigurationError(MiroirError):
    code = "miroir_configuration"
    exit_status = 6


class TopologyInvalid(ConfigurationError):
    code = "miroir_topology_invalid"


class SettingsInvalid(ConfigurationError):
    """`node_error`: the error with which a node failed to apply them, in Meilisearch's shape, if one did."""

    code = "miroir_settings_invalid"
    http_status = 400

    def __init__(self, message: str, *, hint: str | None = None, node_error: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.node_error = node_error


class NodeUnsupported(ConfigurationError):
    code = "miroir_node_unsupported"


class StateCorrupt(ConfigurationError):
    code = "miroir_state_corrupt"


class StateTooNew(ConfigurationError):
    code = "miroir_state_too_new"


class BackupTooNew(ConfigurationError):
    code = "miroir_backup_too_new"


class Locked(MiroirError):
    code = "miroir_locked"
    exit_status = 8
    http_status = 503
    retry_helps = True


class WorkAhead(Locked):
    """A client's write stands behind work on its index that has not ended."""

    code = "miroir_work_ahead"


class ChangesPending(MiroirError):
    code = "miroir_changes_pending"
    exit_status = 9


class AuthenticationFailed(MiroirError):
    code = "miroir_invalid_auth"
    exit_status = 12
    http_status = 401


class DifferencesFound(MiroirError):
    code = "miroir_differences_found"
    exit_status = 13


class BackupDamaged(DifferencesFound):
    code = "miroir_backup_damaged"


class Refused(MiroirError):
    code = "miroir_refused"
    exit_status = 14
    http_status = 409


class AliasChanged(Refused):
    """An alias is not as it was when it was looked at: nothing was changed."""

    code = "miroir_alias_changed"


class IndexFrozen(Refused):
    code = "miroir_index_frozen"
    http_status = 423


class ForeignNode(Refused):
    code = "miroir_foreign_node"


class PrimaryKeyFixed(Refused):
    """The index holds documents, which are placed by the key that it has."""

    code = "index_primary_key_already_exists"
    http_status = 400

    def __init__(self, uid: str, key: str) -> None:
        super().__init__(f"index `{uid}` already has a primary key: `{key}`", hint="delete its documents first")
        self.key = key


class EpochStale(Refused):
    code = "miroir_epoch_stale"
    http_status = 503


class Interrupted(MiroirError):
    """Stopped by a signal with the journal saved; exits with 128 + the signal's number."""

    code = "miroir_interrupted"
    exit_status = 130

    def __init__(self, message: str, *, signal_number: int = 2, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.signal_number = signal_number


def first_of(error: Exception) -> Exception:
    """The error that counts of those that tasks of a group ended with, one that is not miroir's own before others; any
    other error itself."""
    if not isinstance(error, ExceptionGroup):
        return error
    members = [first_of(member) for member in error.exceptions]
    return next((member for member in members if not isinstance(member, MiroirError)), members[0])


MOST_LISTED: Final = 8
"""Names that a hint lists; of more it says where they are listed."""


NEAR: Final = 0.66
"""How alike names must be (`difflib`'s ratio) to be taken for each other: one letter of three may differ."""


def nearest(name: str, known: Iterable[str], *, alike: float = NEAR) -> str | None:
    """The known name that was probably meant, capitals aside; `alike`: how alike it has to be, 0 to 1."""
    by_folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=alike)
    return by_folded[near[0]] if near else None


def known_instead(name: str, known: Iterable[str], *, listing: str) -> str:
    """The hint for a name that nothing has: the one that was meant, those that there are when few, or else `listing`,
    the command that shows them."""
    names = list(known)
    near = nearest(name, names)
    if near is not None:
        return f"did you mean `{near}`?"
    if 0 < len(names) <= MOST_LISTED:
        return f"there {'is' if len(names) == 1 else 'are'} {', '.join(f'`{each}`' for each in names)}"
    return f"run `{listing}`"
