"""What the workers of unfinished packs leave in the sweep directory: checkpoints and signs of life.

running/<pack>.state    the newest checkpoint: state and rows so far, committed by one rename
running/<pack>.json     a sign of life: who works on the pack and how far it is; for status, and against tidying up
states/<pack>.state     the state after a pack's last task, kept for longer sequences
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lop_sweep.errors import SpecialFileError, StateError, StoreError
from lop_sweep.pack import Pack
from lop_sweep.storage.filesystem import names_in, quarantine, read_records, reading, timestamp, write_json, writing
from lop_sweep.storage.pack_state import PackState, StartPoint, start_points
from lop_sweep.storage.process import ProcessMark
from lop_sweep.storage.serialization import load_header

STATE = ".state"
HEARTBEAT_TIMEOUT_SECONDS = 600.0
"""After so long without a sign of life, a worker on a machine that cannot be looked into is taken for dead."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Heartbeat:
    """What a worker last said about its pack."""

    pack: str
    cells: tuple[str, ...]
    tasks_done: int
    tasks: int
    process: ProcessMark
    time: float

    def alive(self) -> bool:
        """Whether the worker still runs, as far as can be told from here."""
        known = self.process.alive()
        return time.time() - self.time < HEARTBEAT_TIMEOUT_SECONDS if known is None else known

    def may_be_alive(self) -> bool:
        """Return whether the worker could still write its pack: unless it is known to be gone. Needs no clock."""
        return self.process.alive() is not False


class Checkpoints:
    """The unfinished packs of a sweep directory.

    Args:
        root: the sweep directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.running, self.states = root / "running", root / "states"

    def save(self, state: PackState) -> None:
        """Write a pack's checkpoint in place of the one before.

        Raises:
            SchemaVersionError: another version of lop-sweep wrote the one before.
            StoreError: it cannot be written.
        """
        _save(state, self.running)

    def keep(self, state: PackState) -> None:
        """Keep the state that a pack has after its last task.

        Raises:
            SchemaVersionError: another version of lop-sweep wrote the one that is there.
            StoreError: it cannot be written.
        """
        _save(state, self.states)

    def load(self, pack: Pack) -> tuple[PackState | None, str]:
        """A pack's checkpoint.

        Returns:
            The checkpoint, and nothing to say; or None, and what was wrong with the file that was there and is now set
            aside; or None, and nothing to say where there was none.

        Raises:
            SchemaVersionError: another version of lop-sweep wrote it; it stays where it is.
            StoreError: a damaged file cannot be set aside.
        """
        path = self.running / f"{pack.id}{STATE}"
        if not os.path.lexists(path):
            return None, ""
        try:
            state = PackState.load(path)
            if state.pack.id != pack.id:
                raise StateError(f"{path}: belongs to pack {state.pack.id}")
        except StateError as error:
            if isinstance(error.__cause__, FileNotFoundError):  # a twin has finished the pack just now
                return None, ""
            return None, self.quarantine(path, error)
        return state, ""

    def quarantine(self, path: Path, error: StateError) -> str:
        """Set a saved state aside that cannot be used; returns what there is to say about it.

        Raises:
            StoreError: it is not the content that is wrong with it, but that it cannot be read just now, or is not a
                regular file; or it cannot be moved.
        """
        if isinstance(error.__cause__, (OSError, SpecialFileError)):
            raise StoreError(str(error)) from error
        return f"{error}; set aside as {quarantine(self._root, path)}, not used"

    def remove(self, pack: str) -> None:
        """Forget the checkpoint and the sign of life of a pack that is finished.

        Raises:
            StoreError: they cannot be removed.
        """
        with writing(self.running):
            for ending in (STATE, ".json"):
                (self.running / f"{pack}{ending}").unlink(missing_ok=True)

    def discard_finished(self, done: Collection[str]) -> None:
        """Remove checkpoints and signs of life of packs whose cells are all finished, and of workers that are gone.

        Args:
            done: ids of finished cells.

        Raises:
            StoreError: one cannot be removed.
        """
        finished = set(done)
        for points in self._points_in(self.running):
            if {point.cell for point in points.values()} <= finished:
                self.remove(next(iter(points.values())).path.name.removesuffix(STATE))
        for sign in self.heartbeats():
            if finished >= set(sign.cells) or not sign.may_be_alive():
                with writing(self.running):
                    (self.running / f"{sign.pack}.json").unlink(missing_ok=True)

    def in_progress(self) -> list[str]:
        """Ids of the packs that have a checkpoint.

        Raises:
            StoreError: the folder cannot be read.
        """
        return names_in(self.running, STATE)

    def kept(self) -> list[str]:
        """Ids of the packs whose last state is kept.

        Raises:
            StoreError: the folder cannot be read.
        """
        return names_in(self.states, STATE)

    def kept_bytes(self) -> int:
        """What the kept states take on the disk.

        Raises:
            StoreError: the folder cannot be read.
        """
        total = 0
        with reading(self.states):
            for pack in self.kept():
                with suppress(FileNotFoundError):
                    total += (self.states / f"{pack}{STATE}").stat().st_size
        return total

    def so_far(self) -> list[PackState]:
        """The checkpoints of all unfinished packs that have rows, those that are furthest first.

        Those that cannot be read are left out and reported.

        Raises:
            SchemaVersionError: another version of lop-sweep wrote one of them.
            StoreError: the folder cannot be read.
        """
        states = []
        for pack in self.in_progress():
            try:
                state = PackState.load(self.running / f"{pack}{STATE}")
            except StateError as error:
                if not isinstance(error.__cause__, FileNotFoundError):  # else finished since the folder was listed
                    _log.warning("%s; not used", error)
                continue
            if state.tasks_done:
                states.append(state)
        return sorted(states, key=lambda state: -state.tasks_done)

    def start_points(self) -> dict[str, list[StartPoint]]:
        """Every place from which a sequence can go on, by trajectory; files that cannot be read are left out.

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

    def beat(self, pack: Pack, tasks_done: int) -> None:
        """Say that this process works on a pack and how far it is.

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
            write_json(self.running / f"{pack.id}.json", content)

    def heartbeats(self) -> Sequence[Heartbeat]:
        """What the workers of all unfinished packs last said, whether they still live or not.

        Raises:
            StoreError: the folder cannot be read. A damaged sign is left out and reported.
        """
        return read_records(self.running, _sign)

    @staticmethod
    def _points_in(folder: Path) -> Iterator[dict[str, StartPoint]]:
        for name in names_in(folder, STATE):
            try:
                yield start_points(folder / f"{name}{STATE}")
            except StateError as error:
                _log.warning("%s; not used", error)


def _save(state: PackState, folder: Path) -> None:
    path = folder / f"{state.pack.id}{STATE}"
    try:
        load_header(path)
    except StateError as error:  # there is none, or it is damaged: to be replaced
        if isinstance(error.__cause__, SpecialFileError):
            raise error.__cause__ from None
    with writing(folder):
        state.save(path)


def _sign(pack: str, content: dict[str, Any]) -> Heartbeat:
    return Heartbeat(
        pack=pack,
        cells=tuple(map(str, content["cells"])),
        tasks_done=int(content["tasks_done"]),
        tasks=int(content["tasks"]),
        process=ProcessMark.from_json(content["process"]),
        time=timestamp(content["time"]),
    )
