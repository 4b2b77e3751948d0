"""What our users do: an endpoint that publishes, under load."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace
from statistics import median

from benchmarks.environments import Environment
from benchmarks.measuring.round import Figures, Round
from benchmarks.processes import run_program
from benchmarks.stage import Stage

CLIENTS = 64


def measure_endpoint(round: Round) -> Figures:
    """The same application with and without a publish, in turn."""
    seconds, turns = (3.0, 3) if round.mode == "full" else (1.5, 2)
    port = find_free_port()
    side = replace(round.side, worker=_serve(round.side.endpoint, port))
    rates: dict[str, list[float]] = {"plain": [], "publish": []}
    with Stage(side, round.environment, jobs=100) as stage, stage.workers() as workers:
        stage.wait_for(lambda: _is_up(port), workers, seconds=30)
        for path in ("plain", "publish") * (1 + turns):
            rates[path].append(_load(port, path, seconds))
    plain, publish = (median(rates[path][1:]) for path in ("plain", "publish"))
    return Figures({"share_of_plain": 100 * publish / plain, "requests_per_second": publish})


def _serve(app: str | None, port: int) -> tuple[str, ...]:
    return (
        *("uvicorn", f"benchmarks.programs.{app}:app", "--port", str(port)),
        *("--loop", "uvloop", "--http", "httptools"),
        *("--no-access-log", "--log-level", "warning"),
    )


def _load(port: int, path: str, seconds: float) -> float:
    """Requests per second of many clients, in a process of their own."""
    answer = run_program(
        Environment.of_harness(),
        "benchmarks.loading",
        *(port, f"/{path}", CLIENTS, seconds),
        variables={},
        seconds=seconds + 30,
    )
    return float(answer["requests"]) / float(answer["elapsed"])


def find_free_port() -> int:
    """Return a port of the loopback interface that nobody listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _is_up(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
