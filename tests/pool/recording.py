"""Hooks that keep what they are told."""

from __future__ import annotations

from redispatcher_fastapi.broker.types import Delivery, Grace, Outcome, TakenBack
from redispatcher_fastapi.hooks import LoggingHooks, LoopBlock, Outage


class RecordingHooks(LoggingHooks):
    """Logs as usual, too."""

    def __init__(self) -> None:
        super().__init__()
        self.parked: list[tuple[str, str, str]] = []
        self.refused: list[tuple[str, Outcome, bool]] = []
        self.ended: list[tuple[str, Outcome]] = []
        self.called_off: list[tuple[str, Outcome]] = []
        self.heedless: list[str] = []
        self.unconfirmed: list[tuple[str, list[str]]] = []
        self.taken_back: list[TakenBack] = []
        self.isolated: list[TakenBack] = []
        self.solo_runs: list[str] = []
        self.graces: list[Grace] = []
        self.failures: list[Outage] = []
        self.resumptions: list[Outage] = []
        self.blocks: list[LoopBlock] = []
        self.ends_of_blocks: list[LoopBlock] = []

    def job_parked(self, queue: str, job_id: str, reason: str) -> None:
        super().job_parked(queue, job_id, reason)
        self.parked.append((queue, job_id, reason))

    def write_refused(
        self, delivery: Delivery, name: str, outcome: Outcome, *, is_gone: bool
    ) -> None:
        super().write_refused(delivery, name, outcome, is_gone=is_gone)
        self.refused.append((delivery.job_id, outcome, is_gone))

    def job_ended(self, delivery: Delivery, name: str, outcome: Outcome, seconds: float) -> None:
        super().job_ended(delivery, name, outcome, seconds)
        self.ended.append((delivery.job_id, outcome))

    def job_called_off(self, delivery: Delivery, name: str, outcome: Outcome) -> None:
        super().job_called_off(delivery, name, outcome)
        self.called_off.append((delivery.job_id, outcome))

    def cancellation_ignored(self, delivery: Delivery, name: str, seconds: float) -> None:
        super().cancellation_ignored(delivery, name, seconds)
        self.heedless.append(delivery.job_id)

    def outcomes_unconfirmed(self, queue: str, job_ids: list[str]) -> None:
        super().outcomes_unconfirmed(queue, job_ids)
        self.unconfirmed.append((queue, job_ids))

    def job_taken_back(self, taken: TakenBack) -> None:
        super().job_taken_back(taken)
        self.taken_back.append(taken)

    def job_isolated(self, taken: TakenBack) -> None:
        super().job_isolated(taken)
        self.isolated.append(taken)

    def solo_run_started(self, delivery: Delivery, name: str) -> None:
        super().solo_run_started(delivery, name)
        self.solo_runs.append(delivery.job_id)

    def leases_restarted(self, grace: Grace) -> None:
        super().leases_restarted(grace)
        self.graces.append(grace)

    def claiming_failed(self, outage: Outage) -> None:
        super().claiming_failed(outage)
        self.failures.append(outage)

    def claiming_resumed(self, outage: Outage) -> None:
        super().claiming_resumed(outage)
        self.resumptions.append(outage)

    def loop_blocked(self, block: LoopBlock) -> None:
        super().loop_blocked(block)
        self.blocks.append(block)

    def loop_freed(self, block: LoopBlock) -> None:
        super().loop_freed(block)
        self.ends_of_blocks.append(block)
