"""Cells that a device computes at once: their random streams, their networks, and one task's training and metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.config import CellConfig
from lop_sweep.experiment.backends import Device
from lop_sweep.experiment.components import Components
from lop_sweep.experiment.engine import Engine, Parameters, TaskArrays, TrainingState, TrainingTrace
from lop_sweep.experiment.network import TorchRng, initial_weights
from lop_sweep.experiment.streams import Task, held_out_rng
from lop_sweep.metrics import METRICS, Observation, TaskRow, held_out_points, measured, undefined_metrics

_Result = TypeVar("_Result")


class CellBatch:
    """k cells of one pack that are trained as one batch. On a CPU k is 1.

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
        components = Components.of(configs[0])
        self._stream = components.stream
        self._engine = Engine.of(components)
        self._metrics = measured(configs[0])
        self._has_held_out = held_out_points(configs[0]) > 0
        self.task_rngs = [np.random.default_rng(config.seed) for config in configs]
        self.network_rngs = [TorchRng(config.seed) for config in configs]
        cells = zip(configs, self.task_rngs, strict=True)
        self.stream_states = [self._stream.init(config, rng) for config, rng in cells]
        self.training = self._new_networks()
        self.diverged_at = np.zeros(len(configs), dtype=int)
        self.seconds = np.zeros(len(configs))

    def run_task(self, number: int) -> TaskRow:
        """Train every cell on the sequence's `number`th task and compute its metrics, NaN for diverged cells."""
        return self._timed(lambda: self._run_task(number))

    def run_fresh_network(self) -> np.ndarray:
        """Train each cell's next fresh network.

        Returns:
            (k,) loss after the last update, in nats; NaN where it is not finite.
        """
        return self._timed(self._run_fresh_network)

    def host_arrays(self) -> dict[str, list[np.ndarray]]:
        """Return weights, biases and optimizer memory of the main networks. They may share the networks' memory.

        The key "optimizer" is left out if the optimizer has no memory.
        """
        parameters, memory = self.training.parameters, self.training.memory_arrays()
        arrays = {"weights": parameters.weights, "biases": parameters.biases, "optimizer": memory}
        return {kind: [self._device.take(array) for array in content] for kind, content in arrays.items() if content}

    def set_arrays(self, arrays: Mapping[str, Sequence[np.ndarray]]) -> None:
        """Replace the main networks by those that `host_arrays` returned.

        Raises:
            KeyError: a kind of arrays is missing.
            ValueError: the optimizer's memory has another number of arrays.
        """
        layers = ([self._device.put(np.array(array)) for array in arrays[kind]] for kind in ("weights", "biases"))
        training = self._engine.init(Parameters(*layers))
        slots = [(state, name) for layer in training.memory for state in layer for name in sorted(state)]
        if slots:
            for (state, name), array in zip(slots, arrays["optimizer"], strict=True):
                state[name] = self._device.put(np.array(array))
        self.training = training

    def _timed(self, work: Callable[[], _Result]) -> _Result:
        start = time.perf_counter()
        # Overflow is detected and recorded as divergence, so NumPy need not warn of it.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            result = work()
        self.seconds += (time.perf_counter() - start) / len(self.configs)
        return result

    def _run_task(self, number: int) -> TaskRow:
        tasks = self._draw_tasks()
        if self.diverged_at.all():
            return undefined_metrics((len(self.configs),), self.configs[0])
        arrays = self._put_tasks(tasks)
        trace = self._device.train(self._engine, self.training, arrays, self.configs[0].steps)
        row = self._compute_metrics(arrays, trace, self._put_held_out(tasks, number))
        every = [values.reshape(len(self.configs), -1) for name, values in row.items() if not METRICS[name].optional]
        finite = np.all([np.isfinite(values).all(axis=1) for values in every], axis=0)
        self.diverged_at[~finite & (self.diverged_at == 0)] = number
        for values in row.values():
            values[self.diverged_at > 0] = np.nan
        return row

    def _run_fresh_network(self) -> np.ndarray:
        tasks = self._draw_tasks()
        training = self._new_networks()
        arrays = self._put_tasks(tasks)
        self._device.train(self._engine, training, arrays, self.configs[0].fresh_steps)
        logits = self._engine.forward(training.parameters, arrays.x).logits
        losses = self._device.take(self._engine.loss.value(logits, arrays.y)).astype(np.float64)
        return np.where(np.isfinite(losses), losses, np.nan)

    def _compute_metrics(self, arrays: TaskArrays, trace: TrainingTrace, held_out: TaskArrays | None) -> TaskRow:
        """Return the row of the task that was just trained on, all NaN for cells where something is not finite."""
        parameters = self.training.parameters
        passed = self._engine.forward(parameters, arrays.x, keep_pre=True)
        end_loss = self._engine.loss.value(passed.logits, arrays.y)
        xp = array_namespace(arrays.x)
        pre, post = xp.stack(passed.pre, axis=1), xp.stack(passed.inputs[1:], axis=1)
        on_device = xp.isfinite(trace.grad_norm) & xp.all(xp.isfinite(trace.losses), axis=0)
        for array in (*parameters.weights, *parameters.biases, pre):
            on_device = on_device & xp.all(xp.isfinite(array), axis=tuple(range(1, array.ndim)))
        finite = self._device.take(on_device)
        if not finite.all():  # metrics are defined for finite numbers only
            sane = on_device[:, None, None, None]
            pre, post = (xp.where(sane, array, xp.zeros_like(array)) for array in (pre, post))
        threshold = self._device.put(np.array([[config.corr_thresh] for config in self.configs]))
        task = Observation(trace.losses, end_loss, trace.grad_norm, pre, post, passed.logits, threshold)
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
        cells = zip(self.configs, self.stream_states, self.task_rngs, strict=True)
        return [self._stream.draw(config, state, rng) for config, state, rng in cells]

    def _put_held_out(self, tasks: Sequence[Task], number: int) -> TaskArrays | None:
        """Draw the held-out points of the sequence's `number`th task; None if no metric needs any.

        They come from a stream of their own for each task, so they disturb no other and need not be resumed.
        """
        if not self._has_held_out:
            return None
        cells = zip(self.configs, tasks, strict=True)
        return self._put_tasks(
            [self._stream.held_out(config, task, held_out_rng(config.seed, number)) for config, task in cells]
        )

    def _put_tasks(self, tasks: Sequence[Task]) -> TaskArrays:
        hyper = {
            name: np.array([getattr(config, name) for config in self.configs])[:, None, None]
            for name in self._engine.optimizer.hyper
        }
        return TaskArrays(
            x=self._put(np.stack([task.points for task in tasks])),
            y=self._put(np.stack([task.labels for task in tasks])),
            hyper={name: self._put(values) for name, values in hyper.items()},
        )

    def _put(self, array: np.ndarray) -> Array:
        return self._device.put(array.astype(self._dtype))

    def _new_networks(self) -> TrainingState:
        cells = zip(self.configs, self.network_rngs, strict=True)
        layers = list(zip(*(initial_weights(config, rng) for config, rng in cells), strict=True))
        parameters = Parameters(
            weights=[self._put(np.stack([weight for weight, _ in layer])) for layer in layers],
            biases=[self._put(np.stack([bias for _, bias in layer])) for layer in layers],
        )
        return self._engine.init(parameters)
