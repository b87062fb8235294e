"""The task sequence of a pack of cells as a state machine: task after task, then the fresh baseline.

    experiment = Experiment([CellConfig(seed=0), CellConfig(seed=1)])
    while experiment.tasks_done < experiment.tasks:
        measures = experiment.run_task()
    fresh_ce = experiment.run_fresh_baseline()  # or network by network, with run_fresh_network()

`state_dict` captures everything between two of these calls; a run that is saved and loaded there continues bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lop_sweep import engine, metrics
from lop_sweep.config import FIELDS, PACKABLE, CellConfig
from lop_sweep.errors import ConfigError, StateError, named, one_line
from lop_sweep.metrics import TaskMeasures
from lop_sweep.network import TorchStream, initial_weights
from lop_sweep.tasks import Task, draw_task

DTYPES: tuple[str, ...] = ("float64", "float32")
"""Precisions the engine trains in, losses and gradients included. Tasks are drawn, and saturation, ranks and duplicates
computed, in float64 in both cases."""

STATE_VERSION = 2

_BASELINE_ORDER = "the fresh baseline runs once, after the last task: its streams continue those of the tasks"


@dataclass
class _Cell:
    """One cell's state: its streams, its main network (pack axis of length 1), and how far it came."""

    config: CellConfig
    task_stream: np.random.Generator
    network_stream: TorchStream
    parameters: engine.Parameters
    diverged_at: int = 0
    seconds: float = 0.0


