"""The saved states of packs and the heartbeats of their workers; `docs/resuming.md` shows how they are used.

running/<pack>.state    the newest checkpoint of an unfinished pack: its state and the rows of its tasks, in one file
running/<pack>.json     the heartbeat of the worker that computes the pack
states/<pack>.state     the state after a pack's last task, kept for longer sequences
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from lop_sweep.config import CellConfig
from lop_sweep.errors import InaccessibleStateError, MissingStateError, SpecialFileError, StateError, StoreError
from lop_sweep.pack import Pack
from lop_sweep.prefetch import prefetch
from lop_sweep.storage.filesystem import READERS, filesystem_of, names_in, quarantine, reading, writing
from lop_sweep.storage.pack_state import PackState, StartPoint, assemble, start_points
from lop_sweep.storage.process import ProcessMark
from lop_sweep.storage.records import read_records, timestamp, write_json
from lop_sweep.storage.serialization import load_header

STATE = ".state"
HEARTBEAT_TIMEOUT_SECONDS = 600.0
"""Age from which a heartbeat is stale, for workers on other hosts."""

ResumePoints = Sequence[tuple[str, int]]
"""For each cell of a pack, a saved state, as a path within the sweep directory, and the cell's place in it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Heartbeat:
    """What a worker last reported about its pack.

    Attributes:
        pack: id of the pack.
        cells: ids of its cells.
        tasks_done: number of tasks that are finished.
        tasks: number of all tasks.
        process: the worker.
        time: of the report, in seconds since 1970.
    """

    pack: str
    cells: tuple[str, ...]
    tasks_done: int
    tasks: int
    process: ProcessMark
    time: float

    def alive(self) -> bool:
        """Return whether the worker still runs; on another host, whether the heartbeat is not stale."""
        known = self.process.alive()
        return time.time() - self.time < HEARTBEAT_TIMEOUT_SECONDS if known is None else known

    def may_be_alive(self) -> bool:
        """Return whether the worker could still write its pack: unless it is known to have ended. Needs no clock."""
        return self.process.alive() is not False


