"""Failure records, `failed/<pack>.json`: packs that kept failing, until their cells are finished."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lop_sweep.pack import Pack
from lop_sweep.storage.filesystem import filesystem_of, writing
from lop_sweep.storage.records import read_records, timestamp, write_json


@dataclass(frozen=True)
class Failure:
    """A pack that failed in its last attempt.

    Attributes:
        pack: its id.
        cells: ids of its cells.
        reason: the error, in one line.
        traceback: the whole traceback.
        attempts: number of attempts.
        time: of the last failure, in seconds since 1970.
    """

    pack: str
    cells: tuple[str, ...]
    reason: str
    traceback: str
    attempts: int
    time: float


class FailureLog:
    """The failure records of a sweep directory.

    Args:
        root: the sweep directory.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / "failed"

    def record(self, pack: Pack, reason: str, traceback: str, attempts: int) -> None:
        """Write the record of a pack that failed, in place of an earlier one.

        Raises:
            StoreError: it cannot be written.
        """
        cells = tuple(cell.id for cell in pack.cells)
        failure = Failure(pack.id, cells, reason, traceback, attempts, time.time())
        with writing(self.folder):
            filesystem_of(self.folder).make_folder(self.folder)
            write_json(self.folder / f"{pack.id}.json", asdict(failure), indent=1)

    def read(self) -> list[Failure]:
        """Read all records, newest first. Damaged ones are reported in the log and left out.

        Raises:
            StoreError: the folder cannot be read.
        """
        return sorted(read_records(self.folder, _failure), key=lambda failure: -failure.time)

    def discard_finished(self, done: Collection[str]) -> None:
        """Remove the records whose cells have all been finished, or have failed again in other packs.

        Args:
            done: ids of finished cells.

        Raises:
            StoreError: one cannot be removed.
        """
        with writing(self.folder):
            accounted = set(done)
            for failure in self.read():  # the newest first
                if set(failure.cells) <= accounted:
                    filesystem_of(self.folder).delete(self.folder / f"{failure.pack}.json")
                accounted |= set(failure.cells)


def _failure(pack: str, content: dict[str, Any]) -> Failure:
    return Failure(
        pack=pack,
        cells=tuple(map(str, content["cells"])),
        reason=str(content["reason"]),
        traceback=str(content["traceback"]),
        attempts=int(content["attempts"]),
        time=timestamp(content["time"]),
    )
