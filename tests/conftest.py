"""Set the process up as the commands do, before NumPy is imported, and share fixtures."""

from __future__ import annotations

from lop_sweep import machine

machine.prepare_process()

import pytest  # noqa: E402

from lop_sweep.config import CellConfig  # noqa: E402


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    machine.limit_threads()


@pytest.fixture
def small() -> CellConfig:
    """A cell that takes milliseconds."""
    return CellConfig(seed=1, width=8, depth=2, samples=12, steps=5, tasks=4, fresh_baseline=2, lr=0.1)
