"""What ``redispatcher pool tests.chaos.target:config`` runs."""

from __future__ import annotations

import os

from tests.chaos.workload import make_config

config = make_config(os.environ)
