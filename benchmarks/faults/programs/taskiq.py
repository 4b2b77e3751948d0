"""taskiq with a broker on a Redis stream and its result backend."""

from __future__ import annotations

from taskiq import AsyncTaskiqTask, TaskiqEvents, TaskiqState
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks import settings
from benchmarks.faults import work
from benchmarks.faults.journal import keep_log, note
from benchmarks.faults.serving import Answer, serve

broker = RedisStreamBroker(
    settings.REDIS_URL,
    idle_timeout=work.LEASE * 1000,
    unacknowledged_lock_timeout=work.LEASE,
    xread_count=1,
).with_result_backend(RedisAsyncResultBackend(settings.REDIS_URL))


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def note_ready(state: TaskiqState) -> None:
    note("ready")


@broker.task(task_name="work")
async def task(job: str, seconds: float, kills: bool) -> str:
    return await work.run(job, seconds, kills)


class Client:
    async def start(self) -> None:
        await broker.startup()
        self._tasks: dict[str, AsyncTaskiqTask[str]] = {}

    async def publish(self, job: str, seconds: float, *, kills: bool) -> str:
        published = self._tasks[job] = await task.kiq(job, seconds, kills)
        return published.task_id

    async def ask(self, job: str) -> Answer:
        known = self._tasks[job]
        if not await known.is_ready():
            return Answer("open", "no result")
        result = await known.get_result()
        if result.is_err:
            return Answer("failed", "error")
        return Answer("done", "result", result.return_value)


if __name__ == "__main__":
    serve(Client())
else:
    keep_log()
