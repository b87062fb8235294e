"""Cells that a device computes at once: their streams, their networks, and one task's training and measuring."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from frozen import engine, metrics
from frozen.device import Device
from frozen.metrics import TaskMeasures
from frozen.namespace import Array, array_namespace
from frozen.network import TorchStream, initial_weights
from frozen.tasks import Task, draw_task
from lop_sweep.config import CellConfig

_Result = TypeVar("_Result")


class Group:
    """k cells of one pack that are trained as one batch. On a CPU k is 1.

    Args:
        configs: the cells.
        dtype: precision of the networks.
        device: where they are trained.

    Attributes:
        configs: the cells.
        task_streams, network_streams: one a cell.
        parameters: of the main networks, on the device, with a leading axis of length k.
        diverged_at: (k,) the task, from 1, at which each cell diverged; 0 for those that have not.
        seconds: (k,) time that each cell has taken so far; what the group takes is shared out evenly.
    """

    def __init__(self, configs: Sequence[CellConfig], dtype: np.dtype, device: Device) -> None:
        self.configs = tuple(configs)
        self._dtype, self._device = dtype, device
        self.task_streams = [np.random.default_rng(config.seed) for config in configs]
        self.network_streams = [TorchStream(config.seed) for config in configs]
        self.parameters = self._fresh_parameters()
        self.diverged_at = np.zeros(len(configs), dtype=int)
        self.seconds = np.zeros(len(configs))

    def run_task(self, number: int) -> TaskMeasures:
        """Train every cell on its next task, the sequence's `number`th, and measure; rows of diverged cells are NaN."""
        return self._timed(lambda: self._run_task(number))

    def run_fresh_network(self) -> np.ndarray:
        """Train each cell's next fresh network; its loss after the last update, in nats, (k,), NaN if not finite."""
        return self._timed(self._run_fresh_network)

    def host_parameters(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Weights and biases of the main networks as NumPy arrays, which may share their memory."""
        weights, biases = self.parameters.weights, self.parameters.biases
        return [self._device.take(array) for array in weights], [self._device.take(array) for array in biases]

    def set_parameters(self, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> None:
        """Replace the main networks."""
        self.parameters = engine.Parameters(
            [self._device.put(np.array(array)) for array in weights],
            [self._device.put(np.array(array)) for array in biases],
        )

    def _timed(self, work: Callable[[], _Result]) -> _Result:
        start = time.perf_counter()
        # Numbers that overflow are noticed and recorded below; NumPy need not warn of them.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            result = work()
        self.seconds += (time.perf_counter() - start) / len(self.configs)
        return result

    def _run_task(self, number: int) -> TaskMeasures:
        tasks = self._draw_tasks()
        if self.diverged_at.all():
            return TaskMeasures.undefined(len(self.configs), self.configs[0].depth)
        x, y = self._put_tasks(tasks)
        trace = self._device.train(self.parameters, x, y, self._rates(), self.configs[0].steps)
        row = self._measure(x, trace)
        finite = np.all([np.isfinite(v).reshape(len(self.configs), -1).all(axis=1) for v in row.values()], axis=0)
        self.diverged_at[~finite & (self.diverged_at == 0)] = number
        for values in row.values():
            values[self.diverged_at > 0] = np.nan
        return TaskMeasures(**row)

    def _run_fresh_network(self) -> np.ndarray:
        tasks = self._draw_tasks()
        parameters = self._fresh_parameters()
        x, y = self._put_tasks(tasks)
        self._device.train(parameters, x, y, self._rates(), self.configs[0].fresh_steps)
        losses = self._device.take(engine.cross_entropy(engine.forward(parameters, x).logits, y)).astype(np.float64)
        return np.where(np.isfinite(losses), losses, np.nan)

    def _measure(self, x: Array, trace: engine.Trace) -> dict[str, np.ndarray]:
        """The row of a task that the cells were just trained on; all NaN where something is not finite."""
        layers: list[Array] = []
        activity = engine.forward(self.parameters, x, layers)
        xp = array_namespace(x)
        pre, post = xp.stack(layers, axis=1), xp.stack(activity.inputs[1:], axis=1)
        on_device = xp.isfinite(trace.grad_norm) & xp.all(xp.isfinite(trace.losses), axis=0)
        for array in (*self.parameters.weights, *self.parameters.biases, pre):
            on_device = on_device & xp.all(xp.isfinite(array), axis=tuple(range(1, array.ndim)))
        finite = self._device.take(on_device)
        if not finite.all():  # the measures are for finite numbers only
            sane = on_device[:, None, None, None]
            pre, post = (xp.where(sane, array, xp.zeros_like(array)) for array in (pre, post))
        threshold = self._device.put(np.array([[config.corr_thresh] for config in self.configs]))
        row = {
            "min_ce": xp.min(trace.losses, axis=0),
            "final_ce": trace.losses[-1, :],
            "saturation": metrics.saturation(pre),
            "grad_norm": trace.grad_norm,
            "effective_rank": metrics.effective_rank(pre),
            "duplicate_fraction": metrics.duplicate_fraction(post, threshold),
        }
        host = {name: np.array(self._device.take(values), dtype=np.float64) for name, values in row.items()}
        for values in host.values():
            values[~finite] = np.nan
        return host

    def _draw_tasks(self) -> list[Task]:
        return [draw_task(config, stream) for config, stream in zip(self.configs, self.task_streams, strict=True)]

    def _put_tasks(self, tasks: Sequence[Task]) -> tuple[Array, Array]:
        points = np.stack([task.points for task in tasks])
        labels = np.stack([task.labels for task in tasks])
        return self._device.put(points.astype(self._dtype)), self._device.put(labels.astype(self._dtype))

    def _rates(self) -> Array:
        return self._device.put(np.array([config.lr for config in self.configs], dtype=self._dtype)[:, None, None])

    def _fresh_parameters(self) -> engine.Parameters:
        cells = zip(self.configs, self.network_streams, strict=True)
        networks = [initial_weights(config, stream) for config, stream in cells]

        def put(arrays: Sequence[np.ndarray]) -> Array:
            return self._device.put(np.stack(arrays).astype(self._dtype))

        layers = list(zip(*networks, strict=True))
        return engine.Parameters(
            weights=[put([weight for weight, _ in layer]) for layer in layers],
            biases=[put([bias for _, bias in layer]) for layer in layers],
        )
