"""Job ids are short, sort by time, and never come twice."""

from __future__ import annotations

import os
from threading import Thread

import pytest

from redispatcher_fastapi.broker.ids import new_job_id
from redispatcher_fastapi.keys import check_job_id


def test_an_id_has_16_characters_that_a_key_may_have() -> None:
    job_id = new_job_id()

    assert len(job_id) == 16
    assert check_job_id(job_id) == job_id


def test_ids_are_in_the_order_of_their_milliseconds() -> None:
    moments = [new_job_id()[:7] for _ in range(10_000)]

    assert moments == sorted(moments)


def test_threads_never_get_the_same_id() -> None:
    made: list[list[str]] = [[] for _ in range(4)]

    def make(ids: list[str]) -> None:
        ids.extend(new_job_id() for _ in range(5_000))

    threads = [Thread(target=make, args=(ids,)) for ids in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({job_id for ids in made for job_id in ids}) == 20_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_makes_ids_of_its_own() -> None:
    new_job_id()  # random bytes for more are left
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:  # pragma: no cover
        os.write(writing, "".join(new_job_id()[7:] for _ in range(100)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()

    theirs = {text[at : at + 9] for at in range(0, len(text), 9)}
    ours = {new_job_id()[7:] for _ in range(100)}
    assert len(theirs) == 100
    assert not theirs & ours
