"""Shows the example at work: ``python -m example_app.demo [--once] [--port N]``.

It starts a Redis server of its own if there is one on this machine, else works in memory.
Everything it writes is in a temporary folder, which is removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Never
from urllib.request import Request, urlopen

import uvicorn

REDIS_STARTS_WITHIN_SECONDS = 10.0
JOB_ENDS_WITHIN_SECONDS = 30.0
FINISHED = {"succeeded", "dead", "cancelled"}


class DemoError(Exception):
    """Raised when the demonstration does not show what it should."""


def main() -> int:
    """Run the demonstration and return the exit code."""
    options = parse_options()
    # uvicorn sends itself the signal again once it has shut down, and we still have to clean up.
    signal.signal(signal.SIGTERM, interrupt)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="redispatcher-demo-")))
        dsn, store = stack.enter_context(some_redis(folder))
        listener = stack.enter_context(listen(options.port))
        # Before the application is imported: it reads its settings then.
        os.environ.update(
            REDISPATCHER_REDIS_DSN=dsn, DATA_DIR=str(folder), RUN_POOL="1", SMTP_HOST=""
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        print(f"Redis  {store}\nFiles  {folder}\nAPI    {url}\n", flush=True)
        try:
            return asyncio.run(demonstrate(listener, url, once=options.once))
        except KeyboardInterrupt:
            print("Stopped.")
            return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Shows the example application at work.")
    parser.add_argument("--once", action="store_true", help="end after one sign-up")
    parser.add_argument("--port", type=int, default=8000, help="the first port to try (8000)")
    return parser.parse_args()


def interrupt(number: int, frame: FrameType | None) -> Never:
    raise KeyboardInterrupt


@contextmanager
def some_redis(folder: Path) -> Generator[tuple[str, str]]:
    """Provide an address and what it is: a server of our own, or memory."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        yield "memory://demo", "in memory, as redis-server is not on PATH"
        return
    path = folder / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", str(path), "--dir", str(folder)]
    # A session of its own, so that Ctrl-C ends it after the application and not before.
    server = subprocess.Popen(
        [*command, "--save", "", "--appendonly", "no"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if wait_for_redis(path, server):
            yield f"unix://{path}", f"{program}, for this demonstration only"
        else:
            yield "memory://demo", f"in memory, as {program} does not start"
    finally:
        server.terminate()
        server.wait()


def wait_for_redis(path: Path, server: subprocess.Popen[bytes]) -> bool:
    """Return whether the server answers before it ends or time is up."""
    deadline = time.monotonic() + REDIS_STARTS_WITHIN_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"PING\r\n")
                if client.recv(7) == b"+PONG\r\n":
                    return True
        except OSError:
            pass
        time.sleep(0.02)
    return False


@contextmanager
def listen(first_port: int) -> Generator[socket.socket]:
    """Provide a listening socket on the first port from ``first_port`` on that is free."""
    for port in [*range(first_port, min(first_port + 100, 65536)), 0]:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
                listener.listen()
            except OSError:
                continue
            yield listener
            return
    raise DemoError("no port is free")


async def demonstrate(listener: socket.socket, url: str, *, once: bool) -> int:
    """Serve the application with its consumers, and sign one user up."""
    show_log()
    server = uvicorn.Server(
        uvicorn.Config("example_app.main:app", log_level="warning", lifespan="on")
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        if serving.done():
            await serving
            return 1  # uvicorn has said why it did not start
        await asyncio.sleep(0.01)
    code = 0
    try:
        await asyncio.to_thread(sign_up, url)
    except Exception as error:
        print(f"The demonstration failed: {error}", file=sys.stderr)
        code = 1
    if once or code:
        server.should_exit = True
    else:
        print(f"\nSign up yourself at {url}, or look at {url}/docs. Ctrl-C ends it.", flush=True)
    await serving
    return code


def show_log() -> None:
    """Show what happens to jobs; that this Redis keeps nothing on disk is meant to be so."""
    logging.basicConfig(format="  log: %(message)s", level=logging.WARNING)
    logging.getLogger("redispatcher").setLevel(logging.ERROR)
    logging.getLogger("redispatcher.job").setLevel(logging.INFO)
    logging.getLogger("example_app").setLevel(logging.INFO)


def sign_up(url: str) -> None:
    """Publish through the API, and print what becomes of the job."""
    form = {"name": "Ada Lovelace", "email": "ada@example.com"}
    print(f"POST /signup {json.dumps(form)}")
    began = time.monotonic()
    accepted = call(f"{url}/signup", form)
    print(f"  answered after {time.monotonic() - began:.3f} s: job {accepted['job_id']}")
    job = watch(f"{url}/jobs/{accepted['queue']}/{accepted['job_id']}")
    if job["state"] != "succeeded":
        raise DemoError(f"the job is {job['state']}: {job['error']}")
    print(f"  published at {job['published_at']}")
    for word in ("started", "finished"):
        print(f"  {word} {milliseconds(job['published_at'], job[f'{word}_at']):.0f} ms later")
    mail = call(f"{url}/users/{accepted['user_id']}")["welcome_mail"]
    print(f"\nThe mail is in {mail}:")
    for line in Path(mail).read_text(encoding="utf-8").splitlines():
        print(f"  {line}")


def watch(address: str) -> dict[str, Any]:
    """Print each new state of a job; return the job once it has finished."""
    began = time.monotonic()
    seen = ""
    while time.monotonic() - began < JOB_ENDS_WITHIN_SECONDS:
        job: dict[str, Any] = call(address)
        if job["state"] != seen:
            seen = job["state"]
            print(f"  {time.monotonic() - began:.3f} s  {seen}")
        if seen in FINISHED:
            return job
        time.sleep(0.002)
    raise DemoError(f"the job is still {seen} after {JOB_ENDS_WITHIN_SECONDS:.0f} s")


def call(url: str, body: dict[str, str] | None = None) -> Any:
    """Return what the API answers."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data=data, headers={"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as response:
        return json.load(response)


def milliseconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds() * 1000


if __name__ == "__main__":
    sys.exit(main())
