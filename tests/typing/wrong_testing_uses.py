"""What type checkers must refuse of the testing kit: every line that ends in ``# refused``."""
# mypy: ignore-errors
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false

from __future__ import annotations

from datetime import timedelta

from redispatcher_fastapi.testing import RedispatcherTester
from tests.typing.consumers import Enrich, Report, Resize, SendEmail


async def batches(tester: RedispatcherTester) -> None:
    await tester.run_batch(Enrich, Enrich.Message(path="p"))  # refused
    await tester.run_batch(Enrich, [SendEmail.Message(address="a")])  # refused
    await tester.run_batch(Resize, [Resize.Message(path="p")])  # refused
    await tester.run(Enrich, Enrich.Message(path="p"))  # refused
    tester.published(Enrich)[0].message.row.bit_count()  # refused


def looking(tester: RedispatcherTester) -> None:
    tester.published(int)  # refused
    tester.published("resize")  # refused
    tester.published(Resize)[0].message.year.bit_count()  # refused
    tester.published(Resize)[0].messages.clear()  # refused


def expecting(tester: RedispatcherTester) -> None:
    tester.assert_published(Resize, lambda message: message.year > 1)  # refused
    tester.assert_published(Resize, delay=5)  # refused
    tester.assert_published(Resize, count="1")  # refused
    tester.assert_published(Resize, priority="high")  # refused
    tester.assert_published(Resize, expires=5)  # refused
    tester.assert_not_published(Resize, "path")  # refused


async def running(tester: RedispatcherTester) -> None:
    await tester.run(Resize, SendEmail.Message(address="a"))  # refused
    await tester.run(Resize)  # refused
    await tester.run(Report, Resize.Message(path="p"))  # refused
    (await tester.run(Resize, Resize.Message(path="p"))).upper()  # refused
    await tester.run_until_idle(expected=ValueError("no"))  # refused
    await tester.run_for(60)  # refused
    tester.advance(60)  # refused
    tester.run_blocking(Resize, SendEmail.Message(address="a"))  # refused
    tester.run_for_blocking(timedelta(hours=1)).upper()  # refused
