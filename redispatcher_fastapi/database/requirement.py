"""Says what to install where SQLAlchemy is missing."""

from __future__ import annotations

from importlib.util import find_spec

from redispatcher_fastapi.errors import ConfigurationError


def require_sqlalchemy(purpose: str) -> None:
    """Refuse to go on without SQLAlchemy.

    Raises:
        ConfigurationError: it is not installed; ``purpose`` says what needs it.
    """
    if find_spec("sqlalchemy") is None:
        raise ConfigurationError(
            f"{purpose} needs SQLAlchemy: pip install 'redispatcher-fastapi[sqlalchemy]'."
        )
