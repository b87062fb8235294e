"""How far a pack has come: its cells, the experiment's state and its rows so far, in one piece and in one file.

The same form serves for the checkpoint of an unfinished pack, for Tune's own checkpoints, and for the state that is
kept after a pack's last task, from which cells with longer sequences go on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lop_sweep.config import CellConfig
from lop_sweep.errors import StateError, single_line
from lop_sweep.metrics import LAYERED, METRICS
from lop_sweep.pack import Pack, expand
from lop_sweep.storage.filesystem import timestamp
from lop_sweep.storage.schema import NUMERICS, PackResult
from lop_sweep.storage.serialization import WRITER, load_header, load_state, save_state
from lop_sweep.version import __version__

_LISTS = ("trajectories", "cells", "diverged_at", "seconds", "task_streams")
_ARRAYS = ("network_streams", "fresh_ce")
_LAYERS = ("weights", "biases")
_ALIKE = ("version", "dtype", "tasks_done")

_STREAM_BYTES = 6_000
"""What both random streams of a cell take in a file, and its share of the structure around them."""


@dataclass(frozen=True)
class PackState:
    """A pack between two of its tasks, or between two of its fresh networks.

    Attributes:
        pack: the pack.
        experiment: from `Experiment.state_dict`.
        history: measure name to (tasks done, P), or (tasks done, P, depth) for the layered ones.
        numerics: how the tasks so far were computed: a value for each of `lop_sweep.storage.schema.NUMERICS`.
        written: when, in seconds since 1970.
    """

    pack: Pack
    experiment: Mapping[str, Any]
    history: Mapping[str, np.ndarray]
    numerics: Mapping[str, str]
    written: float = 0.0

    @property
    def tasks_done(self) -> int:
        """Tasks that each cell has behind it."""
        return int(self.experiment["tasks_done"])

    @property
    def progress(self) -> tuple[int, int]:
        """Tasks and fresh networks that each cell has behind it."""
        return self.tasks_done, int(np.shape(self.experiment["fresh_ce"])[1])

    def result(self) -> PackResult:
        """What it has to show so far."""
        cells = len(self.pack.cells)
        return PackResult(
            pack=self.pack.id,
            cells=self.pack.cells,
            history=self.history,
            fresh_ce=np.empty((cells, 0)),
            diverged_at=np.array(self.experiment["diverged_at"]),
            seconds=np.array(self.experiment["seconds"]),
            numerics={**dict.fromkeys(NUMERICS, "unknown"), **self.numerics},
            finished=False,
        )

    def save(self, path: Path) -> None:
        """Write to a file, atomically.

        Raises:
            OSError: it cannot be written.
        """
        fresh_done = self.progress[1]
        header = {
            "pack": self.pack.id,
            "dtype": self.experiment["dtype"],
            "tasks_done": self.tasks_done,
            "fresh_done": fresh_done,
            "cells": self.experiment["cells"],
            "trajectories": self.experiment["trajectories"],
            WRITER: __version__,
        }
        content = {
            "pack": self.pack.to_config(),
            "experiment": dict(self.experiment),
            "history": dict(self.history),
            "numerics": dict(self.numerics),
            "written": time.time(),
        }
        save_state(path, content, header)

    @classmethod
    def load(cls, path: Path) -> PackState:
        """Read from a file.

        Raises:
            StateError: it cannot be read, is not whole, or does not fit together.
            SchemaVersionError: another version of lop-sweep wrote it.
        """
        content = load_state(path)
        try:
            state = cls(
                pack=Pack(expand(content["pack"])),
                experiment=content["experiment"],
                history=content["history"],
                numerics=content["numerics"],
                written=timestamp(content["written"]),
            )
            consistent = state._is_consistent()
        except Exception as error:  # a sealed file with another content, from whatever program
            raise StateError(f"{path}: is not the state of a pack: {single_line(error)}") from error
        if not consistent:
            raise StateError(f"{path}: is not the state of a pack: its parts do not fit together")
        return state

    def _is_consistent(self) -> bool:
        """Whether the parts fit each other, as far as `result` and `progress` depend on it."""
        experiment, cells, done = self.experiment, self.pack.cells, self.experiment["tasks_done"]
        expected: dict[str, tuple[int, ...]] = {name: (done, len(cells)) for name in METRICS}
        expected |= {name: (done, len(cells), cells[0].depth) for name in LAYERED}
        shapes = {name: rows.shape for name, rows in self.history.items()}
        return (
            experiment["cells"] == [cell.id for cell in cells]
            and type(done) is int
            and 0 <= done <= cells[0].tasks
            and shapes == (expected if done else {})
            and all(rows.dtype == np.float64 for rows in self.history.values())
            and len(np.shape(experiment["fresh_ce"])) == 2
            and len(experiment["diverged_at"]) == len(experiment["seconds"]) == len(cells)
            and all(type(task) is int and 0 <= task <= done for task in experiment["diverged_at"])
            and all(type(seconds) is float and seconds >= 0 for seconds in experiment["seconds"])
            and all(type(value) is str for value in self.numerics.values())
        )


@dataclass(frozen=True)
class StartPoint:
    """One cell's place in a saved state, from which a sequence can go on.

    Attributes:
        path: the file.
        index: the cell's place in it.
        cell: its id.
        dtype: the precision it was trained in.
        tasks_done: how far it is.
        fresh_done: how many of its fresh networks are trained.
    """

    path: Path
    index: int
    cell: str
    dtype: str
    tasks_done: int
    fresh_done: int

    def can_resume(self, config: CellConfig, dtype: str) -> bool:
        """Whether `config`, which has the same trajectory, can go on from here."""
        if self.dtype != dtype or self.tasks_done > config.tasks:
            return False
        return self.cell == config.id or self.fresh_done == 0


def start_points(path: Path) -> dict[str, StartPoint]:
    """The start points in one file, by trajectory.

    Raises:
        StateError: its header cannot be read.
        SchemaVersionError: another version of lop-sweep wrote it.
    """
    header = load_header(path)
    try:
        common = (str(header["dtype"]), _count(header["tasks_done"]), _count(header["fresh_done"]))
        if not header["cells"]:
            raise ValueError("it names no cell")
        return {
            str(trajectory): StartPoint(path, index, str(cell), *common)
            for index, (trajectory, cell) in enumerate(zip(header["trajectories"], header["cells"], strict=True))
        }
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise StateError(f"{path}: is not the state of a pack: {single_line(error)}") from error


def _count(value: Any) -> int:
    count = int(value)
    if not 0 <= count < 2**31:
        raise ValueError("it counts tasks or networks that no sequence has")
    return count


def assemble(pack: Pack, parts: Sequence[tuple[PackState, int]]) -> PackState:
    """The state of a pack from those of its cells in other packs.

    Args:
        pack: the pack to make it for.
        parts: for each of its cells, a state and the cell's place in it; all equally far.

    Raises:
        StateError: they are not equally far, or not of one dtype.
    """
    for name in _ALIKE:
        if len({state.experiment[name] for state, _ in parts}) != 1:
            raise StateError(f"the states to start from differ in {name}")
    experiment: dict[str, Any] = {name: parts[0][0].experiment[name] for name in _ALIKE}
    for name in _LISTS:
        experiment[name] = [state.experiment[name][index] for state, index in parts]
    for name in _ARRAYS:
        experiment[name] = np.stack([state.experiment[name][index] for state, index in parts])
    for name in _LAYERS:
        layers = range(len(parts[0][0].experiment[name]))
        experiment[name] = [np.stack([state.experiment[name][k][index] for state, index in parts]) for k in layers]
    history = {
        name: np.stack([state.history[name][:, index] for state, index in parts], axis=1)
        for name in parts[0][0].history
    }
    numerics = dict(parts[0][0].numerics)
    for state, _ in parts[1:]:
        numerics = merge_numerics(numerics, state.numerics)
    return PackState(pack, experiment, history, numerics)


def merge_numerics(earlier: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """How a sequence was computed that was begun one way and goes on another: "node1 + node2" where they differ."""
    merged = {}
    for name, value in now.items():
        before = earlier.get(name, value)
        merged[name] = before if value in before.split(" + ") else f"{before} + {value}"
    return merged


def state_bytes(config: CellConfig, dtype: str) -> int:
    """About what one cell's state after its last task takes in a file, in bytes."""
    units = [config.input_dim, *[config.width] * config.depth, 1]
    parameters = sum((below + 1) * above for below, above in pairwise(units))
    rows = config.tasks * (4 + 2 * config.depth) * 8
    return parameters * np.dtype(dtype).itemsize + rows + _STREAM_BYTES
