"""Who may compute in a sweep directory at the same time: one driver, or the drivers of the parts of one sweep.

    driver/                the lock of a driver of the whole sweep
    shards/<i>-of-<N>/     the lock of the driver of the i-th of N parts

Parts of one request, divided into the same number of parts, have no cell in common, so their drivers work side by side.
Any two others exclude each other. A driver first takes its own lock and then looks at all others that it excludes. So
of two that start together at least one sees the other. A lock that it finds abandoned it takes and releases: workers of
the driver that held it then find a newer lock, and write nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lop_sweep.errors import StoreError
from lop_sweep.storage.filesystem import filesystem_of, reading
from lop_sweep.storage.lock import Lock, hold_lock
from lop_sweep.storage.lock_file import LockState, is_held, read_lock
from lop_sweep.storage.store import Store

REQUEST = "request"
"""Key of a lock's activity for the cells that the sweep was asked for, as a digest."""
_PATIENCE_SECONDS = 10.0
"""How long to wait for a lock that another driver may only be releasing."""


@contextmanager
def hold_sweep(
    store: Store,
    activity: Callable[[], dict[str, Any]],
    part: str = "",
    on_loss: Callable[[str], None] = lambda reason: None,
) -> Iterator[Lock]:
    """Hold the lock of a sweep, or of a part of it, for the length of a `with` block.

    Args:
        store: the sweep directory.
        activity: as in `hold_lock`; that of a part names its request under `REQUEST`.
        part: which part, as `<i>-of-<N>`; empty for the whole sweep.
        on_loss: as in `hold_lock`.

    Raises:
        SweepError: a driver that it excludes is at work.
        StoreError: a folder cannot be read or written.
    """
    with hold_lock(store.lock_folder(part), activity, on_loss) as lock:
        for other in lock_folders(store):
            if other != store.lock_folder(part) and not _side_by_side(part, other, activity()):
                _make_sure_it_is_free(other)
        yield lock


def lock_folders(store: Store) -> list[Path]:
    """Return the folders of all drivers' locks, that of the whole sweep first.

    Raises:
        StoreError: a folder cannot be read.
    """
    with reading(store.shards):
        names = filesystem_of(store.shards).list_names(store.shards)
    return [store.driver, *sorted(store.shards / name for name in names if re.fullmatch("[0-9]+-of-[0-9]+", name))]


def is_at_work(store: Store) -> bool:
    """Return whether any driver is at work, without waiting; errors as `lock_folders`."""
    return any(is_held(read_lock(folder), folder) for folder in lock_folders(store))


def _side_by_side(part: str, other: Path, activity: dict[str, Any]) -> bool:
    """Return whether the driver of a part and that of another lock have no cell in common."""
    if not part or other.name.partition("-of-")[2] != part.partition("-of-")[2]:
        return False
    lock = _newest(other)
    return lock is None or lock.released or lock.activity.get(REQUEST) == activity.get(REQUEST)


def _make_sure_it_is_free(folder: Path) -> None:
    """Take over the lock of a driver that has ended without releasing it; errors as `hold_lock`."""
    lock = _newest(folder)
    if lock is None or not lock.released:
        with hold_lock(folder, dict, patience=_PATIENCE_SECONDS):
            pass


def _newest(folder: Path) -> LockState | None:
    try:
        return read_lock(folder)
    except StoreError:
        return None
