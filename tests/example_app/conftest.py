"""The example application, as each test needs it."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi import FastAPI


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[FastAPI]:
    """The application, imported anew under the settings of one test."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "example_app"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("REDISPATCHER_REDIS_DSN", f"memory://{uuid4().hex}")
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RUN_POOL", "1")
    monkeypatch.setenv("SMTP_HOST", "")
    from example_app.main import app

    yield app
    for name in [name for name in sys.modules if name.partition(".")[0] == "example_app"]:
        del sys.modules[name]
