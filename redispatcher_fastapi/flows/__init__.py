"""Jobs that follow from others: chains, and groups with what runs after them."""

from __future__ import annotations

from redispatcher_fastapi.flows.chain import Chain, chain
from redispatcher_fastapi.flows.flow import Flow
from redispatcher_fastapi.flows.group import FailedMember, GroupResult, Joins

__all__ = ["Chain", "FailedMember", "Flow", "GroupResult", "Joins", "chain"]
