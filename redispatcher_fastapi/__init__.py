"""Typed background work for FastAPI on Redis: consumers, publishers and a pool."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redispatcher_fastapi.backoff import Exponential, Fixed, Reject, Retry, RetryPolicy, Snooze
    from redispatcher_fastapi.config import ConsumerConfig, RedispatcherConfig
    from redispatcher_fastapi.consumer import (
        BaseConsumer,
        Batch,
        BatchConsumer,
        BatchItem,
        InvalidOptionError,
        MessageEncodingError,
        OnConflict,
        ResultDecodingError,
        Unique,
        UniqueScope,
    )
    from redispatcher_fastapi.database import Outbox
    from redispatcher_fastapi.dispatcher import Redispatcher
    from redispatcher_fastapi.errors import (
        BatchEndedError,
        BrokerAccessError,
        BrokerError,
        BrokerUnavailableError,
        ConfigurationError,
        ConsumerDefinitionError,
        DuplicateJobError,
        JobCancelledError,
        JobError,
        JobExpiredError,
        JobFailedError,
        MessageTooLargeError,
        MiddlewareError,
        NoTransactionError,
        NotReplicatedError,
        NotRunningError,
        OutboxTableError,
        PublishError,
        PublishUncertainError,
        QueueFullError,
        RedispatcherError,
        RequestOnlyDependencyError,
        SealError,
        WrongMessageError,
    )
    from redispatcher_fastapi.hooks import LoggingHooks, PoolHooks
    from redispatcher_fastapi.inspector import Inspector, JobPage
    from redispatcher_fastapi.job import (
        Attempt,
        Disposition,
        Job,
        JobContext,
        JobRecord,
        JobState,
        Priority,
    )
    from redispatcher_fastapi.keys import InvalidNameError
    from redispatcher_fastapi.middleware import (
        BatchRun,
        CallNext,
        Middleware,
        Publication,
        Run,
    )
    from redispatcher_fastapi.pool import ConsumerPool, PoolHealth, PoolState, QueueHealth
    from redispatcher_fastapi.publisher import Publisher, TransactionalPublisher
    from redispatcher_fastapi.sealing import AesGcmCipher, BodyCipher, Sealing, SigningKeys

__all__ = [
    "AesGcmCipher",
    "Attempt",
    "BaseConsumer",
    "Batch",
    "BatchConsumer",
    "BatchEndedError",
    "BatchItem",
    "BatchRun",
    "BodyCipher",
    "BrokerAccessError",
    "BrokerError",
    "BrokerUnavailableError",
    "CallNext",
    "ConfigurationError",
    "ConsumerConfig",
    "ConsumerDefinitionError",
    "ConsumerPool",
    "Disposition",
    "DuplicateJobError",
    "Exponential",
    "Fixed",
    "Inspector",
    "InvalidNameError",
    "InvalidOptionError",
    "Job",
    "JobCancelledError",
    "JobContext",
    "JobError",
    "JobExpiredError",
    "JobFailedError",
    "JobPage",
    "JobRecord",
    "JobState",
    "LoggingHooks",
    "MessageEncodingError",
    "MessageTooLargeError",
    "Middleware",
    "MiddlewareError",
    "NoTransactionError",
    "NotReplicatedError",
    "NotRunningError",
    "OnConflict",
    "Outbox",
    "OutboxTableError",
    "PoolHealth",
    "PoolHooks",
    "PoolState",
    "Priority",
    "Publication",
    "PublishError",
    "PublishUncertainError",
    "Publisher",
    "QueueFullError",
    "QueueHealth",
    "Redispatcher",
    "RedispatcherConfig",
    "RedispatcherError",
    "Reject",
    "RequestOnlyDependencyError",
    "ResultDecodingError",
    "Retry",
    "RetryPolicy",
    "Run",
    "SealError",
    "Sealing",
    "SigningKeys",
    "Snooze",
    "TransactionalPublisher",
    "Unique",
    "UniqueScope",
    "WrongMessageError",
]

# Imported when asked for: pytest imports this package for its plugin in every run, also in those
# that have nothing to do with this library, and FastAPI and redis-py take most of a second.
_MODULES = {
    "AesGcmCipher": "sealing",
    "Attempt": "job",
    "BaseConsumer": "consumer",
    "Batch": "consumer",
    "BatchConsumer": "consumer",
    "BatchEndedError": "errors",
    "BatchItem": "consumer",
    "BatchRun": "middleware",
    "BodyCipher": "sealing",
    "BrokerAccessError": "errors",
    "BrokerError": "errors",
    "BrokerUnavailableError": "errors",
    "CallNext": "middleware",
    "ConfigurationError": "errors",
    "ConsumerConfig": "config",
    "ConsumerDefinitionError": "errors",
    "ConsumerPool": "pool",
    "Disposition": "job",
    "DuplicateJobError": "errors",
    "Exponential": "backoff",
    "Fixed": "backoff",
    "Inspector": "inspector",
    "InvalidNameError": "keys",
    "InvalidOptionError": "consumer",
    "Job": "job",
    "JobCancelledError": "errors",
    "JobContext": "job",
    "JobError": "errors",
    "JobExpiredError": "errors",
    "JobFailedError": "errors",
    "JobPage": "inspector",
    "JobRecord": "job",
    "JobState": "job",
    "LoggingHooks": "hooks",
    "MessageEncodingError": "consumer",
    "MessageTooLargeError": "errors",
    "Middleware": "middleware",
    "MiddlewareError": "errors",
    "NoTransactionError": "errors",
    "NotReplicatedError": "errors",
    "NotRunningError": "errors",
    "OnConflict": "consumer",
    "Outbox": "database",
    "OutboxTableError": "errors",
    "PoolHealth": "pool",
    "PoolHooks": "hooks",
    "PoolState": "pool",
    "Priority": "job",
    "Publication": "middleware",
    "PublishError": "errors",
    "PublishUncertainError": "errors",
    "Publisher": "publisher",
    "QueueFullError": "errors",
    "QueueHealth": "pool",
    "Redispatcher": "dispatcher",
    "RedispatcherConfig": "config",
    "RedispatcherError": "errors",
    "Reject": "backoff",
    "RequestOnlyDependencyError": "errors",
    "ResultDecodingError": "consumer",
    "Retry": "backoff",
    "RetryPolicy": "backoff",
    "Run": "middleware",
    "SealError": "errors",
    "Sealing": "sealing",
    "SigningKeys": "sealing",
    "Snooze": "backoff",
    "TransactionalPublisher": "publisher",
    "Unique": "consumer",
    "UniqueScope": "consumer",
    "WrongMessageError": "errors",
}


if not TYPE_CHECKING:  # or a misspelt import would pass the type checkers

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
