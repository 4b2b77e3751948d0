"""What the faults rely on in each library, and in the fairness of the comparison."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.faults.contenders import CONTENDERS, Contender
from benchmarks.faults.faults import BOUND, FAULTS, JOB_SECONDS
from benchmarks.faults.results import Outcomes
from benchmarks.sides import find_sides

FOLDER = Path(__file__).parents[2] / "benchmarks" / "faults"
# What runs in the environments of peers, which have none of our own dependencies.
SHARED = ("journal", "serving", "work")

all_contenders = pytest.mark.parametrize("contender", CONTENDERS, ids=lambda each: each.name)


def test_ours_meets_at_least_three_peers() -> None:
    names = [contender.name for contender in CONTENDERS]

    assert names[0] == "ours"
    assert {"taskiq-stream", "docket", "streaq"} <= set(names)


@all_contenders
def test_a_contender_has_a_side_whose_environment_it_shares(contender: Contender) -> None:
    assert contender.name in find_sides()


@all_contenders
def test_a_contender_has_a_program_that_serves_and_tells_when_it_is_ready(
    contender: Contender,
) -> None:
    source = (FOLDER / "programs" / f"{contender.program}.py").read_text(encoding="utf-8")

    assert "serve(Client())" in source
    assert 'note("ready")' in source
    assert "keep_log()" in source
    assert source.count("work.run(") == 1


@all_contenders
def test_a_contender_says_how_it_was_set_and_what_it_would_be_by_default(
    contender: Contender,
) -> None:
    assert "default" in contender.tuning
    assert "`" in contender.tuning
    assert contender.untuned
    assert contender.promises


@all_contenders
def test_no_job_is_longer_than_a_lease_and_no_bound_shorter_than_four(
    contender: Contender,
) -> None:
    assert contender.lease > JOB_SECONDS
    assert 4 * contender.lease <= BOUND


def test_every_fault_has_a_place_in_the_results() -> None:
    assert set(FAULTS) <= set(Outcomes.__dataclass_fields__)


@pytest.mark.parametrize("name", SHARED)
def test_what_peers_import_needs_the_standard_library_alone(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    foreign = {
        module for module in modules if module and module.startswith(("benchmarks", "redis"))
    }
    assert foreign <= {"benchmarks.faults.journal"}
