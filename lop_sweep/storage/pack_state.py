"""The state of a pack between two tasks, in one file: its cells, the experiment's state and the rows of its tasks.

The same form serves for the checkpoint of an unfinished pack, for Tune's own checkpoints, and for the state that is
kept after a pack's last task, from which longer sequences resume. `docs/resuming.md` has the whole picture.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from lop_sweep.components import component_bytes
from lop_sweep.config import FIELDS, PACKABLE, CellConfig
from lop_sweep.errors import SchemaVersionError, StateError, single_line
from lop_sweep.metrics import METRICS, measured, undefined_metrics
from lop_sweep.pack import Pack, expand
from lop_sweep.storage.records import timestamp
from lop_sweep.storage.schema import NUMERICS, PackResult, refuse_newer
from lop_sweep.storage.serialization import WRITER, load_header, load_state, save_state
from lop_sweep.version import __version__

_ALIKE = ("version", "dtype", "tasks_done")
"""Entries of an experiment's state in which the cells of a pack agree."""

_STREAM_BYTES = 6_000
"""File size of both random streams of a cell, with its share of the structure around them."""


@dataclass(frozen=True)
class PackState:
    """A pack between two of its tasks, or between two of its fresh networks.

    Attributes:
        pack: the pack.
        experiment: from `Experiment.state_dict`.
        history: metric name to (tasks done, P), or (tasks done, P, depth) for metrics per layer; empty before the first
            task.
        numerics: how the tasks were computed: a value for each of `lop_sweep.storage.schema.NUMERICS`.
        written: when it was written, in seconds since 1970.
    """

    pack: Pack
    experiment: Mapping[str, Any]
    history: Mapping[str, np.ndarray]
    numerics: Mapping[str, str]
    written: float = 0.0

    @property
    def tasks_done(self) -> int:
        """Number of tasks that each cell has finished."""
        return int(self.experiment["tasks_done"])

    @property
    def progress(self) -> tuple[int, int]:
        """Numbers of tasks and of fresh networks that each cell has finished."""
        return self.tasks_done, int(np.shape(self.experiment["fresh_ce"])[1])

    def result(self) -> PackResult:
        """Return the rows of the tasks done, as those of an unfinished pack."""
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
        """Write the state to a file, atomically.

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
        """Read a state from a file. Rows of a metric that was not measured are NaN.

        Raises:
            MissingStateError: there is no such file.
            InaccessibleStateError: the file cannot be read now, or is not a regular file.
            StateError: the file is damaged, or its parts do not fit together.
            SchemaVersionError: another version of lop-sweep wrote it.
        """
        content = load_state(path)
        try:
            pack, history, numerics = content["pack"], content["history"], content["numerics"]
            cells = pack.get("cells", [])
            names = dict.fromkeys([*pack, *(name for cell in cells for name in cell), *history])
            refuse_newer(path, names.keys() - {"cells"}, numerics.get(WRITER))
            state = cls(
                pack=Pack(expand(pack)),
                experiment=content["experiment"],
                history=history,
                numerics=numerics,
                written=timestamp(content["written"]),
            )
            consistent = state._is_consistent()
            if consistent and state.tasks_done:
                state = replace(state, history={**state._unmeasured(), **history})
        except SchemaVersionError:
            raise
        except Exception as error:  # a file with a checksum that fits, and any content
            raise StateError(f"{path}: is not the state of a pack: {single_line(error)}") from error
        if not consistent:
            raise StateError(f"{path}: is not the state of a pack: its parts do not fit together")
        return state

    def _unmeasured(self) -> dict[str, np.ndarray]:
        """Return the rows of the tasks done, all NaN; the state must be consistent."""
        return undefined_metrics((self.tasks_done, len(self.pack.cells)), self.pack.cells[0])

    def _is_consistent(self) -> bool:
        """Return whether the parts fit each other, in everything that `result` and `progress` depend on."""
        experiment, cells, done = self.experiment, self.pack.cells, self.experiment["tasks_done"]
        scalar, layered = (done, len(cells)), (done, len(cells), cells[0].depth)
        expected = {name: layered if METRICS[name].per_layer else scalar for name in measured(cells[0])}
        shapes = {name: rows.shape for name, rows in self.history.items()}
        return (
            experiment["cells"] == [cell.id for cell in cells]
            and type(done) is int
            and 0 <= done <= cells[0].tasks
            and shapes.items() <= expected.items()
            and bool(shapes) == bool(done)
            and len(experiment["weights"]) > cells[0].depth
            and all(rows.dtype == np.float64 for rows in self.history.values())
            and len(np.shape(experiment["fresh_ce"])) == 2
            and len(experiment["diverged_at"]) == len(experiment["seconds"]) == len(cells)
            and all(type(task) is int and 0 <= task <= done for task in experiment["diverged_at"])
            and all(type(seconds) is float and seconds >= 0 for seconds in experiment["seconds"])
            and all(type(value) is str for value in self.numerics.values())
        )


@dataclass(frozen=True)
class StartPoint:
    """A cell's place in a saved state, from which its sequence can resume.

    Attributes:
        path: the file.
        index: the cell's place in it.
        cell: its id.
        dtype: the precision that it was trained in.
        tasks_done: number of its tasks that are finished.
        fresh_done: number of its fresh networks that are finished.
    """

    path: Path
    index: int
    cell: str
    dtype: str
    tasks_done: int
    fresh_done: int

    @property
    def progress(self) -> tuple[int, int]:
        """Numbers of tasks and of fresh networks that are finished, as `PackState.progress`."""
        return self.tasks_done, self.fresh_done

    def can_resume(self, config: CellConfig, dtype: str) -> bool:
        """Return whether `config`, which has the same trajectory, can resume from here.

        Another cell of the trajectory can only before its fresh baseline: that continues the random streams of the
        tasks, so it depends on their number.
        """
        if self.dtype != dtype or self.tasks_done > config.tasks:
            return False
        return self.cell == config.id or self.fresh_done == 0


def start_points(path: Path) -> dict[str, StartPoint]:
    """Read the start points in one file, by trajectory.

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
        raise ValueError("its number of tasks or networks is out of range")
    return count


