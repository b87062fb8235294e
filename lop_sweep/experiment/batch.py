"""Cells that a device computes at once: their random streams, their networks, and one task's training and metrics."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components import Components, Draws, Purpose, Task, draw_tasks, random_stream
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.experiment.backends import Device
from lop_sweep.experiment.engine import Engine, ForwardPass, Parameters, TaskArrays, TrainingState, TrainingTrace
from lop_sweep.experiment.minibatches import minibatch_order
from lop_sweep.experiment.network import TorchRng, control_rngs, draw_networks
from lop_sweep.experiment.observing import in_float64, observe_end, observe_start
from lop_sweep.metrics import (
    METRICS,
    Control,
    Observation,
    TaskRow,
    held_out_points,
    measured,
    needed,
    undefined_metrics,
)

_Result = TypeVar("_Result")


class CellBatch:
    """k cells of one pack that are trained as one batch.

    Args:
        configs: the cells. They share their components.
        dtype: precision of the networks.
        device: where they are trained.

    Attributes:
        configs: the cells.
        task_rngs: the random stream of each cell's tasks.
        network_rngs: the random stream of each cell's initial weights.
        stream_states: the state of each cell's task stream.
        training: parameters and optimizer of the main networks, on the device, with a leading axis of length k.
        diverged_at: (k,) the task, from 1, at which each cell diverged; 0 for those that have not.
        seconds: (k,) compute time of each cell. The batch's time is divided evenly.
    """

    def __init__(self, configs: Sequence[CellConfig], dtype: np.dtype, device: Device) -> None:
        self.configs = tuple(configs)
        self._dtype, self._device = dtype, device
        components = self._components = Components.of(configs[0])
        self._stream = components.stream
        self._metrics, self._needs = measured(configs[0]), needed(configs[0])
        self._engine = Engine.of(components, configs[0], records_accuracy="accuracies" in self._needs)
        self._has_held_out = held_out_points(configs[0]) > 0
        self.task_rngs = [np.random.default_rng(config.seed) for config in configs]
        self.network_rngs = [TorchRng(config.seed) for config in configs]
        cells = zip(configs, self.task_rngs, strict=True)
        self.stream_states = [self._stream.init(config, rng) for config, rng in cells]
        self._hyper, self._threshold = self._packable_fields()
        self.training = self._new_networks(self.network_rngs)
        # Drawn again wherever a sequence resumes, so it is no part of the state.
        self._initial = in_float64(self.training.parameters.arrays()) if "initial" in self._needs else None
        self.diverged_at = np.zeros(len(configs), dtype=int)
        self.seconds = np.zeros(len(configs))

    def run_task(self, number: int) -> TaskRow:
        """Train every cell on the sequence's `number`th task and compute its metrics, NaN for diverged cells."""
        return self._timed(lambda: self._run_task(number))

    def run_fresh_network(self, number: int) -> np.ndarray:
        """Train each cell's `number`th fresh network, from 1.

        Returns:
            (k,) loss after the last update; NaN where it is not finite.
        """
        return self._timed(lambda: self._run_fresh_network(number))

    def host_arrays(self) -> dict[str, list[np.ndarray]]:
        """Return the arrays of the main networks, by kind. They may share the networks' memory.

        The kinds "norms", "optimizer" and "mitigations" are left out if there are no such arrays.
        """
        training, parameters = self.training, self.training.parameters
        arrays = {
            "weights": parameters.weights,
            "biases": parameters.biases,
            "norms": parameters.norm_arrays(),
            "optimizer": training.memory_arrays(),
            "mitigations": training.mitigation_arrays(),
        }
        return {kind: [self._device.take(array) for array in content] for kind, content in arrays.items() if content}

    def set_arrays(self, arrays: Mapping[str, Sequence[np.ndarray]]) -> None:
        """Replace the main networks by those that `host_arrays` returned.

        Raises:
            KeyError: a kind of arrays is missing.
            ValueError: there is another number of arrays, or one has another shape.
        """
        wanted = self.host_arrays()
        given = [array for kind in wanted for array in arrays[kind]]
        for own, array in zip((array for found in wanted.values() for array in found), given, strict=True):
            if own.shape != np.shape(array):
                raise ValueError(f"an array has the shape {np.shape(array)}, expected is {own.shape}")
        values = iter([self._device.put(np.array(array)) for array in given])
        self.training = self.training.copy(lambda array: next(values))

    def _timed(self, work: Callable[[], _Result]) -> _Result:
        start = time.perf_counter()
        # Overflow is detected and recorded as divergence, so NumPy need not warn of it.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            result = work()
        self.seconds += (time.perf_counter() - start) / len(self.configs)
        return result

    def _run_task(self, number: int) -> TaskRow:
        tasks = self._draw_tasks()
        remaining = np.flatnonzero(self.diverged_at == 0)
        if not remaining.size:
            return undefined_metrics((len(self.configs),), self.configs[0])
        if remaining.size == len(self.configs) or not self._device.drops_diverged:
            return self._train(tasks, number)
        return self._train_some(remaining, tasks, number)

    def _train_some(self, cells: np.ndarray, tasks: Sequence[Task], number: int) -> TaskRow:
        """Train the cells with these indices. The others' networks stay as they are, and their rows are NaN."""
        part = self._part(cells)
        row = undefined_metrics((len(self.configs),), self.configs[0])
        for name, values in part._train([tasks[cell] for cell in cells], number).items():
            row[name][cells] = values
        for own, trained in zip(self.training.arrays(), part.training.arrays(), strict=True):
            own[cells] = trained
        self.diverged_at[cells] = part.diverged_at
        return row

    def _part(self, cells: np.ndarray) -> CellBatch:
        """Return a batch of the cells with these indices: copies of their networks, with the same random streams."""
        part = copy.copy(self)
        part.configs = tuple(self.configs[cell] for cell in cells)
        part.task_rngs = [self.task_rngs[cell] for cell in cells]
        part.network_rngs = [self.network_rngs[cell] for cell in cells]
        part.stream_states = [self.stream_states[cell] for cell in cells]
        part.training = self.training.copy(lambda array: array[cells])
        part._initial = None if self._initial is None else [array[cells] for array in self._initial]
        part.diverged_at = self.diverged_at[cells]
        part._hyper, part._threshold = part._packable_fields()
        return part

    def _train(self, tasks: Sequence[Task], number: int) -> TaskRow:
        steps = self.configs[0].steps
        arrays = self._put_tasks(tasks, steps, number)
        if self.configs[0].reset_optimizer:
            self.training.memory[:] = self._engine.new_memory(self.training.parameters)
        observed = observe_start(self._engine, self.training.parameters, arrays, self._needs)
        trace = self._device.train(self._engine, self.training, arrays, steps)
        passed = self._engine.forward(self.training.parameters, arrays.x, keep_pre=True)
        observed |= {"accuracies": trace.accuracies, "initial": self._initial}
        observed |= {"control": self._run_control(arrays, number)}
        row = self._compute_metrics(arrays, trace, passed, self._put_held_out(tasks, number), observed)
        self._engine.after_task(self.training, arrays, passed, number)
        every = [values.reshape(len(self.configs), -1) for name, values in row.items() if not METRICS[name].optional]
        finite = np.all([np.isfinite(values).all(axis=1) for values in every], axis=0)
        self.diverged_at[~finite & (self.diverged_at == 0)] = number
        for values in row.values():
            values[self.diverged_at > 0] = np.nan
        return row

    def _run_fresh_network(self, number: int) -> np.ndarray:
        tasks = self._draw_tasks()
        training = self._new_networks(self.network_rngs)
        steps = self.configs[0].fresh_steps
        arrays = self._put_tasks(tasks, steps, number, fresh=True)
        self._device.train(self._engine, training, arrays, steps)
        logits = self._engine.forward(training.parameters, arrays.x).logits
        losses = self._device.take(self._engine.loss.value(logits, arrays.y)).astype(np.float64)
        return np.where(np.isfinite(losses), losses, np.nan)

    def _run_control(self, arrays: TaskArrays, number: int) -> Control | None:
        """Train fresh networks on the sequence's `number`th task as the main ones were; None if it has no control.

        Their weights, and what mitigations draw, come from a stream of their own for each task.
        """
        config = self.configs[0]
        if not config.control_every or number % config.control_every:
            return None
        network_rngs, generators = zip(*(control_rngs(config, number) for config in self.configs), strict=True)
        training = self._new_networks(network_rngs)
        draws = None if arrays.draws is None else Draws(generators, self._components.init, self._put)
        trace = self._device.train(self._engine, training, replace(arrays, draws=draws), config.steps)
        logits = self._engine.forward(training.parameters, arrays.x).logits
        return Control(trace.losses, self._engine.loss.value(logits, arrays.y))

    def _compute_metrics(
        self,
        arrays: TaskArrays,
        trace: TrainingTrace,
        passed: ForwardPass,
        held_out: TaskArrays | None,
        observed: Mapping[str, Any],
    ) -> TaskRow:
        """Return the row of the task that was just trained on, all NaN for cells where something is not finite."""
        parameters = self.training.parameters
        end_loss = self._engine.loss.value(passed.logits, arrays.y)
        xp = array_namespace(arrays.x)
        pre, post = xp.stack(passed.pre, axis=1), xp.stack(passed.inputs[1:], axis=1)
        on_device = xp.isfinite(trace.grad_norm) & xp.all(xp.isfinite(trace.losses), axis=0)
        for array in (*parameters.arrays(), pre):
            on_device = on_device & xp.all(xp.isfinite(array), axis=tuple(range(1, array.ndim)))
        finite = self._device.take(on_device)
        if not finite.all():  # metrics are defined for finite numbers only
            sane = on_device[:, None, None, None]
            pre, post = (xp.where(sane, array, xp.zeros_like(array)) for array in (pre, post))
        task = Observation(
            trace.losses, end_loss, trace.grad_norm, pre, post, passed.logits, self._threshold, **observed
        )
        task = replace(task, **observe_end(self._engine, parameters, pre, post, self._needs))
        if held_out is not None:
            logits, loss = self._engine.forward(parameters, held_out.x).logits, self._engine.loss
            value = loss.value(logits, held_out.y)
            accuracy = xp.where(xp.isfinite(value), loss.accuracy(logits, held_out.y), xp.nan)
            task = replace(task, test_loss=value, test_accuracy=accuracy)
        row = {
            name: np.array(self._device.take(METRICS[name].compute(task)), dtype=np.float64) for name in self._metrics
        }
        for name, values in row.items():
            if METRICS[name].optional:
                values[~np.isfinite(values)] = np.nan
        for values in row.values():
            values[~finite] = np.nan
        return row

    def _draw_tasks(self) -> list[Task]:
        return draw_tasks(self._stream, self.configs, self.stream_states, self.task_rngs)

    def _put_held_out(self, tasks: Sequence[Task], number: int) -> TaskArrays | None:
        """Draw the held-out points of the sequence's `number`th task; None if no metric needs any.

        They come from a stream of their own for each task, so they disturb no other and need not be resumed.
        """
        if not self._has_held_out:
            return None
        cells = zip(self.configs, tasks, strict=True)
        held_out = [
            self._stream.held_out(config, task, random_stream(config.seed, Purpose.HELD_OUT, number))
            for config, task in cells
        ]
        return self._put_tasks(held_out)

    def _put_tasks(self, tasks: Sequence[Task], steps: int = 0, number: int = 0, fresh: bool = False) -> TaskArrays:
        """Return tasks as a batch: the points alone, or all that `steps` updates on the `number`th task need."""
        x, y = (self._put(np.stack(arrays)) for arrays in zip(*((t.points, t.labels) for t in tasks), strict=True))
        if not steps:
            return TaskArrays(x, y, {})
        order = None
        if self.configs[0].batch_size:
            each = [minibatch_order(config, len(tasks[0].points), steps, number, fresh) for config in self.configs]
            order = self._device.put(np.stack(each))
        draws = None
        if self._engine.mitigations:
            streams = [random_stream(config.seed, Purpose.MITIGATION, number, fresh) for config in self.configs]
            draws = Draws(streams, self._components.init, self._put, self._components.activation.gain)
        return TaskArrays(x, y, self._hyper, order, draws)

    def _packable_fields(self) -> tuple[dict[str, Array], Array]:
        """Return the hyperparameters in which cells may differ, (k, 1, 1) each, and the threshold (k, 1) of metrics."""

        def column(name: str) -> np.ndarray:
            return np.array([[getattr(config, name)] for config in self.configs])

        names = [name for name in self._components.hyper() if FIELDS[name].packable]
        with np.errstate(over="ignore"):  # in float32; such cells diverge
            hyper = {name: self._put(column(name)[:, None]) for name in names}
        return hyper, self._device.put(column("corr_thresh"))

    def _put(self, array: np.ndarray) -> Array:
        return self._device.put(array.astype(self._dtype))

    def _new_networks(self, rngs: Sequence[TorchRng]) -> TrainingState:
        weights, biases = zip(*draw_networks(self.configs[0], rngs), strict=True)
        parameters = Parameters([self._put(array) for array in weights], [self._put(array) for array in biases])
        return self._engine.init(parameters)
