"""Who may compute in a sweep directory at the same time: one driver, or the drivers of the parts of one sweep.

    driver/                the lock of a driver of the whole sweep
    shards/<i>-of-<N>/     the lock of the driver of the i-th of N parts

Parts of one request, divided into the same number of parts, have no cell in common, so their drivers work side by side.
Any two others exclude each other. A driver first takes its own lock and then looks at all others that it excludes. So
of two that start together at least one sees the other. If nobody holds one of these, it takes and releases it: workers
that a driver has left behind then find a newer lock, and write nothing more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from lop_sweep.errors import SweepError
from lop_sweep.storage.filesystem import READERS
from lop_sweep.storage.lock import Lock, hold_lock
from lop_sweep.storage.lock_file import IDLE, REQUEST, is_held, read_lock
from lop_sweep.storage.store import Store

_PATIENCE_SECONDS = 60.0
"""How long to wait for such a lock, which many drivers that start together may take in turn."""
_POLL_SECONDS = 0.2

Result = TypeVar("Result")


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
    own, request, refused = store.lock_folder(part), activity().get(REQUEST), False

    def doing() -> dict[str, Any]:
        return {**activity(), IDLE: "refused"} if refused else activity()

    with ExitStack() as held:
        lock = _patiently(own, lambda: held.enter_context(hold_lock(own, doing, on_loss)))
        try:
            others = [folder for folder in store.lock_folders() if folder != own]
            with ThreadPoolExecutor(READERS) as pool:
                list(pool.map(lambda folder: _patiently(folder, lambda: _exclude(folder, part, request)), others))
        except BaseException:
            refused = True
            raise
        yield lock


def is_at_work(store: Store) -> bool:
    """Return whether any driver is at work, without waiting; errors as `Store.lock_folders`."""
    return any(is_held(read_lock(folder), folder) for folder in store.lock_folders())


def _exclude(folder: Path, part: str, request: str | None) -> None:
    """Make sure that no driver works under another lock, unless the two have no cell in common; errors as `hold_lock`.

    Workers of a driver that has gone may be alive, even if it has released its lock. A newer lock stops them.
    """
    if _needs_no_exclusion(folder, part, request):
        return
    try:
        with hold_lock(folder, lambda: {IDLE: "stopping the workers of a driver that has gone"}):
            pass
    except SweepError as error:
        if _needs_no_exclusion(folder, part, request):  # a driver that may work has taken it meanwhile
            return
        if part and folder.name != "driver":
            raise SweepError(
                f"{error}; parts work side by side only with equal cells, dtype and number of parts"
            ) from None
        raise


def _needs_no_exclusion(folder: Path, part: str, request: str | None) -> bool:
    lock = read_lock(folder)
    if lock is None or lock.was_idle:
        return True
    same_count = bool(part) and folder.name.partition("-of-")[2] == part.partition("-of-")[2]
    return same_count and lock.activity.get(REQUEST) == request


def _patiently(folder: Path, take: Callable[[], Result]) -> Result:
    """Call `take` until it succeeds or the lock in `folder` is held for longer than another `_exclude` holds it."""
    deadline: float | None = None
    while True:
        try:
            return take()
        except SweepError:
            now = time.monotonic()
            deadline = deadline or now + _PATIENCE_SECONDS
            holder = read_lock(folder)
            if now > deadline or not (holder is None or holder.released or IDLE in holder.activity):
                raise
        time.sleep(_POLL_SECONDS)
