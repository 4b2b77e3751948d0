"""What the harness relies on in each side, whoever wrote it."""

from __future__ import annotations

from pathlib import Path
from string import Formatter

import pytest

from benchmarks.jobs import KINDS
from benchmarks.metrics import METRICS
from benchmarks.sides import Side, find_sides
from benchmarks.workloads import WORKLOADS, Workload

PROGRAMS = Path(__file__).parents[2] / "benchmarks" / "programs"
FEATURES = {"publish", "bulk", "delayed", "queues", "processes"}
MODES = ("quick", "default", "full")

all_sides = pytest.mark.parametrize(
    "side", [pytest.param(s, id=n) for n, s in find_sides().items()]
)
all_workloads = pytest.mark.parametrize(
    "workload", [pytest.param(workload, id=name) for name, workload in WORKLOADS.items()]
)


def test_the_peers_of_the_report_are_all_there() -> None:
    peers = {name for name, side in find_sides().items() if not side.baseline}

    assert peers >= {
        "arq",
        "celery",
        "docket",
        "dramatiq",
        "faststream-stream",
        "huey",
        "rq",
        "saq",
        "streaq",
        "taskiq-list",
        "taskiq-stream",
    }


@all_sides
def test_a_side_has_its_programs(side: Side) -> None:
    programs = {side.program, side.endpoint} - {None}

    assert [name for name in programs if not (PROGRAMS / f"{name}.py").is_file()] == []


@all_sides
def test_a_program_can_produce(side: Side) -> None:
    source = (PROGRAMS / f"{side.program}.py").read_text(encoding="utf-8")

    assert "produce(" in source
    assert "record_start(" in source or "import Producer" in source


@all_sides
def test_the_command_of_a_worker_has_only_fields_that_are_filled_in(side: Side) -> None:
    fields = {field for word in side.worker for _, field, _, _ in Formatter().parse(word)}

    assert side.worker
    assert fields - {None} <= {"processes", "slots", "queues"}


@all_sides
def test_a_side_says_what_it_cannot_in_known_words_and_why(side: Side) -> None:
    assert set(side.cannot) <= {*KINDS, *FEATURES}
    assert all(side.cannot.values())


@all_sides
def test_a_side_shows_the_versions_of_what_it_needs_and_how_it_is_configured(side: Side) -> None:
    assert side.versions
    assert side.requirements
    assert side.notes
    assert min(side.pace, side.publish_pace) > 0


@all_sides
def test_a_peer_takes_the_newest_releases(side: Side) -> None:
    pinned = [name for name in side.requirements if set("<>=~!") & set(name)]

    assert side.baseline or pinned == []


@all_workloads
def test_a_workload_measures_what_is_known(workload: Workload) -> None:
    assert workload.metrics
    assert set(workload.metrics) <= set(METRICS)


@all_workloads
def test_a_workload_needs_what_a_side_can_decline(workload: Workload) -> None:
    assert workload.needs
    assert set(workload.needs) <= {*KINDS, *FEATURES, "endpoint"}


@all_workloads
def test_peers_take_part_only_where_the_workload_is_run(workload: Workload) -> None:
    assert set(workload.peers) <= set(workload.modes) <= set(MODES)
