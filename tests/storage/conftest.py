"""A finished sweep, and a copy of it for each test to change."""

from __future__ import annotations

import shutil
from pathlib import Path

import memory_files  # noqa: F401  it registers its file system
import pytest
from four_cells import GRID
from sweeping import compute_here

from lop_sweep.storage.store import Store


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Four finished cells in two packs, whose last states are kept. Some modules replace it with another sweep."""
    return compute_here(GRID, tmp_path_factory.mktemp("whole") / "out")


@pytest.fixture
def copy(whole: Store, tmp_path: Path) -> Store:
    """A copy of `whole`."""
    shutil.copytree(whole.root, tmp_path / "out")
    return Store(tmp_path / "out")
