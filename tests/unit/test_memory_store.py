"""Which parts of a process share a store in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import uuid4

from redispatcher_fastapi.broker.memory import MemoryStore

_THREADS = 8


def test_threads_that_ask_for_a_name_at_the_same_time_get_the_same_store() -> None:
    for _ in range(50):
        name, together = uuid4().hex, Barrier(_THREADS)

        def write(number: int, name: str = name, together: Barrier = together) -> MemoryStore:
            together.wait()
            store = MemoryStore(name)
            store.make_sync_client().execute_command("SADD", "seen", str(number))
            return store

        with ThreadPoolExecutor(_THREADS) as threads:
            stores = [*threads.map(write, range(_THREADS))]

        for store in stores:
            assert store.make_sync_client().execute_command("SCARD", "seen") == _THREADS


def test_stores_without_a_name_are_each_their_own() -> None:
    one, other = MemoryStore(""), MemoryStore("")

    one.make_sync_client().execute_command("SET", "key", "value")

    assert other.make_sync_client().execute_command("GET", "key") is None
