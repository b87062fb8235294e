"""Prepare the process as the commands do, before NumPy is imported; the fixtures that all tests share come after it."""

from __future__ import annotations

from lop_sweep import runtime

runtime.prepare_process()

pytest_plugins = ["shared_fixtures"]
