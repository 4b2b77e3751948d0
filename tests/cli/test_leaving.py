"""How a process leaves whose threads are idle, or are not."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import threading
import time

from redispatcher_fastapi.pool.process import leave_stuck_threads

threading.Thread(target=time.sleep, args=({seconds},)).start()
leave_stuck_threads()
print("ended by itself")
"""


@pytest.mark.parametrize(
    ("seconds", "output"),
    [
        pytest.param(0.1, "ended by itself\n", id="idle"),
        pytest.param(60, "", id="stuck"),
    ],
)
def test_only_a_thread_that_is_stuck_is_left_behind(seconds: float, output: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(seconds=seconds)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert done.stdout == output
    assert ("Leaving threads behind" in done.stderr) is (output == "")
