"""Redis as it is run elsewhere than on one plain port: Cluster, Sentinel, TLS."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from redis.exceptions import ResponseError

from tests.servers import (
    CommandClient,
    Config,
    RedisServer,
    RedisServers,
    ServerNotStartedError,
    find_free_port,
    find_redis_server,
    open_client,
    skip_or_fail,
)
from tests.waiting import wait_until_blocking

_SLOTS = 16384
_MASTER = "my-master"


_CLUSTER = {"cluster-enabled": "yes", "cluster-announce-ip": "127.0.0.1"}


def start_cluster(
    servers: RedisServers, *, masters: int = 1, config: Config | None = None
) -> list[RedisServer]:
    """Start a cluster whose masters have equal shares of the slots, in their order."""
    nodes = [servers.start(config={**_CLUSTER, **(config or {})}) for _ in range(masters)]
    for number, node in enumerate(nodes):
        with node.client() as admin:
            slots = range(_SLOTS * number // masters, _SLOTS * (number + 1) // masters)
            admin.execute_command("CLUSTER", "ADDSLOTS", *slots)
            # Equal epochs would be sorted out as well, but later.
            admin.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for other in nodes[:number]:
                admin.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port)
    wait_until_blocking(lambda: all(_knows_all(node, masters) for node in nodes))
    return nodes


def start_cluster_replicas(
    servers: RedisServers, masters: Sequence[RedisServer], *, config: Config | None = None
) -> list[RedisServer]:
    """Start a replica for each master of a cluster, and return once they have everything."""
    replicas: list[RedisServer] = []
    for master in masters:
        replica = servers.start(config={**_CLUSTER, **(config or {})})
        replicas.append(replica)
        with master.client() as admin, replica.client() as theirs:
            theirs.execute_command("CLUSTER", "MEET", "127.0.0.1", master.port)
            admin.execute_command("CONFIG", "SET", "repl-diskless-sync-delay", "0")
            master_id = admin.execute_command("CLUSTER", "MYID")
            wait_until_blocking(partial(_is_attached, theirs, master_id))
    nodes = [*masters, *replicas]
    wait_until_blocking(lambda: all(_knows_all(node, len(masters), len(nodes)) for node in nodes))
    wait_until_blocking(lambda: all(is_confirmed(master) for master in masters))
    return replicas


def _is_attached(replica: CommandClient, master_id: str) -> bool:
    try:
        replica.execute_command("CLUSTER", "REPLICATE", master_id)
    except ResponseError as error:
        if "Unknown node" not in str(error):
            raise
        return False
    return True


def cluster_dsn(nodes: Sequence[RedisServer]) -> str:
    """Return the address of a cluster, which names only its first node."""
    return f"redis+cluster://127.0.0.1:{nodes[0].port}"


def _knows_all(node: RedisServer, masters: int, nodes: int | None = None) -> bool:
    with node.client() as admin:
        state = str(admin.execute_command("CLUSTER", "INFO"))
    return all(
        fact in state
        for fact in (
            "cluster_state:ok",
            f"cluster_slots_assigned:{_SLOTS}",
            f"cluster_known_nodes:{nodes or masters}",
            f"cluster_size:{masters}",
        )
    )


def holds_slot(node: RedisServer, slot: int) -> bool:
    """Return whether a node has a slot."""
    with node.client() as admin:
        me = str(admin.execute_command("CLUSTER", "MYID"))
        ranges = admin.execute_command("CLUSTER", "SLOTS")
    return any(first <= slot <= last and master[2] == me for first, last, master, *_ in ranges)


def begin_move(slot: int, source: CommandClient, target: CommandClient) -> None:
    """Begin to move a slot as redis-cli does."""
    source_id = source.execute_command("CLUSTER", "MYID")
    target_id = target.execute_command("CLUSTER", "MYID")
    target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)


def finish_move(
    slot: int, source: CommandClient, target: CommandClient, server: RedisServer
) -> None:
    """Move the keys of a slot, one by one, and then the slot."""
    while keys := source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
        for key in keys:
            source.execute_command("MIGRATE", "127.0.0.1", server.port, key, 0, 5000)
    target_id = target.execute_command("CLUSTER", "MYID")
    for node in (target, source):
        node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)


@asynccontextmanager
async def tls_server(
    servers: RedisServers, directory: Path
) -> AsyncGenerator[tuple[RedisServer, int]]:
    """Start a server with a certificate for localhost, signed by ``ca.pem``.

    Its own port is without TLS; the other one that is provided takes nothing else.
    """
    _make_certificates(directory)
    port = find_free_port()
    try:
        server = servers.start(
            config={
                "tls-port": str(port),
                "tls-cert-file": str(directory / "server.pem"),
                "tls-key-file": str(directory / "server.key"),
                "tls-auth-clients": "no",
            }
        )
    except ServerNotStartedError as error:
        if "tls-port" not in str(error) or "Bad directive" not in str(error):
            raise
        skip_or_fail("this redis-server was built without TLS", lacking="tls")
    yield server, port
    # redis-py does not wait until a connection that was refused is closed, and TLS closes in steps:
    # a loop that ended in between would leave the socket open.
    server.stop()
    for _ in range(20):
        await asyncio.sleep(0)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def make_authority(directory: Path) -> None:
    """Make an authority of its own: ``ca.pem``, with its key."""
    directory.mkdir(exist_ok=True)
    _run_openssl(
        directory,
        *("req", "-x509", *_NEW_KEY, "-nodes", "-days", "1", "-subj", "/CN=test ca"),
        *("-keyout", "ca.key", "-out", "ca.pem"),
        *("-addext", "keyUsage=critical,keyCertSign"),
    )


def _run_openssl(directory: Path, *arguments: str) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        skip_or_fail("openssl is not on PATH")
    subprocess.run([openssl, *arguments], cwd=directory, check=True, capture_output=True)


def _make_certificates(directory: Path) -> None:
    make_authority(directory)
    run = partial(_run_openssl, directory)
    run(
        *("req", *_NEW_KEY, "-nodes", "-subj", "/CN=localhost"),
        *("-keyout", "server.key", "-out", "server.csr"),
    )
    (directory / "names").write_text("subjectAltName=DNS:localhost")
    run(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "1"),
        *("-CAcreateserial", "-extfile", "names", "-out", "server.pem"),
    )


class RunningSentinel:
    """A sentinel with the password ``s`` for one master with the password ``p``."""

    def __init__(self, port: int) -> None:
        self.port = port

    def dsn(self, *, before: str = "") -> str:
        """Return the address of the master; ``before`` are sentinels that are asked first."""
        return f"redis+sentinel://:p@{before}127.0.0.1:{self.port}/{_MASTER}/0?sentinel_password=s"

    def point_to(self, master: RedisServer) -> None:
        """Do what a failover does to the sentinel's answer."""
        with open_client(port=self.port, password="s") as sentinel:
            sentinel.execute_command("SENTINEL", "REMOVE", _MASTER)
            sentinel.execute_command("SENTINEL", "MONITOR", _MASTER, "127.0.0.1", master.port, 1)
            sentinel.execute_command("SENTINEL", "SET", _MASTER, "auth-pass", "p")


