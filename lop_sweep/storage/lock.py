"""Locks: a sweep directory has one driver at a time.

    driver/<fencing token>.json    the lock; the file with the highest fencing token counts, see `lock_file`

Taking a lock creates the file with the next fencing token. The file system lets only one process do so, so two that
find the same abandoned lock cannot both take it over. The holder renews its file every few seconds, under the same
name.

On the holder's own machine, the process table says whether it runs. From elsewhere, a lock that does not change while
it is being watched is abandoned, whatever the clocks say. A holder that finds a higher fencing token, or its own file
missing, has lost the lock and must stop.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lop_sweep.errors import InaccessibleFileError, SpecialFileError, StoreError, SweepError
from lop_sweep.storage.filesystem import filesystem_of, names_in, writing
from lop_sweep.storage.lock_file import REQUEST, LockState, fencing_tokens, lock_path, newest, stop_file
from lop_sweep.storage.process import ProcessMark
from lop_sweep.storage.records import create_json, write_json

BEAT_SECONDS = 5.0
"""Time between two renewals."""
WATCH_SECONDS = 30.0
"""How long a lock of another machine is watched; it is abandoned if it does not change."""
_MAX_POLL_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Lock:
    """A lock that this process holds.

    Args:
        folder: where the lock is.
        state: its content when it was taken.
        activity: called at each renewal, for `LockState.activity`.
        on_loss: called once, from another thread, with the reason, if the lock is lost.

    Attributes:
        folder: where the lock is.
        fencing_token, token: as in `LockState`.
    """

    def __init__(
        self, folder: Path, state: LockState, activity: Callable[[], dict[str, Any]], on_loss: Callable[[str], None]
    ) -> None:
        self.fencing_token, self.token = state.fencing_token, state.token
        self.folder = folder
        self._state, self._activity, self._on_loss = state, activity, on_loss
        self._files = filesystem_of(folder)
        self._beat = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lock", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Release the lock, so that the next process need not wait."""
        self._ended.set()
        self._thread.join()
        if self._lost() is None:
            with suppress(StoreError):  # a directory that is full or has vanished needs no release
                self._write(released=True)
        with suppress(OSError):
            self._files.delete(stop_file(self.folder, self.token))

    def check(self) -> None:
        """Check that the lock is still held.

        Raises:
            SweepError: it is lost.
        """
        reason = self._lost()
        if reason is not None:
            raise SweepError(reason)

    def request_stop(self) -> None:
        """Ask the workers to save their packs and return."""
        with suppress(OSError):  # a directory that is full or has vanished takes no checkpoints either
            self._files.write(stop_file(self.folder, self.token), b"")

    def _keep(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            reason = self._lost()
            if reason is not None:
                self._on_loss(reason)
                return
            try:
                self._write()
            except StoreError as error:
                _log.warning("the lock cannot be renewed: %s", error)

    def _lost(self) -> str | None:
        try:
            tokens = fencing_tokens(self.folder)
        except StoreError as error:
            _log.warning("the lock cannot be checked: %s", error)
            return None
        if tokens and tokens[-1] > self.fencing_token:
            return f"{self.folder.parent}: another lop-sweep has taken over, because this one was silent too long"
        if self.fencing_token not in tokens:
            return f"{self.folder.parent}: is no longer there, or no longer ours"
        return None

    def _write(self, released: bool = False) -> None:
        self._beat += 1
        now = replace(self._state, time=time.time(), beat=self._beat, released=released, activity=self._activity())
        with writing(self.folder):
            write_json(lock_path(self.folder, self.fencing_token), now.to_json())


@contextmanager
def hold_lock(
    folder: Path,
    activity: Callable[[], dict[str, Any]],
    on_loss: Callable[[str], None] = lambda reason: None,
    patience: float = 0.0,
) -> Iterator[Lock]:
    """Hold the lock of a sweep directory for the length of a `with` block.

    Args:
        folder: where the lock is; made if it does not exist.
        activity: called at each renewal; returns what this process is doing, as JSON values.
        on_loss: called from another thread with the reason if the lock is lost. The block should then end soon.
        patience: seconds to wait for another process to release the lock.

    Raises:
        SweepError: another process holds it; the message says what that is doing.
        StoreError: the folder cannot be read or written.
    """
    with writing(folder):
        filesystem_of(folder).make_folder(folder)
    lock = Lock(folder, _take_patiently(folder, activity(), patience), activity, on_loss)
    try:
        yield lock
    finally:
        lock.release()


def _take_patiently(folder: Path, activity: dict[str, Any], patience: float) -> LockState:
    deadline = time.monotonic() + patience
    while True:
        try:
            return _take(folder, activity)
        except SweepError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(min(_MAX_POLL_SECONDS, patience / 10))


def _take(folder: Path, activity: dict[str, Any]) -> LockState:
    files = filesystem_of(folder)
    while True:
        tokens = fencing_tokens(folder)
        holder = _readable_lock(folder)
        if holder is not None and not holder.released:
            _refuse_if_alive(folder, holder)
            _log.warning("%s is no longer at work on %s; taking over", holder.process, _directory(folder))
        mine = _new_state(folder, tokens[-1] + 1 if tokens else 1, activity)
        with writing(folder):
            created = create_json(lock_path(folder, mine.fencing_token), mine.to_json())
        if not created:
            continue
        if fencing_tokens(folder)[-1:] != [mine.fencing_token]:  # a later lock has removed the files below its own
            with writing(folder):
                files.delete(lock_path(folder, mine.fencing_token))
            continue
        stops = [folder / f"{name}.stop" for name in names_in(folder, ".stop")]
        for path in [*(lock_path(folder, token) for token in tokens), *stops]:
            with suppress(OSError):  # a lower fencing token does not count, whether its file exists or not
                files.delete(path)
        return mine


def _new_state(folder: Path, fencing_token: int, activity: dict[str, Any]) -> LockState:
    now = time.time()
    return LockState(
        fencing_token=fencing_token,
        token=secrets.token_hex(8),
        process=ProcessMark.current(),
        started=now,
        time=now,
        beat=0,
        released=False,
        activity=activity,
        inode=filesystem_of(folder).identity(folder),
    )


def _readable_lock(folder: Path) -> LockState | None:
    """Read the newest lock; None if it stays damaged for as long as it is watched.

    Raises:
        StoreError: it may be sound, but cannot be read from here.
    """
    deadline = time.monotonic() + WATCH_SECONDS
    while True:
        try:
            return newest(folder)
        except SpecialFileError:  # no holder writes one, so waiting is useless
            raise
        except StoreError as error:
            if time.monotonic() <= deadline:
                time.sleep(_poll_seconds())
            elif isinstance(error, InaccessibleFileError):
                raise
            else:
                _log.warning("%s; taken to be abandoned", error)
                return None


def _refuse_if_alive(folder: Path, holder: LockState) -> None:
    alive = holder.holder_alive(folder)
    if alive is None:
        _log.info("%s was at work on %s; waiting to see whether it still is", holder.process, _directory(folder))
        alive = _changes(folder, holder)
    if alive:
        doing = ", ".join(f"{key}: {value}" for key, value in holder.activity.items() if key != REQUEST)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.started))
        raise SweepError(
            f"{_directory(folder)}: {holder.process} has been at work here since {since} ({doing}); "
            "wait for it or stop it, then run the same command again; lop-sweep status shows its progress"
        )


def _changes(folder: Path, holder: LockState) -> bool:
    """Watch a lock and return whether it is renewed or taken over meanwhile."""
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_poll_seconds())
        try:
            now = newest(folder)
        except StoreError:  # unreadable for the moment: keep watching
            continue
        if now is None or now.released:
            return False
        if (now.fencing_token, now.beat) != (holder.fencing_token, holder.beat):
            return True
    return False


def _directory(folder: Path) -> Path:
    """Return the sweep directory of a lock's folder."""
    return folder.parent.parent if "-of-" in folder.name else folder.parent


def _poll_seconds() -> float:
    return min(_MAX_POLL_SECONDS, WATCH_SECONDS / 10)
