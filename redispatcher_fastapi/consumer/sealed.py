"""Results on their way through a seal, if the configuration has one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.sealing import refuse_sealed_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from redispatcher_fastapi.consumer.definition import ConsumerDefinition
    from redispatcher_fastapi.sealing import Sealing


def result_reader(
    definition: ConsumerDefinition, sealing: Sealing | None
) -> Callable[[str, bytes | None], Any]:
    """Return what turns a job's id and stored result into what ``process_message`` returned.

    It raises ``ResultDecodingError``, or ``SealError`` for what was not sealed as it should be.
    """
    if sealing is None:
        return partial(_read_unsealed, definition)
    return partial(_read, definition, sealing)


def seal_result(
    definition: ConsumerDefinition, sealing: Sealing, job_id: str, encoded: bytes | None
) -> bytes | None:
    """Return an encoded result as it is to be stored; raises what a cipher raises."""
    if encoded is None and definition.returns_nothing:
        return None
    return sealing.seal_result(encoded, queue=definition.queue, job_id=job_id)


def _read_unsealed(definition: ConsumerDefinition, job_id: str, stored: bytes | None) -> Any:
    if stored is not None:
        refuse_sealed_result(stored, queue=definition.queue, job_id=job_id)
    return definition.decode_result(stored)


def _read(
    definition: ConsumerDefinition, sealing: Sealing, job_id: str, stored: bytes | None
) -> Any:
    if stored is None and definition.returns_nothing:
        return None
    opened = sealing.open_result(stored, queue=definition.queue, job_id=job_id)
    return definition.decode_result(opened)
