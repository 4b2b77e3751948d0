"""The endpoint of docs/reference.md that a readiness probe asks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from redispatcher_fastapi import BaseConsumer, Redispatcher, RedispatcherConfig
from tests.waiting import wait_until_blocking

REFERENCE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")


class Letter(BaseConsumer):
    QUEUE = "letter"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None: ...


def build_app(*, run_pool: bool) -> FastAPI:
    """Return an application with the endpoint of the page."""
    found = re.search(r"```python\n(# readiness\.py\n.*?)```", REFERENCE, re.DOTALL)
    assert found
    names: dict[str, Any] = {}
    exec(found[1], names)
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[Letter])
    dispatcher = Redispatcher(config, run_pool=run_pool)
    app = FastAPI()
    app.include_router(dispatcher.router)
    app.include_router(names["make_readiness"](dispatcher))
    return app


def test_a_healthy_pool_is_ready() -> None:
    with TestClient(build_app(run_pool=True)) as client:
        wait_until_blocking(lambda: client.get("/ready").status_code == 200)

        assert client.get("/ready").json() == {"problems": []}


def test_an_application_without_a_pool_is_not_ready_and_says_why() -> None:
    with TestClient(build_app(run_pool=False)) as client:
        response = client.get("/ready")

    assert response.status_code == 503
    assert response.json() == {"problems": ["No pool runs here."]}
