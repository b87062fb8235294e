"""The task sequence of a pack of cells as a state machine: task after task, then the fresh baseline.

    experiment = Experiment([CellConfig(seed=0), CellConfig(seed=1)])
    while experiment.tasks_done < experiment.tasks:
        measures = experiment.run_task()
    fresh_ce = experiment.run_fresh_baseline()  # or network by network, with run_fresh_network()

`state_dict` captures everything between two of these calls; a run that is saved and loaded there continues bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from frozen import metrics
from frozen.device import make_device
from frozen.group import Group
from frozen.metrics import TaskMeasures
from lop_sweep.config import FIELDS, PACKABLE, CellConfig
from lop_sweep.errors import ConfigError, StateError, comma_list, single_line

DTYPES: tuple[str, ...] = ("float64", "float32")
"""Precisions the engine trains in, losses and gradients included. Tasks are drawn, and saturation, ranks and duplicates
computed, in float64 in both cases."""

STATE_VERSION = 2

_BASELINE_ORDER = "the fresh baseline runs once, after the last task: its streams continue those of the tasks"


class Experiment:
    """The sequences of one pack's cells, advanced together.

    A cell's numbers depend on its configuration and `dtype` alone, not on the other cells of the pack. On a CPU the
    cells run one after the other, each as a batch of one, which is also the fastest way there; on a GPU all run as one
    batch, and rounding may depend on its size.

    Args:
        configs: the cells; they may differ only in the fields that `PACKABLE` names.
        dtype: one of `DTYPES`.
        device: one of `lop_sweep.device.DEVICES`.

    Attributes:
        configs: the cells, in the order of the leading axis of all results.
        tasks: length of the sequence.
        tasks_done: how many tasks have been run.
        fresh_ce: (P, k) final losses, in nats, of the k fresh networks that have been trained so far.

    Raises:
        ConfigError: there are no cells, they do not fit together, `dtype` or `device` is unknown, or there is no such
            device here.
    """

    def __init__(self, configs: Sequence[CellConfig], dtype: str = "float64", device: str = "cpu") -> None:
        check_pack(configs)
        if dtype not in DTYPES:
            raise ConfigError(f"dtype = {dtype!r}: must be one of {comma_list(DTYPES)}")
        self.configs = tuple(configs)
        self.tasks = configs[0].tasks
        self.tasks_done = 0
        self.fresh_ce = np.empty((len(configs), 0))
        self._dtype = np.dtype(dtype)
        self._device = make_device(device)
        self._groups = self._first_groups()

    @property
    def dtype(self) -> str:
        """The precision that the networks are trained in, one of `DTYPES`."""
        return self._dtype.name

    @property
    def device(self) -> str:
        """What the numbers are computed on, for the results."""
        return self._device.label

    @property
    def diverged_at(self) -> np.ndarray:
        """(P,) the task, from 1, at which each cell diverged; 0 for those that have not."""
        return np.concatenate([group.diverged_at for group in self._groups])

    @property
    def seconds(self) -> np.ndarray:
        """(P,) time that each cell has taken so far, over all resumptions, in seconds."""
        return np.concatenate([group.seconds for group in self._groups])

    @property
    def fresh_remaining(self) -> int:
        """How many fresh networks of each cell have not been trained yet."""
        return self.configs[0].fresh_baseline - self.fresh_ce.shape[1]

    def run_task(self) -> TaskMeasures:
        """Train every cell on its next task and measure.

        A cell diverges at the first task where a loss, a weight or a measure is not finite. From that task on its row
        is NaN; its tasks are still drawn, so that its fresh baseline is unaffected.

        Raises:
            StateError: the sequence is complete.
        """
        if self.tasks_done >= self.tasks:
            raise StateError(f"the sequence is complete after {self.tasks} tasks; there is no task left to run")
        self.tasks_done += 1
        rows = [group.run_task(self.tasks_done) for group in self._groups]
        return TaskMeasures(**{name: np.concatenate([getattr(row, name) for row in rows]) for name in metrics.MEASURES})

    def run_fresh_network(self) -> np.ndarray:
        """Train the next fresh network of every cell on a task of its own.

        Returns:
            (P,) loss of each after its last update, in nats; NaN where that is not finite.

        Raises:
            StateError: the task sequence is not complete yet, or the baseline is complete.
        """
        if self.tasks_done < self.tasks or not self.fresh_remaining:
            raise StateError(_BASELINE_ORDER)
        losses = np.concatenate([group.run_fresh_network() for group in self._groups])
        self.fresh_ce = np.concatenate([self.fresh_ce, losses[:, None]], axis=1)
        return losses

    def run_fresh_baseline(self) -> np.ndarray:
        """Train all fresh networks that remain, each on a task of its own.

        Returns:
            (P, fresh_baseline) loss of each after its last update, in nats; NaN where that is not finite.

        Raises:
            StateError: the task sequence is not complete yet, or all of them are trained.
        """
        if self.tasks_done < self.tasks or (self.fresh_ce.size and not self.fresh_remaining):
            raise StateError(_BASELINE_ORDER)
        while self.fresh_remaining:
            self.run_fresh_network()
        return self.fresh_ce

    def state_dict(self) -> dict[str, Any]:
        """Everything that the continuation depends on, as NumPy arrays and JSON values. Arrays are copies."""
        parameters = [group.host_parameters() for group in self._groups]
        task_streams = [stream for group in self._groups for stream in group.task_streams]
        network_streams = [stream for group in self._groups for stream in group.network_streams]
        return {
            "version": STATE_VERSION,
            "dtype": self.dtype,
            "trajectories": [config.trajectory for config in self.configs],
            "cells": [config.id for config in self.configs],
            "tasks_done": self.tasks_done,
            "fresh_ce": self.fresh_ce.copy(),
            "diverged_at": self.diverged_at.tolist(),
            "seconds": self.seconds.tolist(),
            "task_streams": [stream.bit_generator.state for stream in task_streams],
            "network_streams": np.stack([stream.state.numpy() for stream in network_streams]),
            "weights": [np.concatenate(layer) for layer in zip(*(weights for weights, _ in parameters), strict=True)],
            "biases": [np.concatenate(layer) for layer in zip(*(biases for _, biases in parameters), strict=True)],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict` of the same cells and dtype, in the same order.

        The state may also come from cells that differ in `BESIDE_TRAJECTORY` only, shorter ones say, as long as it was
        taken before their fresh baseline began and is not past the end of this sequence.

        Raises:
            StateError: the state is of another version, other cells or another dtype, or incomplete; nothing has been
                changed.
        """
        here = {
            "version": STATE_VERSION,
            "dtype": self.dtype,
            "trajectories": [config.trajectory for config in self.configs],
        }
        lacking = self.state_dict().keys() - state.keys()
        if lacking and state.get("version") == STATE_VERSION:
            raise StateError(f"the state lacks {comma_list(sorted(lacking))}")
        if np.size(state.get("fresh_ce", ())):
            here["cells"] = [config.id for config in self.configs]
        for key, value in here.items():
            if state.get(key) != value:
                raise StateError(f"the state's {key} is {state.get(key)!r}, this experiment's is {value!r}")
        try:
            tasks_done, fresh_ce = int(state["tasks_done"]), np.array(state["fresh_ce"]).reshape(len(self.configs), -1)
            groups = self._groups_from(state)
        except (KeyError, ValueError, IndexError, TypeError, AttributeError, RuntimeError) as error:
            raise StateError(f"the state is not that of an experiment: {single_line(error)}") from error
        if tasks_done > self.tasks:
            raise StateError(f"the state is {tasks_done} tasks far, this sequence has {self.tasks}")
        self.tasks_done, self.fresh_ce, self._groups = tasks_done, fresh_ce, groups

    def _first_groups(self) -> list[Group]:
        size = self._device.cells_at_once or len(self.configs)
        starts = range(0, len(self.configs), size)
        return [Group(self.configs[start : start + size], self._dtype, self._device) for start in starts]

    def _groups_from(self, state: Mapping[str, Any]) -> list[Group]:
        groups, start = self._first_groups(), 0
        for group in groups:
            cells = slice(start, start + len(group.configs))
            start = cells.stop
            for place, stream in enumerate(group.task_streams, cells.start):
                stream.bit_generator.state = state["task_streams"][place]
            for place, network_stream in enumerate(group.network_streams, cells.start):
                network_stream.state = torch.from_numpy(np.array(state["network_streams"][place]))
            group.diverged_at[:] = state["diverged_at"][cells]
            group.seconds[:] = state["seconds"][cells]
            group.set_parameters(*([layer[cells] for layer in state[kind]] for kind in ("weights", "biases")))
        return groups


def check_pack(configs: Sequence[CellConfig]) -> None:
    """Refuse cells that cannot run as one pack.

    Raises:
        ConfigError: there are none, or they differ in a field that sets shapes or the length of the work.
    """
    if not configs:
        raise ConfigError("a pack needs at least one cell; none was given")
    for field in FIELDS:
        values = {getattr(config, field) for config in configs}
        if field not in PACKABLE and len(values) > 1:
            raise ConfigError(
                f"{field} = {comma_list(sorted(values))} in one pack: its cells may differ only in {comma_list(PACKABLE)}"
            )
