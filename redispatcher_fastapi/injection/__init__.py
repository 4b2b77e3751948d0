"""FastAPI's ``Depends`` for consumers: compiled once per consumer, solved once per run."""

from redispatcher_fastapi.injection.injector import Dependencies, Injector

__all__ = ["Dependencies", "Injector"]
