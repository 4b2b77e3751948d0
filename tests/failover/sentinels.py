"""A master, a replica and three sentinels that fail over by themselves."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from tests.servers import (
    Config,
    RedisServer,
    RedisServers,
    find_free_port,
    find_redis_server,
    open_client,
)
from tests.topologies import start_replica
from tests.waiting import wait_until_blocking

_DOWN_AFTER = 1000
_MASTER = "jobs"
_SENTINELS = 3
_QUORUM = 2
_PATIENCE = timedelta(seconds=30)
_FAST = ("info-period", "500", "publish-period", "500", "ask-period", "200")


class SentinelGroup:
    """Two servers of which the sentinels make one the master."""

    def __init__(self, master: RedisServer, replica: RedisServer, ports: list[int]) -> None:
        self.master = master
        self.replica = replica
        self._ports = ports

    @property
    def dsn(self) -> str:
        """The address of the master, wherever it is."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"redis+sentinel://{hosts}/{_MASTER}"

    def fail_over(self) -> None:
        """Have the sentinels exchange master and replica while both are alive."""
        with open_client(port=self._ports[0]) as sentinel:
            sentinel.execute_command("SENTINEL", "FAILOVER", _MASTER)

    def is_settled(self, *, master: RedisServer, replica: RedisServer | None) -> bool:
        """Return whether all sentinels name this master, and it has this replica."""
        for port in self._ports:
            with open_client(port=port) as sentinel:
                address = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", _MASTER)
            if int(address[1]) != master.port:
                return False
        with master.client() as admin:
            role = admin.execute_command("ROLE")
        replicas = [int(each[1]) for each in role[2]] if role[0] == "master" else []
        return role[0] == "master" and (replica is None or replica.port in replicas)

    def knows_each_other(self) -> bool:
        """Return whether every sentinel knows the replica and both other sentinels."""
        for port in self._ports:
            with open_client(port=port) as sentinel:
                facts: dict[str, Any] = sentinel.execute_command("SENTINEL", "MASTER", _MASTER)
            if (int(facts["num-slaves"]), int(facts["num-other-sentinels"])) != (1, _SENTINELS - 1):
                return False
        return True


@contextmanager
def sentinel_group(
    servers: RedisServers, directory: Path, *, config: Config | None = None
) -> Generator[SentinelGroup]:
    """Run one master, one replica and three sentinels, which know each other."""
    master = servers.start(config=config, is_durable=True)
    replica = start_replica(servers, master)
    program = find_redis_server()
    assert program is not None
    ports: list[int] = []
    with ExitStack() as processes:
        for number in range(_SENTINELS):
            port = find_free_port()
            folder = directory / f"sentinel-{number}"
            folder.mkdir()
            (folder / "sentinel.conf").write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder}\nlogfile {folder / 'log'}\n"
                f"sentinel monitor {_MASTER} 127.0.0.1 {master.port} {_QUORUM}\n"
                f"sentinel down-after-milliseconds {_MASTER} {_DOWN_AFTER}\n"
                f"sentinel failover-timeout {_MASTER} 2000\n"
            )
            process = subprocess.Popen([program, str(folder / "sentinel.conf"), "--sentinel"])
            processes.callback(process.wait, 10)
            processes.callback(process.terminate)
            wait_until_blocking(partial(_answers, port))
            with open_client(port=port) as sentinel, suppress(RedisError):
                # Since Redis 7.0; without it, all of this takes longer.
                sentinel.execute_command("SENTINEL", "DEBUG", *_FAST)
            ports.append(port)
        group = SentinelGroup(master, replica, ports)
        wait_until_blocking(group.knows_each_other, timeout=_PATIENCE)
        yield group


def _answers(port: int) -> bool:
    try:
        with open_client(port=port) as sentinel:
            return bool(sentinel.execute_command("PING"))
    except (RedisError, OSError):
        return False
