"""Endpoints whose annotations are strings."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from redispatcher_fastapi.publisher import Publisher
from tests.fastapi.recording import SendEmail

router = APIRouter()


@router.post("/postponed")
async def publish(publisher: Annotated[Publisher[SendEmail], Depends()]) -> None:
    await publisher.publish(SendEmail.Message(address="a"))
