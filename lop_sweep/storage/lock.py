"""A sweep directory has one driver at a time: leases that are taken, renewed, lost and taken over.

    driver/<number>.json    the lease; the highest number holds, see `lop_sweep.storage.lock_file`

Whoever wants to drive makes the file with the next number, which only one can (a hard link to a name that is taken
fails), so two that see the same dead lease cannot both take it over. The holder renews its file every few seconds,
under the same name. On the holder's own machine the process table says whether it lives; from elsewhere, a lease that
does not change while it is being watched is dead, whatever the clocks say. A holder that finds a higher number, or its
own file gone, has lost the lease and must stop.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lop_sweep.errors import SpecialFileError, StoreError, SweepError
from lop_sweep.storage.filesystem import is_out_of_reach, write_json, writing
from lop_sweep.storage.lock_file import LockState, inode_of, lease_numbers, lease_path, newest, stop_file
from lop_sweep.storage.process import ProcessMark

BEAT_SECONDS = 5.0
WATCH_SECONDS = 30.0
"""A lease on another machine that does not change for so long is dead."""

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
"""What file systems without hard links answer."""

_log = logging.getLogger(__name__)


class Lock:
    """A lease that this process holds.

    Args:
        folder: where the leases are.
        state: what it was taken with.
        activity: called at each renewal, for `LeaseState.activity`.
        on_loss: called once, from another thread, with the reason, when the lease is lost.
    """

    def __init__(
        self, folder: Path, state: LockState, activity: Callable[[], dict[str, Any]], on_loss: Callable[[str], None]
    ) -> None:
        self.number, self.token = state.number, state.token
        self._folder, self._state, self._activity, self._on_loss = folder, state, activity, on_loss
        self._beat = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """End it: the next one need not wait."""
        self._ended.set()
        self._thread.join()
        if self._lost() is None:
            with suppress(StoreError):  # a directory that is full or gone needs no release
                self._write(released=True)
        with suppress(OSError):
            stop_file(self._folder, self.token).unlink(missing_ok=True)

    def check(self) -> None:
        """See that the lease is still held.

        Raises:
            SweepError: it is lost.
        """
        reason = self._lost()
        if reason is not None:
            raise SweepError(reason)

    def request_stop(self) -> None:
        """Tell the workers to save what they have and return."""
        with suppress(OSError):  # in a directory that is full or gone there is nothing to save to
            stop_file(self._folder, self.token).touch()

    def _keep(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            reason = self._lost()
            if reason is not None:
                self._on_loss(reason)
                return
            try:
                self._write()
            except StoreError as error:
                _log.warning("the lease cannot be renewed: %s", error)

    def _lost(self) -> str | None:
        try:
            numbers = lease_numbers(self._folder)
        except StoreError as error:
            _log.warning("the lease cannot be looked after: %s", error)
            return None
        if numbers and numbers[-1] > self.number:
            return f"{self._folder.parent}: another lop-sweep has taken over, because this one was silent too long"
        if self.number not in numbers:
            return f"{self._folder.parent}: is no longer there, or no longer ours"
        return None

    def _write(self, released: bool = False) -> None:
        self._beat += 1
        _write(
            self._folder, self._state, time=time.time(), beat=self._beat, released=released, activity=self._activity()
        )


@contextmanager
def hold_lock(
    folder: Path,
    activity: Callable[[], dict[str, Any]],
    on_loss: Callable[[str], None] = lambda reason: None,
    patience: float = 0.0,
) -> Iterator[Lock]:
    """Be the only one at work on a sweep directory for the length of a `with` block.

    Args:
        folder: where the leases are; made if need be.
        activity: called at each renewal; says what this process is doing, in JSON values.
        on_loss: called from another thread when the lease is lost; the block should then end soon.
        patience: seconds to wait for another process to end its work.

    Raises:
        SweepError: another process is at work; the message says what it is doing.
        StoreError: the folder cannot be read or written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
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
        time.sleep(min(1.0, patience / 10))


def _take(folder: Path, activity: dict[str, Any]) -> LockState:
    while True:
        numbers = lease_numbers(folder)
        holder = _readable_lease(folder)
        if holder is not None and not holder.released:
            _refuse_if_alive(folder, holder)
            _log.warning("%s is no longer at work on %s; taking over", holder.process, folder.parent)
        now = time.time()
        mine = LockState(
            number=numbers[-1] + 1 if numbers else 1,
            token=secrets.token_hex(8),
            process=ProcessMark.current(),
            started=now,
            time=now,
            beat=0,
            released=False,
            activity=activity,
            inode=inode_of(folder),
        )
        if not _create(folder, mine):
            continue
        if lease_numbers(folder)[-1:] != [mine.number]:  # others came and went, and freed one below theirs
            with writing(folder):
                lease_path(folder, mine.number).unlink(missing_ok=True)
        else:
            for path in [*(lease_path(folder, number) for number in numbers), *folder.glob("*.stop")]:
                with suppress(OSError):  # a lower number holds nothing, whether its file is there or not
                    path.unlink(missing_ok=True)
            return mine


def _readable_lease(folder: Path) -> LockState | None:
    """The newest lease; one that stays damaged for as long as it is watched is dead.

    Raises:
        StoreError: it may be sound, but cannot be read from here.
    """
    deadline = time.monotonic() + WATCH_SECONDS
    while True:
        try:
            return newest(folder)
        except SpecialFileError:  # no holder writes such, so there is nothing to wait for
            raise
        except StoreError as error:
            if time.monotonic() > deadline and is_out_of_reach(error):
                raise
            if time.monotonic() > deadline:
                _log.warning("%s; taken for dead", error)
                return None
            time.sleep(min(1.0, WATCH_SECONDS / 10))


def _refuse_if_alive(folder: Path, holder: LockState) -> None:
    alive = holder.holder_alive(folder)
    if alive is None:
        _log.info("%s was at work on %s; seeing whether it still is", holder.process, folder.parent)
        alive = _changes(folder, holder)
    if alive:
        doing = ", ".join(f"{key}: {value}" for key, value in holder.activity.items())
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.started))
        raise SweepError(
            f"{folder.parent}: {holder.process} has been at work here since {since} ({doing}); "
            "wait for it or stop it, then run the same command again; lop-sweep status shows how far it is"
        )


def _changes(folder: Path, holder: LockState) -> bool:
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        time.sleep(min(1.0, WATCH_SECONDS / 10))
        try:
            now = newest(folder)
        except StoreError:  # not readable for the moment: the time goes on
            continue
        if now is None or now.released:
            return False
        if (now.number, now.beat) != (holder.number, holder.beat):
            return True
    return False


def _create(folder: Path, state: LockState) -> bool:
    """Make the file of a new lease, whole from the start; False if somebody else has just made it."""
    draft = folder / f"draft-{state.token}"
    with writing(folder):
        write_json(draft, _content(state))
        try:
            os.link(draft, lease_path(folder, state.number))
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _create_without_links(lease_path(folder, state.number), draft.read_bytes())
        finally:
            draft.unlink(missing_ok=True)
    return True


def _create_without_links(path: Path, content: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _write(folder: Path, state: LockState, **changes: Any) -> None:
    with writing(folder):
        write_json(lease_path(folder, state.number), {**_content(state), **changes})


def _content(state: LockState) -> dict[str, Any]:
    return {**vars(state), "process": state.process.to_json()}
