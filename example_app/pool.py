"""The consumers in a process of their own, without the API: ``python -m example_app.pool``.

``redispatcher pool example_app.main:app`` does the same inside the application's lifespan, and has
options.
"""

from __future__ import annotations

from example_app.consumers import make_config
from redispatcher_fastapi import ConsumerPool

if __name__ == "__main__":
    ConsumerPool(make_config()).start()
