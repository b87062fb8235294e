"""Prepare the process as the commands do, before NumPy is imported; the fixtures that all tests share come after it."""

from __future__ import annotations

import pytest

from lop_sweep import runtime

runtime.prepare_process()

pytest_plugins = ["shared_fixtures"]

SLOWEST = (
    "test_refining.py", "test_readme.py", "test_survival.py", "test_driver.py", "test_own_components_shipped.py",
    "test_object_store.py", "test_level_set.py", "test_benchmarks.py", "test_shutdown.py", "test_api.py",
    "test_compaction.py", "test_one_place.py", "test_tracked_sweep.py", "test_bucket_survival.py",
)  # fmt: skip
"""The files that take longest. They start first, so that no worker is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the slowest files to the front."""
    order = {name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
