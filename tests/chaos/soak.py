"""``make soak``: hours of ordinary work, and whether memory stays flat.

A pool process or Redis that grows by more than its bound between the second and the last quarter
of the run ends it with 1; the first quarter is for warming up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from redispatcher_fastapi import Redispatcher, RedispatcherConfig
from tests.chaos.drive import GRACE, LEASE
from tests.chaos.fleet import Fleet
from tests.chaos.journal import VARIABLE, Journal
from tests.chaos.workload import Errand, Kind, Work, make_work
from tests.servers import RedisServer

_RATE = 200.0
_SAMPLE_SECONDS = 5.0
_MOST_GROWTH_OF_A_PROCESS = 0.05
_MOST_GROWTH_OF_REDIS = 0.01
_SHARES: Mapping[Kind, int] = {"quick": 94, "flaky": 3, "raise": 2, "long": 1}


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory in bytes at one time."""

    seconds: float
    pools: list[int]
    redis: int
    publisher: int
    jobs: int


async def soak(minutes: float, folder: Path) -> list[Sample]:
    """Publish and run jobs for so long; return how memory went."""
    journal = Journal(folder / "journal", only="ready")
    (folder / "redis").mkdir()
    with RedisServer(folder / "redis", is_durable=False) as server:
        fleet = Fleet(
            folder,
            journal,
            {
                VARIABLE: str(journal.path),
                "REDISPATCHER_REDIS_DSN": server.dsn,
                "CHAOS_LEASE": str(LEASE.total_seconds()),
                "CHAOS_GRACE": str(GRACE.total_seconds()),
                "CHAOS_KEPT": "1000",
                "CHAOS_RESULT_TTL": "10",
            },
            size=2,
            chance=random.Random(1),
        )
        dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=server.dsn))
        samples: list[Sample] = []
        async with dispatcher.lifespan(), fleet.running():
            begun = time.monotonic()
            count = 0

            async def publish() -> None:
                nonlocal count
                chance = random.Random(2)
                kinds: list[Kind] = list(_SHARES)
                work, errands = dispatcher.publisher(Work), dispatcher.publisher(Errand)
                while True:
                    due = begun + count / _RATE
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    count += 1
                    if count % 10:
                        (kind,) = chance.choices(kinds, list(_SHARES.values()))
                        await work.publish(make_work(kind, LEASE, chance))
                    else:
                        await errands.publish(Errand.Message(seconds=0.0))

            publishing = asyncio.create_task(publish())
            try:
                while time.monotonic() < begun + 60 * minutes:
                    await asyncio.sleep(_SAMPLE_SECONDS)
                    with server.client() as client:
                        memory = client.execute_command("INFO", "memory")
                    samples.append(
                        Sample(
                            time.monotonic() - begun,
                            [psutil.Process(each.pid).memory_info().rss for each in fleet.ready()],
                            int(memory["used_memory"]),
                            psutil.Process().memory_info().rss,
                            count,
                        )
                    )
            finally:
                publishing.cancel()
            await fleet.stop(within=60)
        return samples


def growth(values: list[float]) -> float:
    """Return by which share the last quarter is above the second one."""
    quarter = max(1, len(values) // 4)
    before, after = values[quarter : 2 * quarter] or values, values[-quarter:]
    return median(after) / median(before) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, help="where the samples are written to, as JSON")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="soak-") as folder:
        samples = asyncio.run(soak(options.minutes, Path(folder)))
    if options.out is not None:
        options.out.write_text(json.dumps([asdict(each) for each in samples]))
    pools = growth([float(sum(each.pools)) for each in samples])
    redis = growth([float(each.redis) for each in samples])
    publisher = growth([float(each.publisher) for each in samples])
    last = samples[-1]
    print(  # noqa: T201  # its output is its purpose
        f"{last.jobs} jobs in {last.seconds / 60:.0f} min; two pools {sum(last.pools) / 2**20:.0f} "
        f"MiB ({pools:+.1%}), publisher {last.publisher / 2**20:.0f} MiB ({publisher:+.1%}), "
        f"Redis {last.redis / 2**20:.1f} MiB ({redis:+.1%})"
    )
    is_flat = max(pools, publisher) < _MOST_GROWTH_OF_A_PROCESS
    if not is_flat or abs(redis) > _MOST_GROWTH_OF_REDIS:
        sys.exit(1)


if __name__ == "__main__":
    main()
