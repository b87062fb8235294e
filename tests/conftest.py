"""Set the process up as the commands do, before NumPy is imported, and share fixtures."""

from __future__ import annotations

from lop_sweep import machine

machine.prepare_process()

import os  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from lop_sweep.config import CellConfig  # noqa: E402

# Where CI runs, the same examples every time; elsewhere new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    machine.limit_threads()


@pytest.fixture
def small() -> CellConfig:
    """A cell that takes milliseconds."""
    return CellConfig(seed=1, width=8, depth=2, samples=12, steps=5, tasks=4, fresh_baseline=2, lr=0.1)
