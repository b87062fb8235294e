"""Check and clean a sweep directory: for a driver, before it computes and before it reports that all is finished."""

from __future__ import annotations

import logging

from lop_sweep.errors import SchemaVersionError, StoreError, SweepError, comma_list
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.maintenance.overlap import BUSY_SECONDS, remove_overlaps
from lop_sweep.storage.store import Store

_log = logging.getLogger(__name__)


def finished_cells(store: Store, dtype: str) -> tuple[set[str], bool]:
    """Read the ids of all finished cells.

    Returns:
        The ids, and whether some of them are in two files.

    Raises:
        SweepError: they are of another dtype.
        SchemaVersionError: another version of the schema wrote a file.
        StoreError: a file is damaged.
    """
    try:
        cells = store.read_cells(["cell", "dtype"])
    except SchemaVersionError:  # sound: nothing to repair
        raise
    except StoreError as error:
        raise StoreError(f"{error}; lop-sweep audit {store.root} --repair sets damaged files aside") from error
    others = set(cells["dtype"].to_pylist()) - {dtype}
    if others:
        raise SweepError(
            f"{store.root}: holds a sweep in {comma_list(others)}, and {dtype} was asked for; "
            "use another directory, or the same dtype"
        )
    ids = set(cells["cell"].to_pylist())
    return ids, len(ids) < len(cells)


def check_checkpoints(store: Store, dtype: str) -> None:
    """Refuse another dtype than that of the checkpoints, which would be lost.

    Raises:
        SweepError: they are of another dtype.
        StoreError: a folder cannot be read.
    """
    points = store.checkpoints.start_points().values()
    others = {point.dtype for of_trajectory in points for point in of_trajectory} - {dtype}
    if others:
        raise SweepError(
            f"{store.root}: holds checkpoints in {comma_list(others)}, and {dtype} was asked for; "
            "use another directory, or the same dtype"
        )


def clean(store: Store, dtype: str) -> set[str]:
    """Remove leftovers of crashed workers, and make sure that no finished cell is in two files.

    While a compaction or a repair is at work, leftovers stay. This waits for it only if cells are in two files.

    Returns:
        The ids of the cells that are finished now.

    Raises:
        SweepError: cells are in two files, and a compaction or a repair does not end.
        StoreError: a file cannot be read, removed or moved.
    """
    done, doubled = finished_cells(store, dtype)
    try:
        with hold_lock(store.maintenance, _cleaning, patience=BUSY_SECONDS if doubled else 0.0) as lock:
            removed = store.collect_garbage(done)
            if doubled:
                removed += remove_overlaps(store, lock)
    except SweepError as error:
        if doubled:
            raise
        _log.info("%s; not cleaning up", error)
        return done
    if removed:
        more = f" and {len(removed) - 1} more" if len(removed) > 1 else ""
        _log.warning(
            "%s%s, left by a worker that is gone, removed; nothing that was finished is lost", removed[0], more
        )
    return finished_cells(store, dtype)[0] if doubled else done


def _cleaning() -> dict[str, str]:
    return {"maintenance": "cleaning up"}
