"""What is said of the machine, and whose time counts as foreign."""

from __future__ import annotations

import os
import sys
import time

import psutil
import pytest

from benchmarks.machine import Busy, describe


def test_a_machine_is_described_without_its_name() -> None:
    machine = describe("7.2.0")

    assert machine.redis == "7.2.0"
    assert machine.processor
    assert machine.cores >= 1
    assert machine.memory == psutil.virtual_memory().total
    assert "Python" in machine.python
    assert machine.busy == ()
    assert os.uname().nodename not in machine.model_dump_json()


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="counts ticks of 10 ms")
def test_what_the_benchmark_uses_is_not_foreign() -> None:
    ours = Busy(lambda: {os.getpid()})
    theirs = Busy(set)

    spin(0.3)

    # Others may be busy too, but the time of this process separates the two.
    assert theirs.stop() - ours.stop() > 0.02


def test_a_process_that_has_ended_is_no_error() -> None:
    busy = Busy(lambda: {2**22 + 1})

    assert 0 <= busy.sample(0.01) <= 1


def test_a_measurement_begins_where_it_is_started() -> None:
    busy = Busy(set)
    spin(0.2)

    busy.start()

    assert 0 <= busy.stop() <= 1
