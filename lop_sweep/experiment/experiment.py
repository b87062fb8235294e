"""The task sequence of a pack of cells as a state machine: task after task, then the fresh baseline.

    experiment = Experiment([CellConfig(seed=0), CellConfig(seed=1)])
    while experiment.tasks_done < experiment.tasks:
        row = experiment.run_task()
    fresh_ce = experiment.run_fresh_baseline()  # or network by network, with run_fresh_network()

`state_dict` captures everything between two of these calls. A run that is saved and loaded there continues bit for bit.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch

from lop_sweep.components import check
from lop_sweep.config import FIELDS, PACKABLE, CellConfig
from lop_sweep.errors import ConfigError, StateError, comma_list, safe_repr, single_line
from lop_sweep.experiment.backends import make_device
from lop_sweep.experiment.batch import CellBatch
from lop_sweep.metrics import TaskRow
from lop_sweep.pack import evenly
from lop_sweep.runtime import DTYPES

STATE_VERSION = 2

_BASELINE_ORDER = "the fresh baseline runs once, after the last task: its random streams continue those of the tasks"


class Experiment:
    """The sequences of one pack's cells, advanced together.

    A cell's numbers depend on its configuration and `dtype` alone, not on the other cells of the pack. On a CPU the
    cells run in batches whose arrays fit the cache. On a GPU all run as one batch, and rounding may depend on its size.

    Args:
        configs: the cells, or a single one; they may differ only in the fields that `PACKABLE` names.
        dtype: one of `DTYPES`.
        device: one of `lop_sweep.runtime.DEVICES`.
        batch: maximum number of cells that are computed as one batch; None for what suits the device.

    Attributes:
        configs: the cells, in the order of the leading axis of all results.
        tasks: length of the sequence.
        tasks_done: how many tasks have been run.
        fresh_ce: (P, k) final losses of the k fresh networks trained until now.

    Raises:
        ConfigError: there are no cells, they do not fit together, a metric, `dtype` or `device` is unknown, this
            machine does not have the device, or `batch` is less than 1.
    """

    def __init__(
        self,
        configs: CellConfig | Sequence[CellConfig],
        dtype: str = "float64",
        device: str = "cpu",
        batch: int | None = None,
    ) -> None:
        configs = (configs,) if isinstance(configs, CellConfig) else configs
        check_pack(configs)
        if dtype not in DTYPES:
            raise ConfigError(f"dtype = {dtype!r}: must be one of {comma_list(DTYPES)}")
        if batch is not None and (not isinstance(batch, int) or batch < 1):
            raise ConfigError(f"batch = {batch!r}: must be an integer of at least 1")
        self.configs = tuple(configs)
        self.tasks = configs[0].tasks
        self.tasks_done = 0
        self.fresh_ce = np.empty((len(configs), 0))
        self._dtype = np.dtype(dtype)
        self._device = make_device(device)
        self._batch_size = batch or self._device.batch_size(configs[0], dtype) or len(configs)
        self._batches = self._new_batches()

    @property
    def dtype(self) -> str:
        """Precision of the networks, one of `DTYPES`."""
        return self._dtype.name

    @property
    def device(self) -> str:
        """Description of the device, for the results."""
        return self._device.label

    @property
    def diverged_at(self) -> np.ndarray:
        """(P,) the task, from 1, at which each cell diverged; 0 for those that have not."""
        return np.concatenate([batch.diverged_at for batch in self._batches])

    @property
    def seconds(self) -> np.ndarray:
        """(P,) compute time of each cell, over all resumptions, in seconds."""
        return np.concatenate([batch.seconds for batch in self._batches])

    @property
    def fresh_remaining(self) -> int:
        """Number of fresh networks of each cell that have not been trained yet."""
        return self.configs[0].fresh_baseline - self.fresh_ce.shape[1]

    def run_task(self) -> TaskRow:
        """Train every cell on its next task and compute its metrics.

        A cell diverges at the first task where a loss, a weight or a metric is not finite. From that task on its row
        is NaN. Its tasks are still drawn, so that its fresh baseline is unaffected.

        Returns:
            Each metric, (P,) or (P, depth).

        Raises:
            StateError: the sequence is complete.
        """
        if self.tasks_done >= self.tasks:
            raise StateError(f"the sequence is complete after {self.tasks} tasks; there is no task left to run")
        self.tasks_done += 1
        rows = [batch.run_task(self.tasks_done) for batch in self._batches]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def run_fresh_network(self) -> np.ndarray:
        """Train the next fresh network of every cell on a task of its own.

        Returns:
            (P,) loss of each after its last update; NaN where it is not finite.

        Raises:
            StateError: the task sequence is not complete yet, or the baseline is complete.
        """
        if self.tasks_done < self.tasks or not self.fresh_remaining:
            raise StateError(_BASELINE_ORDER)
        number = self.fresh_ce.shape[1] + 1
        losses = np.concatenate([batch.run_fresh_network(number) for batch in self._batches])
        self.fresh_ce = np.concatenate([self.fresh_ce, losses[:, None]], axis=1)
        return losses

    def run_fresh_baseline(self) -> np.ndarray:
        """Train all fresh networks that remain, each on a task of its own.

        Returns:
            (P, fresh_baseline) loss of each after its last update; NaN where it is not finite.

        Raises:
            StateError: the task sequence is not complete yet, or all of them are trained.
        """
        if self.tasks_done < self.tasks or (self.fresh_ce.size and not self.fresh_remaining):
            raise StateError(_BASELINE_ORDER)
        while self.fresh_remaining:
            self.run_fresh_network()
        return self.fresh_ce

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the continuation depends on, as NumPy arrays and JSON values. Arrays are copies.

        The keys "norms", "optimizer", "mitigations" and "streams" are present only if there is such a state.
        """
        task_rngs = [rng for batch in self._batches for rng in batch.task_rngs]
        network_rngs = [rng for batch in self._batches for rng in batch.network_rngs]
        streams = [copy.deepcopy(state) for batch in self._batches for state in batch.stream_states]
        state: dict[str, Any] = {
            "version": STATE_VERSION,
            "dtype": self.dtype,
            "trajectories": [config.trajectory for config in self.configs],
            "cells": [config.id for config in self.configs],
            "tasks_done": self.tasks_done,
            "fresh_ce": self.fresh_ce.copy(),
            "diverged_at": self.diverged_at.tolist(),
            "seconds": self.seconds.tolist(),
            "task_streams": [rng.bit_generator.state for rng in task_rngs],
            "network_streams": np.stack([rng.state.numpy() for rng in network_rngs]),
        }
        parts = [batch.host_arrays() for batch in self._batches]
        for kind in parts[0]:
            state[kind] = [np.concatenate(arrays) for arrays in zip(*(part[kind] for part in parts), strict=True)]
        return state | ({"streams": streams} if any(streams) else {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict` of the same cells and dtype, in the same order.

        The state may also come from other cells of the same trajectories, such as shorter ones. Then it must have been
        taken before their fresh baseline began, and not after more tasks than this sequence has.

        Raises:
            StateError: the state is of another version, other cells or another dtype, or incomplete. Nothing has been
                changed.
        """
        here = {
            "version": STATE_VERSION,
            "dtype": self.dtype,
            "trajectories": [config.trajectory for config in self.configs],
        }
        if state.get("version") == STATE_VERSION:
            _check_keys(state.keys(), self.state_dict().keys())
        if np.size(state.get("fresh_ce", ())):
            here["cells"] = [config.id for config in self.configs]
        for key, value in here.items():
            if state.get(key) != value:
                raise StateError(f"the state's {key} is {state.get(key)!r}, this experiment's is {value!r}")
        try:
            tasks_done, fresh_ce = int(state["tasks_done"]), np.array(state["fresh_ce"]).reshape(len(self.configs), -1)
            batches = self._batches_from(state)
        except (KeyError, ValueError, IndexError, TypeError, AttributeError, RuntimeError) as error:
            raise StateError(f"the state is not that of an experiment: {single_line(error)}") from error
        if tasks_done > self.tasks:
            raise StateError(f"the state is after {tasks_done} tasks, this sequence has {self.tasks}")
        self.tasks_done, self.fresh_ce, self._batches = tasks_done, fresh_ce, batches

    def _new_batches(self) -> list[CellBatch]:
        return [CellBatch(cells, self._dtype, self._device) for cells in evenly(self.configs, self._batch_size)]

    def _batches_from(self, state: Mapping[str, Any]) -> list[CellBatch]:
        batches, start = self._new_batches(), 0
        for batch in batches:
            cells = slice(start, start + len(batch.configs))
            start = cells.stop
            for index, rng in enumerate(batch.task_rngs, cells.start):
                rng.bit_generator.state = state["task_streams"][index]
            for index, network_rng in enumerate(batch.network_rngs, cells.start):
                network_rng.state = torch.from_numpy(np.array(state["network_streams"][index]))
            if "streams" in state:
                batch.stream_states = copy.deepcopy(list(state["streams"][cells]))
            batch.diverged_at[:] = state["diverged_at"][cells]
            batch.seconds[:] = state["seconds"][cells]
            batch.set_arrays({kind: [array[cells] for array in state[kind]] for kind in batch.host_arrays()})
        return batches


def _check_keys(found: Set[str], expected: Set[str]) -> None:
    """Refuse a state of other components, which would be continued without their memory."""
    if lacking := expected - found:
        raise StateError(f"the state lacks {comma_list(sorted(lacking))}")
    if unused := found - expected:
        raise StateError(f"the state has {comma_list(sorted(unused))}, which no component of this experiment keeps")


def check_pack(configs: Sequence[CellConfig]) -> None:
    """Refuse cells that cannot run as one pack.

    Raises:
        ConfigError: there are none, they differ in a field that sets shapes or the length of the work, or a component
            or metric does not exist or does not fit the rest.
    """
    if not configs:
        raise ConfigError("a pack needs at least one cell; none was given")
    for config in configs:
        if not isinstance(config, CellConfig):
            raise ConfigError(f"{safe_repr(config)}: not a cell; give CellConfig(...), for example CellConfig(depth=2)")
    for field in FIELDS:
        values = {getattr(config, field) for config in configs}
        if field not in PACKABLE and len(values) > 1:
            raise ConfigError(
                f"{field} = {comma_list(sorted(values))} in one pack: "
                f"its cells may differ only in {comma_list(PACKABLE)}"
            )
    hyper = [name for name in PACKABLE if FIELDS[name].of]
    for config in {tuple(getattr(one, name) for name in hyper): one for one in configs}.values():
        check(config)
