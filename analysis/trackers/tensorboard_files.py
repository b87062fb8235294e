"""TensorBoard: two event files per cell, which TensorBoard opens as they are.

    FOLDER/<cell>/events.out.tfevents.1.tasks            the metrics, one scalar per task
    FOLDER/<cell>/events.out.tfevents.2.<state>          configuration, labels and scores, for the HParams dashboard

The state of a cell's scores is in a file's name, so the folder's listing says what is logged. Scores are replaced by
writing the new file, then removing the old one. Files are written whole, with one atomic operation.
"""

from __future__ import annotations

import re
import struct
import time
from pathlib import Path
from typing import Any

from analysis.trackers.records import CellRecord
from analysis.trackers.tracker import SweepLabel, require
from lop_sweep.errors import StoreError, TrackerError
from lop_sweep.storage import local_path, names_in, writable_folder, write_bytes, writing

_TASKS, _SCORES = "events.out.tfevents.1.tasks", "events.out.tfevents.2."
_FIRST = "brain.Event:2"
"""The version that every event file begins with."""
_STATE = re.compile(r"[0-9a-z]{1,32}")


class TensorBoardFiles:
    """A folder of event files.

    Args:
        folder: a local folder, which is created if it does not exist.

    Raises:
        TrackerError: tensorboardX is not installed, or `folder` is not local.
    """

    name, takes_pending = "TensorBoard", True

    def __init__(self, folder: str | Path) -> None:
        require("tensorboardX", "--tensorboard", "tensorboard")
        try:
            self._folder = local_path(folder)
        except StoreError as error:
            raise TrackerError(f"--tensorboard needs a local folder: {error}; write --tensorboard FOLDER") from error
        self.address = str(self._folder)
        self.option = f"--tensorboard {self._folder}"

    def open(self, sweep: SweepLabel) -> dict[str, str]:
        """Return the cells that have both files; see `Tracker`."""
        writable_folder(self._folder)
        found = {}
        with writing(self._folder):
            cells = [path for path in self._folder.iterdir() if path.is_dir()]
        for folder in cells:
            names = names_in(folder, "")
            states = [name.removeprefix(_SCORES) for name in names if name.startswith(_SCORES)]
            if _TASKS in names and len(states) == 1 and _STATE.fullmatch(states[0]):
                found[folder.name] = states[0]
        return found

    def write(self, record: CellRecord, logged: bool) -> None:
        """Write a cell's files; see `Tracker`."""
        from tensorboardX import summary

        folder, now = writable_folder(self._folder / record.cell), time.time()
        if not logged:
            points = [
                (task, summary.scalar(name, value)) for task, values in record.points for name, value in values.items()
            ]
            write_bytes(folder / _TASKS, _event_file(now, points))
        current = folder / f"{_SCORES}{record.state}"
        scores = {f"score/{name}": value for name, value in record.scores.items()}
        length = max((len(row) for row in record.curves.values()), default=0)
        _, *session = summary.hparams({**record.config, **record.labels}, scores)
        # Without a summary of the experiment, which no single cell can give, TensorBoard collects the columns of all.
        parts = [
            *((0, part) for part in session),
            *((length, summary.scalar(name, value)) for name, value in scores.items()),
        ]
        write_bytes(current, _event_file(now, parts))
        with writing(folder):
            for name in names_in(folder, ""):
                if name.startswith(_SCORES) and name != current.name:
                    (folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Do nothing: files are complete once they are written."""


def _event_file(now: float, points: list[tuple[int, Any]]) -> bytes:
    """Return an event file: its version, then one event per summary, at its step."""
    from tensorboardX.proto.event_pb2 import Event

    first = Event(wall_time=now, file_version=_FIRST)
    events = (Event(wall_time=now, step=step, summary=summary) for step, summary in points)
    return b"".join(_record(event.SerializeToString()) for event in (first, *events))


def _record(content: bytes) -> bytes:
    """Return a record of the TFRecord format: length and content, each followed by its masked CRC-32C."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(content))
    return b"".join(
        [length, struct.pack("<I", masked_crc32c(length)), content, struct.pack("<I", masked_crc32c(content))]
    )
