"""docs/life-of-a-job.md says what the code does: its tables are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from redispatcher_fastapi.broker.scripts import LIBRARIES
from redispatcher_fastapi.broker.types import Died
from redispatcher_fastapi.job import JobState
from redispatcher_fastapi.message import DecodeReason
from tests.leaks import DocumentedKey, read_documented_keys

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "life-of-a-job.md").read_text(encoding="utf-8")
SCRIPTS = ROOT / "redispatcher_fastapi" / "broker" / "lua"


def read_table(heading: str) -> list[list[str]]:
    """Return the cells of the one table of a section, without its head."""
    _, _, section = PAGE.partition(f"\n## {heading}\n")
    assert section, f"there is no section {heading!r}"
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def names_in(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def plain(text: str) -> str:
    """Return a text without what only one of the two kinds of markup needs."""
    return text.replace("`", "").replace("→", "->")


KEYS = {row.suffix: row for row in read_documented_keys()}
LIFETIMES = {cells[0].strip("`"): cells[1:] for cells in read_table("What is in Redis")}


def test_the_states_are_those_of_a_job() -> None:
    states = [cells[0].strip("`") for cells in read_table("States")]

    assert states == [state.value for state in JobState]


def test_what_finished_means_is_said_of_the_right_states() -> None:
    states = [cells[0].strip("`") for cells in read_table("States")]

    assert "The last three are *finished*." in PAGE
    assert [JobState(state).is_finished for state in states] == [False] * 4 + [True] * 3


def test_a_state_lies_in_a_key_that_exists() -> None:
    for state, _, place in read_table("States"):
        named = names_in(place)
        kind = place.split()[0]
        assert named, state
        assert named <= set(KEYS), state
        assert {KEYS[name].type for name in named} == {kind}, state


def test_the_scripts_are_the_files_of_the_engine() -> None:
    listed = [name for cells in read_table("Who moves it") for name in sorted(names_in(cells[0]))]

    assert len(listed) == len(set(listed))
    assert set(listed) == {path.stem for path in SCRIPTS.glob("*.lua")} - set(LIBRARIES)


def test_a_script_moves_what_its_header_says() -> None:
    states = {state.value for state in JobState}
    for script, _, moves in read_table("Who moves it"):
        for name in names_in(script):
            found = re.search(r"^-- Moves +(.+)$", (SCRIPTS / f"{name}.lua").read_text(), re.M)
            assert found, name
            moved = states & set(re.findall(r"\w+", found[1]))
            if moves.startswith("nothing;") or moves == "nothing":
                assert not moved, name
            elif moves != "see the picture":
                assert moved == states & names_in(moves), name


def test_the_reasons_of_death_are_those_of_the_engine() -> None:
    reasons = [cells[0].strip("`") for cells in read_table("Why a job is dead")]
    documented = re.findall(r"``(\w+)``", (Died.__doc__ or "").partition("one of")[2])

    assert reasons == documented
    assert set(get_args(DecodeReason)) <= set(reasons)


def test_the_keys_are_those_of_the_code_in_the_same_order() -> None:
    page = {suffix: cells[0] for suffix, cells in LIFETIMES.items()}

    assert page == {row.suffix: row.type for row in KEYS.values()}
    assert list(page) == list(KEYS)


@pytest.mark.parametrize("row", KEYS.values(), ids=KEYS.keys())
def test_a_key_is_told_of_as_in_the_code(row: DocumentedKey) -> None:
    _, content, lifetime = LIFETIMES[row.suffix]

    assert plain(row.text).startswith(plain(content))
    assert lifetime
    assert (lifetime == "permanent") == row.is_permanent
    assert "expires" in lifetime or not row.must_expire
