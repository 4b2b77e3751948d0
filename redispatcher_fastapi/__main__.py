"""``python -m redispatcher_fastapi`` is the same as ``redispatcher``."""

from __future__ import annotations

from redispatcher_fastapi.cli import main

if __name__ == "__main__":
    main()
