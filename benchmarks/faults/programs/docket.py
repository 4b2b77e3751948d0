"""docket (pydocket): a Redis stream, with a hash per job."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import timedelta

from docket import Docket, Worker
from docket.execution import ExecutionState

from benchmarks import settings
from benchmarks.faults import work
from benchmarks.faults.journal import keep_log, note
from benchmarks.faults.serving import Answer, State, serve


async def task(job: str, seconds: float, kills: bool) -> str:
    return await work.run(job, seconds, kills)


def make_docket() -> Docket:
    docket = Docket(name="work", url=settings.REDIS_URL)
    docket.register(task)
    return docket


async def run_worker() -> None:
    """What the docket command does."""
    async with (
        make_docket() as docket,
        Worker(
            docket,
            concurrency=work.SLOTS,
            redelivery_timeout=timedelta(seconds=work.LEASE),
        ) as worker,
    ):
        running = asyncio.create_task(worker.run_forever())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        note("ready")
        await asyncio.wait([running])


_STATES: dict[ExecutionState, State] = {
    ExecutionState.COMPLETED: "done",
    ExecutionState.FAILED: "failed",
    ExecutionState.CANCELLED: "failed",
}


class Client:
    async def start(self) -> None:
        self._docket = make_docket()
        await self._docket.__aenter__()

    async def publish(self, job: str, seconds: float, *, kills: bool) -> str:
        await self._docket.add(task, key=job)(job, seconds, kills)
        return job

    async def ask(self, job: str) -> Answer:
        execution = await self._docket.get_execution(job)
        if execution is None:
            return Answer("open", "unknown")
        await execution.sync()
        is_done = execution.state is ExecutionState.COMPLETED
        result = await execution.get_result(timeout=timedelta(seconds=1)) if is_done else None
        return Answer(_STATES.get(execution.state, "open"), execution.state.value, result)


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        keep_log()
        asyncio.run(run_worker())
    else:
        serve(Client())
