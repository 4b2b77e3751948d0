"""The consumers in a process of their own, without the API: ``python -m example_app.pool``.

``redispatcher pool example_app.main:app`` does the same inside the application's lifespan, and has
options.
"""

from __future__ import annotations

import asyncio

from example_app.consumers import make_config
from example_app.database import create_tables
from redispatcher_fastapi import ConsumerPool

if __name__ == "__main__":
    asyncio.run(create_tables())
    ConsumerPool(make_config()).start()
