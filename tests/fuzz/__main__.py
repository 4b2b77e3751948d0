"""The long tier: ``python -m tests.fuzz``."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS, EscapedError, Target, feed, script_arguments
from tests.model.running import open_store
from tests.servers import RedisServer


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--only", default="", help="targets with this in their name")
    options = parser.parse_args()
    _say(f"seed {options.seed}")
    with (
        tempfile.TemporaryDirectory() as folder,
        RedisServer(Path(folder)) as server,
        open_store(server.dsn) as client,
    ):
        targets = [*TARGETS, script_arguments(client)]
        chosen = [target for target in targets if options.only in target.name]
        if not chosen:
            parser.error(f"no target has {options.only!r} in its name")
        return _feed_all(chosen, options.inputs, options.seed)


def _feed_all(targets: list[Target], total: int, seed: int) -> int:
    escaped = 0
    for target in targets:
        inputs, begin = int(total * target.share), time.monotonic()
        try:
            feed(target, inputs, seed)
        except EscapedError as error:
            escaped += 1
            _say(str(error))
        _say(f"{target.name:24} {inputs:>8} inputs {time.monotonic() - begin:7.1f} s")
    _say(f"{escaped} of {len(targets)} targets let something through")
    return 1 if escaped else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
