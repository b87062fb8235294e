"""The files of a directory's locks; `lop_sweep.storage.lock` takes and holds them.

driver/<fencing token>.json    the lock; the file with the highest fencing token counts
driver/<token>.stop            its holder has been asked to stop, and so have its workers
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lop_sweep.errors import MissingFileError, StoreError
from lop_sweep.storage.filesystem import filesystem_of, names_in, reading
from lop_sweep.storage.process import ProcessMark
from lop_sweep.storage.records import read_json, timestamp

REQUEST = "request"
"""Key of an activity for the cells that the sweep was asked for and how they are divided, as a digest."""
IDLE = "taken"
"""Key of an activity for why a process that computes nothing has taken a lock."""
_STALE_SECONDS = 120.0
"""Age from which a heartbeat from another machine is stale, by the clocks, for callers that cannot wait."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LockState:
    """The content of a lock's file.

    Attributes:
        fencing_token: counts up with every lock that is taken in a folder; "number" in the file.
        token: 16 random digits, which identify the lock in messages to workers.
        process: the holder.
        started: when it was taken, in seconds since 1970.
        time: when it was last renewed, in seconds since 1970, by the holder's clock.
        beat: number of renewals.
        released: whether the holder has released it.
        activity: what the holder is doing, for messages; the keys are up to the holder.
        inode: of the folder that it was taken in; 0 if unknown.
    """

    fencing_token: int
    token: str
    process: ProcessMark
    started: float
    time: float
    beat: int
    released: bool
    activity: dict[str, Any] = field(default_factory=dict)
    inode: int = 0

    @property
    def was_idle(self) -> bool:
        """Whether nothing was computed under this lock, which has been released."""
        return self.released and IDLE in self.activity

    @classmethod
    def from_json(cls, fencing_token: int, content: dict[str, Any]) -> LockState:
        """Return the state that `to_json` described.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: `content` does not describe a lock.
        """
        return cls(
            fencing_token=fencing_token,
            token=str(content["token"]),
            process=ProcessMark.from_json(content["process"]),
            started=timestamp(content["started"]),
            time=timestamp(content["time"]),
            beat=int(content["beat"]),
            released=bool(content["released"]),
            activity=dict(content["activity"]),
            inode=int(content.get("inode", 0)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        rest = {name: value for name, value in vars(self).items() if name != "fencing_token"}
        return {"number": self.fencing_token, **rest, "process": self.process.to_json()}

    def holder_alive(self, folder: Path) -> bool | None:
        """Return whether the holder still runs; None if that cannot be known without watching the lock.

        It cannot for a holder on a machine whose processes cannot be seen. Nor can it if `folder` is a copy of the one
        in which the lock was taken: the holder then runs, but elsewhere.

        Args:
            folder: where the lock was found.
        """
        alive = self.process.alive()
        if alive and self.inode and self.inode != filesystem_of(folder).identity(folder):
            return None
        return alive


def is_held(lock: LockState | None, folder: Path) -> bool:
    """Return whether the holder of a lock still runs, without waiting: by the clocks, if it is on another machine.

    Args:
        lock: the newest of `folder`.
        folder: where the lock is.
    """
    if lock is None or lock.released:
        return False
    alive = lock.holder_alive(folder)
    return time.time() - lock.time < _STALE_SECONDS if alive is None else alive


def stop_file(folder: Path, token: str) -> Path:
    """Return the path of the file that exists once the holder of a lock has been asked to stop."""
    return folder / f"{token}.stop"


def read_lock(folder: Path) -> LockState | None:
    """Read the newest lock, released or not; None if there is none, or it is damaged, which is logged.

    Raises:
        StoreError: the folder cannot be read.
    """
    try:
        return newest(folder)
    except StoreError as error:
        fencing_tokens(folder)
        _log.warning("%s; not used", error)
        return None


def newest(folder: Path) -> LockState | None:
    """Read the newest lock, as `read_lock`, but raise an error if it is damaged.

    Raises:
        StoreError: the folder or the newest lock cannot be read.
    """
    for fencing_token in reversed(fencing_tokens(folder)):
        path = lock_path(folder, fencing_token)
        try:
            content = read_json(path)
            with reading(path):
                return LockState.from_json(fencing_token, content)
        except MissingFileError:
            continue
    return None


def lock_path(folder: Path, fencing_token: int) -> Path:
    """Return the path of a lock's file."""
    return folder / f"{fencing_token:06}.json"


def fencing_tokens(folder: Path) -> list[int]:
    """Return the fencing tokens of all locks in a folder, the newest last.

    Raises:
        StoreError: the folder cannot be read.
    """
    return sorted(int(name) for name in names_in(folder, ".json") if re.fullmatch(r"[0-9]{6,}", name))