def assemble(pack: Pack, places: Sequence[tuple[PackState, int]]) -> PackState:
    """Make the state of a pack from those of its cells in other packs.

    Args:
        pack: the pack.
        places: for each of its cells, a state and the cell's place in it. All have the same number of tasks.

    Raises:
        StateError: they differ in the number of tasks, the dtype, the version or the components, or a place is not in
            its state.
    """
    if any(index >= len(state.pack.cells) for state, index in places):
        raise StateError("the states to resume from have other cells than their headers say")
    first = places[0][0]
    if any(state.experiment.keys() != first.experiment.keys() for state, _ in places):
        raise StateError("the states to resume from are of different components")
    for name in _ALIKE:
        if len({state.experiment[name] for state, _ in places}) != 1:
            raise StateError(f"the states to resume from differ in {name}")
    experiment = {
        name: value if name in _ALIKE else _join([(state.experiment[name], index) for state, index in places])
        for name, value in first.experiment.items()
    }
    history = {
        name: np.stack([state.history[name][:, index] for state, index in places], axis=1) for name in first.history
    }
    numerics = dict(first.numerics)
    for state, _ in places[1:]:
        numerics = merge_numerics(numerics, state.numerics)
    return PackState(pack, experiment, history, numerics)


def _join(places: Sequence[tuple[Any, int]]) -> Any:
    """Join one entry of several experiments' states.

    Args:
        places: for each cell, the entry and the cell's place in it. The entry is an array with a leading axis of cells,
            a list of such arrays (one per layer), or a list of other values (one per cell).
    """
    entry = places[0][0]
    if isinstance(entry, np.ndarray):
        return np.stack([array[index] for array, index in places])
    if entry and isinstance(entry[0], np.ndarray):
        return [np.stack([arrays[k][index] for arrays, index in places]) for k in range(len(entry))]
    return [values[index] for values, index in places]


def merge_numerics(earlier: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return how a resumed sequence was computed: "node1 + node2" where the earlier and the later part differ."""
    merged = {}
    for name, value in now.items():
        before = earlier.get(name, value)
        merged[name] = before if value in before.split(" + ") else f"{before} + {value}"
    return merged


def sizes_of_states(cells: Iterable[CellConfig], dtype: str) -> Iterator[int]:
    """Yield `state_bytes` of each cell, computed once for all cells that could be in one pack."""
    shape = attrgetter(*(field for field in FIELDS if field not in PACKABLE))
    known: dict[Any, int] = {}
    for cell in cells:
        if (key := shape(cell)) not in known:
            known[key] = state_bytes(cell, dtype)
        yield known[key]


def state_bytes(config: CellConfig, dtype: str) -> int:
    """Return about how much of a file one cell's state after its last task takes, in bytes."""
    values = sum(config.depth if METRICS[name].per_layer else 1 for name in measured(config))
    rows = config.tasks * values * 8
    return component_bytes(config, dtype) + rows + _STREAM_BYTES
