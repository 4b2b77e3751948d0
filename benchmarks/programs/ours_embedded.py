"""The same pool inside of a FastAPI application, and its endpoint.

`uvicorn benchmarks.programs.ours_embedded:app` is the worker of side ours-embedded.
"""

from __future__ import annotations

from fastapi import FastAPI

from benchmarks.producing import produce
from benchmarks.programs.ours import Producer, config
from redispatcher_fastapi import Redispatcher

dispatcher = Redispatcher(config, run_pool=True)
app = FastAPI()
app.include_router(dispatcher.router)

if __name__ == "__main__":
    produce(Producer())
