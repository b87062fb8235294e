"""What stands in the files of a directory's leases; `lop_sweep.storage.lock` takes and keeps them.

driver/<number>.json    the lease; the highest number holds
driver/<token>.stop     its holder has been asked to stop, and so are its workers
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lop_sweep.errors import MissingFileError, StoreError
from lop_sweep.storage.filesystem import names_in, read_json, reading, timestamp
from lop_sweep.storage.process import ProcessMark

_SILENT_SECONDS = 120.0
"""After so long without a beat, by the clocks, those that cannot wait take a lease on another machine for dead."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LockState:
    """What a lease file says.

    Attributes:
        number: its number.
        token: 16 random digits.
        process: who holds it.
        started: when it was taken, seconds since 1970.
        time: when it was last renewed, seconds since 1970, by the holder's clock.
        beat: how often it has been renewed.
        released: whether the holder has ended in order.
        activity: what the holder is doing, for people; keys as the holder likes.
        inode: of the folder that it was taken in; 0 where that is not known.
    """

    number: int
    token: str
    process: ProcessMark
    started: float
    time: float
    beat: int
    released: bool
    activity: dict[str, Any] = field(default_factory=dict)
    inode: int = 0

    def holder_alive(self, folder: Path) -> bool | None:
        """Return whether the holder still runs; None if that cannot be told from here.

        It cannot for a holder on a machine whose processes cannot be seen, and where the folder is not the one in which
        the lease was taken, but looks like a copy of it: then the lease has to be watched.

        Args:
            folder: where the lease was found.
        """
        alive = self.process.alive()
        if alive and self.inode and self.inode != inode_of(folder):
            return None
        return alive


def inode_of(folder: Path) -> int:
    """Return the number by which a file system knows a folder; 0 if there is no such folder."""
    try:
        return folder.stat().st_ino
    except OSError:
        return 0


def is_held(lock: LockState | None, folder: Path) -> bool:
    """Return whether the holder of a lease still runs, as far as can be told from here and without waiting.

    Args:
        lease: the newest of `folder`.
        folder: where the leases are.
    """
    if lock is None or lock.released:
        return False
    alive = lock.holder_alive(folder)
    return time.time() - lock.time < _SILENT_SECONDS if alive is None else alive


def stop_file(folder: Path, token: str) -> Path:
    """The file that is there once the holder of a lease has been asked to stop."""
    return folder / f"{token}.stop"


def read_lease(folder: Path) -> LockState | None:
    """The newest lease, released or not; None where there is none that can be read.

    Raises:
        StoreError: the folder cannot be read.
    """
    try:
        return newest(folder)
    except StoreError as error:
        lease_numbers(folder)
        _log.warning("%s; not used", error)
        return None


def newest(folder: Path) -> LockState | None:
    """As `read_lease`, but damage is an error.

    Raises:
        StoreError: the folder or the newest lease cannot be read.
    """
    for number in reversed(lease_numbers(folder)):
        path = lease_path(folder, number)
        try:
            content = read_json(path)
            with reading(path):
                return LockState(
                    number=number,
                    token=str(content["token"]),
                    process=ProcessMark.from_json(content["process"]),
                    started=timestamp(content["started"]),
                    time=timestamp(content["time"]),
                    beat=int(content["beat"]),
                    released=bool(content["released"]),
                    activity=dict(content["activity"]),
                    inode=int(content.get("inode", 0)),
                )
        except MissingFileError:
            continue
    return None


def lease_path(folder: Path, number: int) -> Path:
    """Where a lease is."""
    return folder / f"{number:06}.json"


def lease_numbers(folder: Path) -> list[int]:
    """The numbers of all leases, the newest last.

    Raises:
        StoreError: the folder cannot be read.
    """
    return sorted(int(name) for name in names_in(folder, ".json") if re.fullmatch(r"[0-9]{6,}", name))
