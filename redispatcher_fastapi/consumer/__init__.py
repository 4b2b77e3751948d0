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
from redispatcher_fastapi.consumer.results import ResultDecodingError, ResultEncodingError
from redispatcher_fastapi.consumer.sealed import result_reader, seal_result
from redispatcher_fastapi.consumer.submission import InvalidOptionError, prepare

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
    "InvalidOptionError",
    "ItemSucceeded",
    "MessageEncodingError",
    "ResultDecodingError",
    "ResultEncodingError",
    "Verdicts",
    "definition_of",
    "prepare",
    "result_reader",
    "seal_result",
]
