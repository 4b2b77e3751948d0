"""The errors users catch, in one tree under :class:`RedispatcherError`.

Errors that belong to a single module are derived from these there.
"""

from __future__ import annotations

from typing import Any, Literal


class RedispatcherError(Exception):
    """The root of the tree: catch it to catch whatever this library raises by itself."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Without calling __init__, which may take more than args has, also in users' subclasses.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    kind: type[RedispatcherError], args: tuple[Any, ...], state: dict[str, Any]
) -> RedispatcherError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ConsumerDefinitionError(RedispatcherError, TypeError):
    """Raised when a consumer class is created with a definition that could never work."""


class ConfigurationError(RedispatcherError, ValueError):
    """Raised when the configuration, or the server it points to, cannot be used."""


class OutboxTableError(ConfigurationError):
    """Raised at start-up when the database lacks the table of the outbox, or columns of it."""


class InvalidScheduleError(ConfigurationError):
    """Raised when a schedule is declared, or made at run time, that could never work."""


class DeclaredScheduleError(RedispatcherError):
    """Raised when a schedule is to be replaced or deleted at run time that the code declares."""


class UnknownScheduleError(RedispatcherError, LookupError):
    """Raised when there is no schedule of this id for this consumer."""


class NotRunningError(RedispatcherError, RuntimeError):
    """Raised when a dispatcher, publisher or pool is used outside its lifespan."""


class BatchEndedError(RedispatcherError, RuntimeError):
    """Raised when something is said of an item of a batch that has ended."""


class RequestOnlyDependencyError(RedispatcherError, TypeError):
    """Raised at start-up when a consumer depends on something only an HTTP request has."""


class BrokerError(RedispatcherError):
    """Raised when Redis refused an operation for a reason a repetition will not heal."""


class BrokerUnavailableError(BrokerError, ConnectionError):
    """Raised when Redis could not be reached or is not ready; repeating the call is safe."""


class BrokerAccessError(BrokerError, PermissionError):
    """Raised when Redis refused the credentials or a command they do not permit."""


class BrokerMemoryError(BrokerError):
    """Raised when Redis is at ``maxmemory`` and refuses to store anything more."""


class PublishError(RedispatcherError):
    """Raised when a message was not published."""


class PublishUncertainError(PublishError):
    """Raised when the reply was lost: the job may exist.

    Publishing again with the same ``id`` is safe and leaves exactly one job.
    """

    def __init__(self, message: str, *, job_ids: tuple[str, ...]) -> None:
        super().__init__(message)
        self.job_ids = job_ids

    def __str__(self) -> str:
        match self.job_ids:
            case (job_id,):
                named = f"The id is {job_id!r}."
            case job_ids:
                named = f"There are {len(job_ids)} ids in job_ids."
        return f"{super().__str__()} {named}"


class NotReplicatedError(PublishUncertainError):
    """Raised when fewer than ``confirmed_replicas`` replicas had the job in time.

    The job exists on the master, may be running, and is lost if the master is lost now. Publishing
    again with the same ``id`` leaves exactly one job, and asks the replicas again. Raised at once,
    without knowing how many have it, when Redis refuses to ask them.
    """


class QueueFullError(PublishError):
    """Raised when ``max_queue_length`` jobs wait in the queue, or Redis has no memory left."""


class MessageTooLargeError(PublishError, ValueError):
    """Raised when an encoded message is larger than ``max_message_bytes``."""


class NoTransactionError(PublishError):
    """Raised when a message is to be part of a transaction that the session is not in."""


class WrongMessageError(PublishError, TypeError):
    """Raised when what is published is not exactly the consumer's own ``Message``."""


class DuplicateJobError(PublishError):
    """Raised when there is a job already for a message that is to be unique, or raise.

    ``job_id`` is the id of that job, which was left as it was.
    """

    def __init__(self, message: str, *, job_id: str) -> None:
        super().__init__(message)
        self.job_id = job_id


class MiddlewareError(PublishError, RuntimeError):
    """Raised when a middleware returned although nothing was published, and raised nothing.

    Also where it waits for something in a publish with a transaction, which cannot wait.
    """


class SealError(RedispatcherError, ValueError):
    """Raised by ``Job.result()`` when the stored result was not sealed for this job by a known key.

    Its text shows key ids, never a key or what was sealed.
    """

    def __init__(self, message: str, *, reason: Literal["bad_signature", "undecryptable"]) -> None:
        super().__init__(message)
        self.reason: Literal["bad_signature", "undecryptable"] = reason


class JobError(RedispatcherError):
    """The common base of what waiting for a job can raise."""


class JobFailedError(JobError):
    """Raised by ``Job.result()`` when the job is dead; ``reason`` and ``error`` say why."""

    def __init__(self, message: str, *, reason: str, error: str | None) -> None:
        super().__init__(message)
        self.reason = reason
        self.error = error


class JobCancelledError(JobError):
    """Raised by ``Job.result()`` when the job was cancelled, or had expired before it started."""


class JobExpiredError(JobError):
    """Raised by ``Job.result()`` when neither the job nor its result is kept any more."""
