"""Set the process up as the commands do, before NumPy is imported, and share fixtures."""

from __future__ import annotations

from lop_sweep import machine

machine.prepare_process()

import json  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

from lop_sweep.config import CellConfig  # noqa: E402
from lop_sweep.script import SCRIPT_FLAGS  # noqa: E402

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    machine.limit_threads()


def golden_flags(name: str) -> dict[str, object]:
    """A golden set's configuration, by the script's flags."""
    return json.loads((GOLDEN / name / "config.json").read_text())


def golden_config(name: str) -> CellConfig:
    fields = {flag: field for field, flag in SCRIPT_FLAGS.items()}
    return CellConfig(**{fields.get(flag, flag): value for flag, value in golden_flags(name).items()})


@pytest.fixture
def small() -> CellConfig:
    """A cell that takes milliseconds."""
    return CellConfig(seed=1, width=8, depth=2, samples=12, steps=5, tasks=4, fresh_baseline=2, lr=0.1)
