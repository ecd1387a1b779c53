"""Every error that miroir raises, in one tree.

    MiroirError                     1
    ├── UsageError                  2   the command line or a request is wrong
    │   ├── ReservedField           2   a document or setting uses a `_miroir_` name
    │   ├── PrimaryKeyRequired      2
    │   ├── SourceInvalid           2   a file to import cannot be read as documents, or is not the one begun with
    │   └── NodeRefusal             2   a node refused a request as wrong (its own code and message)
    ├── PartialError                3   part of it was done, the rest is named
    ├── NotFound                    4
    │   ├── IndexNotFound           4
    │   └── DocumentNotFound        4
    ├── AlreadyExists               2
    ├── TemporaryError              5   run again, it resumes
    │   ├── NodeUnavailable         5   a node did not answer, or answered that it is busy
    │   ├── WriteUnknown            5   a write whose outcome is not known yet
    │   ├── NoQuorum                5   fewer in-sync replicas than `min_in_sync`
    │   ├── ShardUnavailable        5   no in-sync replica of a shard answered
    │   ├── StateUnavailable        5   the state store cannot be written (disk full, read-only, busy)
    │   └── NodeTaskFailed          5   a node accepted a change and failed to apply it
    ├── ConfigurationError          6
    │   ├── TopologyInvalid         6
    │   ├── SettingsInvalid         6
    │   ├── NodeUnsupported         6   not Meilisearch, or too old
    │   ├── StateCorrupt            6   the state file is damaged: `miroir state recover`
    │   └── StateTooNew             6
    ├── Locked                      8   another process holds the lock
    ├── ChangesPending              9
    ├── AuthenticationFailed       12
    ├── DifferencesFound           13
    ├── Refused                    14   it would lose data or coverage
    │   ├── ForeignNode            14   the node belongs to another cluster
    │   └── EpochStale             14   the nodes know a newer state than this state store: `miroir state recover`
    └── Interrupted           130/143

The number is the exit status. `http_status` is what the proxy answers, `retry_helps` whether the same call can
succeed later without anybody changing anything.
"""

from __future__ import annotations

from typing import ClassVar


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


class DocumentNotFound(NotFound):
    code = "document_not_found"


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


class StateUnavailable(TemporaryError):
    code = "miroir_state_unavailable"


class NodeTaskFailed(TemporaryError):
    code = "miroir_node_task_failed"


class ConfigurationError(MiroirError):
    code = "miroir_configuration"
    exit_status = 6


class TopologyInvalid(ConfigurationError):
    code = "miroir_topology_invalid"


class SettingsInvalid(ConfigurationError):
    code = "miroir_settings_invalid"
    http_status = 400


class NodeUnsupported(ConfigurationError):
    code = "miroir_node_unsupported"


class StateCorrupt(ConfigurationError):
    code = "miroir_state_corrupt"


class StateTooNew(ConfigurationError):
    code = "miroir_state_too_new"


class Locked(MiroirError):
    code = "miroir_locked"
    exit_status = 8
    http_status = 503
    retry_helps = True


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


class Refused(MiroirError):
    code = "miroir_refused"
    exit_status = 14
    http_status = 409


class ForeignNode(Refused):
    code = "miroir_foreign_node"


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