class Experiment:
    """The sequences of one pack's cells, advanced together.

    A cell's numbers depend on its configuration and `dtype` alone, not on the other cells of the pack: on a CPU the
    cells run one after the other, each as a pack of one, which is also the fastest way there.

    Args:
        configs: the cells; they may differ only in the fields that `PACKABLE` names.
        dtype: one of `DTYPES`.

    Attributes:
        configs: the cells, in the order of the leading axis of all results.
        tasks: length of the sequence.
        tasks_done: how many tasks have been run.
        fresh_ce: (P, k) final losses, in nats, of the k fresh networks that have been trained so far.

    Raises:
        ConfigError: there are no cells, they do not fit together, or `dtype` is unknown.
    """

    def __init__(self, configs: Sequence[CellConfig], dtype: str = "float64") -> None:
        check_pack(configs)
        if dtype not in DTYPES:
            raise ConfigError(f"dtype = {dtype!r}: must be one of {named(DTYPES)}")
        self.configs = tuple(configs)
        self.tasks = configs[0].tasks
        self.tasks_done = 0
        self.fresh_ce = np.empty((len(configs), 0))
        self._dtype = np.dtype(dtype)
        self._cells = [self._first_state(config) for config in configs]

    @property
    def dtype(self) -> str:
        """The precision that the networks are trained in, one of `DTYPES`."""
        return self._dtype.name

    @property
    def diverged_at(self) -> np.ndarray:
        """(P,) the task, from 1, at which each cell diverged; 0 for those that have not."""
        return np.array([cell.diverged_at for cell in self._cells])

    @property
    def seconds(self) -> np.ndarray:
        """(P,) time that each cell has taken so far, over all resumptions, in seconds."""
        return np.array([cell.seconds for cell in self._cells])

    @property
    def fresh_remaining(self) -> int:
        """How many fresh networks of each cell have not been trained yet."""
        return self.configs[0].fresh_baseline - self.fresh_ce.shape[1]

    def run_task(self) -> TaskMeasures:
        """Train every cell on its next task and measure.

        A cell diverges at the first task where a loss, a weight or a measure is not finite. From that task on its row
        is NaN and it is no longer trained; its tasks are still drawn, so that its fresh baseline is unaffected.

        Raises:
            StateError: the sequence is complete.
        """
        if self.tasks_done >= self.tasks:
            raise StateError(f"the sequence is complete after {self.tasks} tasks; there is no task left to run")
        self.tasks_done += 1
        rows = [self._timed(cell, self._run_cell_task) for cell in self._cells]
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
        losses = np.array([self._timed(cell, self._run_cell_fresh_network) for cell in self._cells])
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
        return {
            "version": STATE_VERSION,
            "dtype": self.dtype,
            "trajectories": [cell.config.trajectory for cell in self._cells],
            "cells": [cell.config.id for cell in self._cells],
            "tasks_done": self.tasks_done,
            "fresh_ce": self.fresh_ce.copy(),
            "diverged_at": [cell.diverged_at for cell in self._cells],
            "seconds": [cell.seconds for cell in self._cells],
            "task_streams": [cell.task_stream.bit_generator.state for cell in self._cells],
            "network_streams": np.stack([cell.network_stream.state.numpy() for cell in self._cells]),
            "weights": [
                np.concatenate(layer) for layer in zip(*(c.parameters.weights for c in self._cells), strict=True)
            ],
            "biases": [
                np.concatenate(layer) for layer in zip(*(c.parameters.biases for c in self._cells), strict=True)
            ],
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
            raise StateError(f"the state lacks {named(sorted(lacking))}")
        if np.size(state.get("fresh_ce", ())):
            here["cells"] = [config.id for config in self.configs]
        for key, value in here.items():
            if state.get(key) != value:
                raise StateError(f"the state's {key} is {state.get(key)!r}, this experiment's is {value!r}")
        try:
            tasks_done, fresh_ce = int(state["tasks_done"]), np.array(state["fresh_ce"]).reshape(len(self.configs), -1)
            cells = [self._cell_from(state, index, config) for index, config in enumerate(self.configs)]
        except (KeyError, ValueError, IndexError, TypeError, AttributeError, RuntimeError) as error:
            raise StateError(f"the state is not that of an experiment: {one_line(error)}") from error
        if tasks_done > self.tasks:
            raise StateError(f"the state is {tasks_done} tasks far, this sequence has {self.tasks}")
        self.tasks_done, self.fresh_ce, self._cells = tasks_done, fresh_ce, cells

    def _cell_from(self, state: Mapping[str, Any], index: int, config: CellConfig) -> _Cell:
        cell = self._first_state(config)
        cell.diverged_at = int(state["diverged_at"][index])
        cell.seconds = float(state["seconds"][index])
        cell.task_stream.bit_generator.state = state["task_streams"][index]
        cell.network_stream.state = torch.from_numpy(np.array(state["network_streams"][index]))
        cell.parameters = engine.Parameters(
            weights=[np.array(layer[index : index + 1]) for layer in state["weights"]],
            biases=[np.array(layer[index : index + 1]) for layer in state["biases"]],
        )
        return cell

    def _first_state(self, config: CellConfig) -> _Cell:
        stream = TorchStream(config.seed)
        return _Cell(config, np.random.default_rng(config.seed), stream, self._fresh_parameters(config, stream))

    def _fresh_parameters(self, config: CellConfig, stream: TorchStream) -> engine.Parameters:
        layers = initial_weights(config, stream)
        return engine.Parameters(
            weights=[weight[None].astype(self._dtype) for weight, _ in layers],
            biases=[bias[None].astype(self._dtype) for _, bias in layers],
        )

    @staticmethod
    def _timed(cell: _Cell, work: Any) -> Any:
        start = time.perf_counter()
        # Numbers that overflow are noticed and recorded below; NumPy need not warn of them.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            result = work(cell)
        cell.seconds += time.perf_counter() - start
        return result

    def _run_cell_task(self, cell: _Cell) -> TaskMeasures:
        task = draw_task(cell.config, cell.task_stream)
        if not cell.diverged_at:
            x, trace = self._train(cell.config, cell.parameters, task, cell.config.steps)
            measures = _measure(cell, x, trace)
            if measures is not None:
                return measures
            cell.diverged_at = self.tasks_done
        return TaskMeasures.undefined(1, cell.config.depth)

    def _run_cell_fresh_network(self, cell: _Cell) -> float:
        task = draw_task(cell.config, cell.task_stream)
        parameters = self._fresh_parameters(cell.config, cell.network_stream)
        x, _ = self._train(cell.config, parameters, task, cell.config.fresh_steps)
        loss = float(engine.cross_entropy(engine.forward(parameters, x).logits, self._labels(task))[0])
        return loss if np.isfinite(loss) else np.nan

    def _train(
        self, config: CellConfig, parameters: engine.Parameters, task: Task, steps: int
    ) -> tuple[np.ndarray, engine.Trace]:
        x = task.points[None].astype(self._dtype)
        lr = np.full((1, 1, 1), config.lr, dtype=self._dtype)
        return x, engine.train(parameters, x, self._labels(task), lr, steps)

    def _labels(self, task: Task) -> np.ndarray:
        return task.labels[None].astype(self._dtype)


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
                f"{field} = {named(sorted(values))} in one pack: its cells may differ only in {named(PACKABLE)}"
            )


def _measure(cell: _Cell, x: np.ndarray, trace: engine.Trace) -> TaskMeasures | None:
    """The row of a task that `cell` was just trained on, or None where something is not finite."""
    activity = engine.forward(cell.parameters, x)
    if not _all_finite(trace.losses, trace.grad_norm, *cell.parameters.weights, *cell.parameters.biases, *activity.pre):
        return None
    threshold = np.array([cell.config.corr_thresh])
    row = TaskMeasures(
        min_ce=np.min(trace.losses, axis=0).astype(np.float64),
        final_ce=trace.losses[-1].astype(np.float64),
        saturation=metrics.saturation(activity.pre),
        grad_norm=trace.grad_norm.astype(np.float64),
        effective_rank=np.stack([metrics.effective_rank(z) for z in activity.pre], axis=-1),
        duplicate_fraction=np.stack([metrics.duplicate_fraction(a, threshold) for a in activity.post], axis=-1),
    )
    return row if _all_finite(*(getattr(row, name) for name in metrics.MEASURES)) else None


def _all_finite(*arrays: np.ndarray) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays)
