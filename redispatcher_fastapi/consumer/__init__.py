"""What a consumer is: the class its author writes, and the definition that is read off it."""

from __future__ import annotations

from redispatcher_fastapi.consumer.base import (
    AsyncRedisClient,
    BaseConsumer,
    Consumes,
    ConsumesBatch,
    ConsumesSync,
    definition_of,
)
from redispatcher_fastapi.consumer.batch import Batch, BatchItem, ItemSucceeded, Verdicts
from redispatcher_fastapi.consumer.batch_consumer import BatchConsumer
from redispatcher_fastapi.consumer.definition import ConsumerDefinition
from redispatcher_fastapi.consumer.encoding import MessageEncodingError
from redispatcher_fastapi.consumer.handles import make_job, make_jobs
from redispatcher_fastapi.consumer.options import (
    FlowOptions,
    InvalidOptionError,
    PublishManyOptions,
    PublishOptions,
)
from redispatcher_fastapi.consumer.partition import check_own_limits
from redispatcher_fastapi.consumer.results import ResultDecodingError, ResultEncodingError
from redispatcher_fastapi.consumer.sealed import result_reader, seal_result
from redispatcher_fastapi.consumer.submission import prepare
from redispatcher_fastapi.consumer.traits import traits_for
from redispatcher_fastapi.consumer.unique import OnConflict, Unique, UniqueScope

__all__ = [
    "AsyncRedisClient",
    "BaseConsumer",
    "Batch",
    "BatchConsumer",
    "BatchItem",
    "ConsumerDefinition",
    "Consumes",
    "ConsumesBatch",
    "ConsumesSync",
    "FlowOptions",
    "InvalidOptionError",
    "ItemSucceeded",
    "MessageEncodingError",
    "OnConflict",
    "PublishManyOptions",
    "PublishOptions",
    "ResultDecodingError",
    "ResultEncodingError",
    "Unique",
    "UniqueScope",
    "Verdicts",
    "check_own_limits",
    "definition_of",
    "make_job",
    "make_jobs",
    "prepare",
    "result_reader",
    "seal_result",
    "traits_for",
]
