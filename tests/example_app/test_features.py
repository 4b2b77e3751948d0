"""What the example shows of time, order and limits, with a clock that is moved."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.ext.asyncio import AsyncSession

from redispatcher_fastapi.testing import RedispatcherTester


@pytest.fixture
def tester(app: FastAPI) -> Iterator[RedispatcherTester]:
    from example_app.main import dispatcher

    with RedispatcherTester(dispatcher, app) as tester:
        yield tester


@pytest.fixture
def client(tester: RedispatcherTester, app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


def subjects(folder: Path) -> list[str]:
    mails = (message_from_bytes(path.read_bytes()) for path in (folder / "outbox").glob("*.eml"))
    return sorted(mail["Subject"] for mail in mails)


def state_of(client: TestClient, accepted: dict[str, Any]) -> str:
    state: str = client.get(f"/jobs/{accepted['queue']}/{accepted['job_id']}").json()["state"]
    return state


async def test_the_owners_get_a_report_every_morning(
    tester: RedispatcherTester, tmp_path: Path
) -> None:
    from example_app.database import find_or_add_user, get_engine
    from example_app.mails import ReportSignUps
    from example_app.main import dispatcher

    async with tester.lifespan(), AsyncSession(get_engine()) as session:
        await find_or_add_user(session, email="ada@example.com", name="Ada")
        await session.commit()
        daily = await dispatcher.schedules.get("daily", ReportSignUps)
        assert daily is not None
        assert daily.next_run_at is not None

        await tester.run_for(daily.next_run_at - tester.clock.now(), schedules=True)

    assert subjects(tmp_path) == ["Sign-ups: 1"]


def test_a_report_can_be_had_at_once(
    client: TestClient, tester: RedispatcherTester, tmp_path: Path
) -> None:
    accepted = client.post("/reports").json()

    tester.run_until_idle_blocking()

    assert state_of(client, accepted) == "succeeded"
    assert subjects(tmp_path) == ["Sign-ups: 0"]


def test_a_note_is_indexed_once_nobody_has_changed_it_for_a_while(
    client: TestClient, tester: RedispatcherTester
) -> None:
    for text in ("To be", "To be or", "To be or not to be"):
        assert client.put("/notes/1", json={"text": text}).status_code == 202
        tester.run_for_blocking(timedelta(seconds=4))

    assert (client.get("/notes/1").json()["words"], tester.runs) == (None, [])
    tester.run_for_blocking(timedelta(seconds=1))

    assert client.get("/notes/1").json()["words"] == "be not or to"
    assert len(tester.runs) == 1


def test_an_order_is_announced_once_and_an_express_order_first(
    client: TestClient, app: FastAPI, tester: RedispatcherTester
) -> None:
    from example_app.partners import Partner

    announced: list[int] = []

    class Quick(Partner):
        async def announce(self, order: int, *, attempt: int) -> str:
            announced.append(order)
            return "thank you"

    app.dependency_overrides[Partner] = Quick
    for order in (1, 2, 2):
        client.post(f"/orders/{order}")
    client.post("/orders/3?express=true")

    tester.run_until_idle_blocking()

    assert announced == [3, 1, 2]


def test_a_partner_that_is_busy_is_left_alone_and_the_others_are_not(
    client: TestClient, app: FastAPI, tester: RedispatcherTester
) -> None:
    from example_app.partners import Partner, PartnerBusyError

    class Busy(Partner):
        is_busy = True

        async def announce(self, order: int, *, attempt: int) -> str:
            if self.is_busy and order < 10:
                raise PartnerBusyError(retry_after="60")
            return f"attempt {attempt}"

    app.dependency_overrides[Partner] = Busy
    first, second = (client.post(f"/orders/{order}?partner=acme").json() for order in (1, 2))
    other = client.post("/orders/10?partner=umbrella").json()

    report = tester.run_until_idle_blocking()

    assert sorted(run.outcome for run in report.runs) == ["limited", "succeeded"]
    assert state_of(client, other) == "succeeded"
    Busy.is_busy = False
    report = tester.run_for_blocking(timedelta(seconds=60))
    assert [run.result for run in report.runs] == ["attempt 1", "attempt 1"]
    assert {state_of(client, first), state_of(client, second)} == {"succeeded"}


def test_an_order_that_cannot_be_stored_is_not_announced(
    client: TestClient, app: FastAPI, tester: RedispatcherTester, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(session: AsyncSession) -> None:
        raise ConnectionError("the database is away")

    monkeypatch.setattr(AsyncSession, "commit", fail)
    with pytest.raises(ConnectionError):
        client.post("/orders/1")

    tester.assert_nothing_published()


def test_what_waits_is_cancelled(client: TestClient, tester: RedispatcherTester) -> None:
    accepted = client.post("/orders/1").json()
    address = f"/jobs/{accepted['queue']}/{accepted['job_id']}"

    assert client.delete(address).status_code == 202

    assert state_of(client, accepted) == "cancelled"
    assert client.delete(address).status_code == 409
    assert client.delete("/jobs/others/1").status_code == 404


async def test_what_runs_is_cancelled(app: FastAPI, tester: RedispatcherTester) -> None:
    from example_app.partners import Partner

    is_called = asyncio.Event()

    class Slow(Partner):
        async def announce(self, order: int, *, attempt: int) -> str:
            is_called.set()
            await asyncio.Event().wait()
            return "never"

    app.dependency_overrides[Partner] = Slow
    transport = httpx.ASGITransport(app=app)
    async with (
        tester.lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://it") as client,
    ):
        accepted = (await client.post("/orders/1")).json()
        running = asyncio.create_task(tester.run_until_idle())
        await is_called.wait()

        await client.delete(f"/jobs/{accepted['queue']}/{accepted['job_id']}")

        (run,) = (await running).runs
    assert run.outcome == "cancelled"