@contextmanager
def running_sentinel(directory: Path, master: RedisServer) -> Generator[RunningSentinel]:
    """Run a sentinel that watches one server, and leaves it to the test to fail over."""
    port = find_free_port()
    configuration = directory / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\nrequirepass s\ndir {directory}\n"
        f"sentinel monitor {_MASTER} 127.0.0.1 {master.port} 1\n"
        f"sentinel auth-pass {_MASTER} p\n"
    )
    program = find_redis_server()
    assert program is not None
    process = subprocess.Popen(
        [program, str(configuration), "--sentinel"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_blocking(lambda: _listens(port))
        yield RunningSentinel(port)
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_replica(servers: RedisServers, master: RedisServer, **config: str) -> RedisServer:
    """Start a replica of a server, and return once it has everything and says so."""
    with master.client() as admin:
        admin.execute_command("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    replica = servers.start(config={**config, "replicaof": ("127.0.0.1", str(master.port))})
    wait_until_blocking(lambda: offset_of(replica) == offset_of(master) >= 0)
    wait_until_blocking(lambda: is_confirmed(master))
    return replica


def is_confirmed(master: RedisServer) -> bool:
    """Return whether a replica of this server confirms what it has."""
    with master.client() as admin:
        return int(admin.execute_command("WAIT", 1, 50)) >= 1


def offset_of(server: RedisServer) -> int:
    """Return how far a server has come in the stream of a master's writes; -1 while it has none."""
    with server.client() as admin:
        replication = admin.execute_command("INFO", "replication")
    if replication["role"] == "master":
        return int(replication["master_repl_offset"])
    is_linked = replication["master_link_status"] == "up"
    return int(replication["slave_repl_offset"]) if is_linked else -1
