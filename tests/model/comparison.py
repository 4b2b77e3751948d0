"""One call to the real engine and to the model, and the comparison of all there is after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from redispatcher_fastapi.broker.scripts import Argument, BlockingClient, Script
from redispatcher_fastapi.keys import queue_prefix
from tests.model.invariants import find_broken
from tests.model.jobs import Limits
from tests.model.projection import find_differences, project
from tests.model.queue import Clock, Queue
from tests.model.store import Raw, decode_queue, read_raw, written

START = 1_767_268_800_000
_Answer = TypeVar("_Answer")
#: Counters may count a refusal.
_STATS = frozenset({"stats"})


class Comparison:
    """A store that is emptied, and a model of it; differences raise ``AssertionError``.

    With ``is_twice`` set, every call is made twice: the second one must change nothing.
    """

    def __init__(self, client: BlockingClient, names: Sequence[str], limits: Limits) -> None:
        self.client = client
        self.limits = limits
        self.clock = Clock(START)
        self.queues = {name: Queue(name, limits, self.clock) for name in names}
        self.is_twice = False
        self.agrees = True
        client.execute_command("FLUSHALL")
        self._raw: dict[str, Raw] = {}

    def call(
        self,
        script: Script,
        queues: Sequence[str],
        arguments: Sequence[Argument],
        expect: Callable[[], _Answer],
        read: Callable[[Any], _Answer],
        *,
        is_refused: Callable[[_Answer], bool] = lambda _: False,
        is_repeated: Callable[[_Answer], object] = lambda answer: answer,
        is_repeatable: bool = True,
        besides: frozenset[str] = frozenset(),
    ) -> _Answer:
        """Make one call and compare the answer and all there is.

        A call that ``is_refused`` may write to no key but those in ``besides``. ``is_repeated``
        tells what of an answer its repetition must give again; ``None`` where that is free.
        """
        before = self._raw
        answer = self._compare(script, queues, arguments, expect, read)
        besides |= _STATS
        if is_refused(answer):
            wrote = written(before, self._raw, besides=besides)
            assert not wrote, f"{script.name} refused with {answer}, and wrote to {wrote}"
        if self.is_twice and is_repeatable:
            before = self._raw
            again = self._compare(script, queues, arguments, expect, read)
            kept = is_repeated(answer)
            if kept is not None:
                assert is_repeated(again) == kept, f"{script.name} repeated: {again}, not {answer}"
            if kept is not None or script.name != "claim":
                wrote = written(before, self._raw, besides=besides)
                assert not wrote, f"{script.name} repeated wrote to {wrote}"
        return answer

    def _compare(
        self,
        script: Script,
        queues: Sequence[str],
        arguments: Sequence[Argument],
        expect: Callable[[], _Answer],
        read: Callable[[Any], _Answer],
    ) -> _Answer:
        self.agrees = False
        prefixes = [queue_prefix(queue) for queue in queues]
        reply = script.run_blocking(self.client, prefixes, [self.clock.now, *arguments])
        answer, expected = read(reply), expect()
        assert answer == expected, f"{script.name} answers {answer}, not {expected}"
        self.compare(script.name)
        return answer

    def kept(self, queue: str) -> list[str]:
        """Return the keys of a queue that do not expire."""
        dump = project(self.queues[queue])
        return [name for name, entry in dump.items() if entry.ttl is None]

    def compare(self, name: str) -> None:
        """Compare every key with the model."""
        self._raw = read_raw(self.client)
        known = tuple(queue_prefix(queue) for queue in self.queues)
        assert all(key.startswith(known) for key in self._raw), f"{name} left {sorted(self._raw)}"
        for queue in self.queues.values():
            found = decode_queue(self._raw, queue_prefix(queue.name))
            differences = find_differences(project(queue), found)
            assert not differences, f"after {name}: " + "; ".join(differences)
            broken = find_broken(queue, found)
            assert not broken, f"after {name}: " + "; ".join(broken)
        self.agrees = True
