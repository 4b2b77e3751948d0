"""The audit of dependencies fails for a vulnerability, and never passes for want of an answer."""

from __future__ import annotations

import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RUNTIME = {"fastapi": "1.0", "redis": "8.0"}
SOUND: list[dict[str, Any]] = [
    {"name": "fastapi", "version": "1.0", "vulns": []},
    {"name": "redis", "version": "8.0", "vulns": []},
]
VULNERABLE = {
    "name": "Redis",
    "version": "8.0",
    "vulns": [{"id": "CVE-1", "fix_versions": ["8.0.1"], "aliases": []}],
}
UNKNOWN = {"name": "redis", "skip_reason": "not found"}


@pytest.fixture(scope="module")
def audit() -> Any:
    spec = spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_that_users_install_is_looked_up_and_nothing_else(audit: Any) -> None:
    runtime = audit.find_runtime()

    assert {"fastapi", "starlette", "redis", "pydantic-core", "cryptography", "lupa"} <= set(
        runtime
    )
    assert not {"redispatcher-fastapi", "pytest", "mypy", "pillow"} & set(runtime)


def test_it_passes_when_all_were_looked_up_and_are_sound(audit: Any) -> None:
    code, told = audit.judge({"dependencies": SOUND}, RUNTIME)

    assert code == 0
    assert told == ["2 of 2 runtime dependencies looked up."]


def test_a_vulnerability_fails_it_and_is_named_with_its_fix(audit: Any) -> None:
    code, told = audit.judge({"dependencies": [SOUND[0], VULNERABLE]}, RUNTIME)

    assert code == 1
    assert "VULNERABLE: redis 8.0: CVE-1, fixed in 8.0.1" in told


def test_a_vulnerability_fails_it_although_others_could_not_be_looked_up(audit: Any) -> None:
    unknown = {"name": "fastapi", "skip_reason": "not found"}

    assert audit.judge({"dependencies": [unknown, VULNERABLE]}, RUNTIME)[0] == 1


@pytest.mark.parametrize("dependencies", [[SOUND[0], UNKNOWN], [SOUND[0]], []])
def test_what_was_not_looked_up_is_skipped_and_not_passed(
    audit: Any, dependencies: list[dict[str, Any]]
) -> None:
    assert audit.judge({"dependencies": dependencies}, RUNTIME)[0] == 77


def test_without_an_answer_it_is_skipped_with_the_reason(
    audit: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(stderr="one\nName or service not known\n", returncode=1)

    monkeypatch.setattr(subprocess, "run", fail)

    assert audit.main() == 77
    assert "Name or service not known" in capsys.readouterr().out


def test_without_an_answer_in_time_it_is_skipped(
    audit: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hang(*_: object, **options: Any) -> None:
        raise subprocess.TimeoutExpired("pip-audit", options["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)

    assert audit.main() == 77
    assert "no answer within 15 s" in capsys.readouterr().out


def test_it_is_a_step_of_the_checks_of_every_change() -> None:
    assert "step audit" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