class Checkpoints:
    """The saved states and heartbeats of a sweep directory.

    Args:
        root: the sweep directory.

    Attributes:
        running, states: two of its folders.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._files = root, filesystem_of(root)
        self.running, self.states = root / "running", root / "states"

    def save(self, state: PackState) -> None:
        """Write a pack's checkpoint in place of its last one.

        Raises:
            SchemaVersionError: another version of lop-sweep wrote the last one.
            SpecialFileError: the last one is not a regular file.
            StoreError: it cannot be written.
        """
        self._save(state, self.running)

    def keep(self, state: PackState) -> None:
        """Keep the state that a pack has after its last task; errors as `save`."""
        self._save(state, self.states)

    def find_start(self, pack: Pack, planned: ResumePoints = ()) -> tuple[PackState | None, list[str]]:
        """Find the saved state from which a pack resumes.

        Of the pack's own checkpoint and the planned states, the one with more progress is taken. If neither can be
        used, it is the state that was kept after an earlier last task of this pack.

        Args:
            pack: the pack.
            planned: where `furthest` found its cells when the pack was planned; empty for nowhere.

        Returns:
            The state, or None to start from the beginning, and what was wrong with states that are not used.

        Raises:
            SchemaVersionError: another version of lop-sweep wrote one of the states.
            StoreError: a state cannot be read now or is not a regular file, or a damaged one cannot be moved.
        """
        notes: list[str] = []
        own = self._load(self.running, pack, notes)
        own_path = str(_path(self.running, pack.id).relative_to(self._root))
        elsewhere = any(path != own_path for path, _ in planned)
        found = [own, self._assemble(pack, planned, notes) if elsewhere else None]
        best = max((state for state in found if state), key=lambda state: state.progress, default=None)
        return best or self._load(self.states, pack, notes), notes

    def remove(self, pack: str) -> None:
        """Remove the checkpoint and the heartbeat of a pack that is finished.

        Raises:
            StoreError: they cannot be removed.
        """
        with writing(self.running):
            for path in (_path(self.running, pack), self._heartbeat(pack)):
                self._files.delete(path)

    def discard_finished(self, done: Collection[str]) -> None:
        """Remove checkpoints and heartbeats of packs whose cells are all finished, and heartbeats of ended workers.

        Args:
            done: ids of finished cells.

        Raises:
            StoreError: one cannot be removed.
        """
        finished = set(done)
        for points in self._points_in(self.running):
            if {point.cell for point in points.values()} <= finished:
                self.remove(next(iter(points.values())).path.name.removesuffix(STATE))
        for heartbeat in self.heartbeats():
            if finished >= set(heartbeat.cells) or not heartbeat.may_be_alive():
                with writing(self.running):
                    self._files.delete(self._heartbeat(heartbeat.pack))

    def in_progress(self) -> list[str]:
        """Return the ids of the packs that have a checkpoint.

        Raises:
            StoreError: the folder cannot be read.
        """
        return names_in(self.running, STATE)

    def kept(self) -> list[str]:
        """Return the ids of the packs whose last state is kept.

        Raises:
            StoreError: the folder cannot be read.
        """
        return names_in(self.states, STATE)

    def kept_bytes(self) -> int:
        """Return the total size of the kept states.

        Raises:
            StoreError: the folder cannot be read.
        """
        with reading(self.states):
            sizes = self._files.sizes(self.states)
        return sum(size for name, size in sizes.items() if name.endswith(STATE) and not name.startswith("."))

    def so_far(self) -> list[PackState]:
        """Read the checkpoints of all unfinished packs that have rows, those with most tasks first.

        Damaged ones are reported in the log and left out.

        Raises:
            SchemaVersionError: another version of lop-sweep wrote one of them.
            StoreError: the folder cannot be read.
        """
        states = []
        for pack in self.in_progress():
            try:
                state = PackState.load(_path(self.running, pack))
            except MissingStateError:  # finished since the folder was listed
                continue
            except StateError as error:
                _log.warning("%s; not used", error)
                continue
            if state.tasks_done:
                states.append(state)
        return sorted(states, key=lambda state: -state.tasks_done)

    def start_points(self) -> dict[str, list[StartPoint]]:
        """Read every place from which a sequence can resume, by trajectory. Files that cannot be read are left out.

        Raises:
            SchemaVersionError: another version of lop-sweep wrote one of them.
            StoreError: a folder cannot be read.
        """
        found: dict[str, list[StartPoint]] = {}
        for folder in (self.running, self.states):
            for points in self._points_in(folder):
                for trajectory, point in points.items():
                    found.setdefault(trajectory, []).append(point)
        return found

    def furthest(self, cells: Iterable[CellConfig], dtype: str) -> dict[str, StartPoint | None]:
        """Find, for each cell, the start point with most progress; errors as `start_points`.

        Args:
            cells: the cells.
            dtype: the precision in which they are to be computed.

        Returns:
            Cell id to start point; None for a cell that starts from the beginning.
        """
        points = self.start_points()
        return {
            cell.id: max(
                (point for point in points.get(cell.trajectory, ()) if point.can_resume(cell, dtype)),
                key=lambda point: point.progress,
                default=None,
            )
            for cell in cells
        }

    def beat(self, pack: Pack, tasks_done: int) -> None:
        """Write the heartbeat of this process, which computes a pack.

        Raises:
            StoreError: it cannot be written.
        """
        content = {
            "pack": pack.id,
            "cells": [cell.id for cell in pack.cells],
            "tasks_done": tasks_done,
            "tasks": pack.cells[0].tasks,
            "process": ProcessMark.current().to_json(),
            "time": time.time(),
        }
        with writing(self.running):
            write_json(self._heartbeat(pack.id), content)

    def heartbeats(self) -> Sequence[Heartbeat]:
        """Read the heartbeats of all unfinished packs, stale ones included. Damaged ones are reported and left out.

        Raises:
            StoreError: the folder cannot be read.
        """
        return read_records(self.running, _to_heartbeat)

    def _heartbeat(self, pack: str) -> Path:
        return self.running / f"{pack}.json"

    def _load(self, folder: Path, pack: Pack, notes: list[str]) -> PackState | None:
        """Read a pack's state in `folder`; None if there is none, or, with a note, if it cannot be used."""
        path = _path(folder, pack.id)
        state = self._read(path, notes)
        if state is not None and state.pack.id != pack.id:
            notes.append(self._quarantine(path, f"{path}: belongs to pack {state.pack.id}"))
            return None
        return state

    def _assemble(self, pack: Pack, planned: ResumePoints, notes: list[str]) -> PackState | None:
        """Make a pack's state from those of its cells elsewhere; None, with a note, if one of them cannot be used."""
        states: dict[str, PackState] = {}
        for name in dict.fromkeys(name for name, _ in planned):
            before = len(notes)
            state = self._read(self._root / name, notes)
            if state is None:
                if len(notes) == before:  # a worker of the pack that it belonged to has just finished that
                    notes.append(f"{self._root / name}: does not exist any more, not used")
                return None
            states[name] = state
        try:
            return assemble(pack, [(states[name], index) for name, index in planned])
        except StateError as error:
            notes.append(f"{error}; not used")
            return None

    def _read(self, path: Path, notes: list[str]) -> PackState | None:
        """Read a state; None if there is none. A damaged one is quarantined, which is a note."""
        try:
            return PackState.load(path)
        except MissingStateError:
            return None
        except InaccessibleStateError as error:
            raise StoreError(str(error)) from error
        except StateError as error:
            notes.append(self._quarantine(path, str(error)))
            return None

    def _quarantine(self, path: Path, reason: str) -> str:
        return f"{reason}; set aside as {quarantine(self._root, path)}, not used"

    def _save(self, state: PackState, folder: Path) -> None:
        path = _path(folder, state.pack.id)
        with writing(folder):
            kind = self._files.kind(path)
        if kind:
            raise SpecialFileError(f"{path}: is {kind}; only regular files are replaced, move it away")
        with suppress(StateError):  # missing or damaged: to be replaced
            load_header(path)
        with writing(folder):
            state.save(path)

    @staticmethod
    def _points_in(folder: Path) -> Iterator[dict[str, StartPoint]]:
        def read(pack: str) -> list[dict[str, StartPoint]]:
            try:
                return [start_points(_path(folder, pack))]
            except MissingStateError:  # finished since the folder was listed
                return []
            except StateError as error:
                _log.warning("%s; not used", error)
                return []

        return chain.from_iterable(prefetch(read, names_in(folder, STATE), READERS))


def _path(folder: Path, pack: str) -> Path:
    return folder / f"{pack}{STATE}"


def _to_heartbeat(pack: str, content: dict[str, Any]) -> Heartbeat:
    return Heartbeat(
        pack=pack,
        cells=tuple(map(str, content["cells"])),
        tasks_done=int(content["tasks_done"]),
        tasks=int(content["tasks"]),
        process=ProcessMark.from_json(content["process"]),
        time=timestamp(content["time"]),
    )
