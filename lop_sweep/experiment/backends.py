"""Where a pack is computed: NumPy on a CPU, in batches that fit its cache, or PyTorch on a GPU, all cells at once.

Both run the same engine and the same metrics. On a CPU a cell's bits do not depend on its batch. On a GPU rounding may.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from lop_sweep.array_api import Array
from lop_sweep.components.batch_size import cells_per_batch
from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError, comma_list
from lop_sweep.experiment.cuda_graph import GraphedTraining
from lop_sweep.experiment.engine import Engine, TaskArrays, TrainingState, TrainingTrace
from lop_sweep.runtime import DEVICES, cache_bytes

MAX_STEPS_PER_GRAPH = 1000
"""Steps in one CUDA graph. A graph holds all operations of its steps, a few hundred per step."""
_MAX_GRAPHS = 4
"""A task's and a fresh network's, each with one for the remaining steps."""


class Device(Protocol):
    """A place that holds a batch's arrays and trains its networks.

    Attributes:
        label: what the numbers were computed on, for the results.
        drops_diverged: whether cells that have diverged are left out of further training. It needs indexing, and
            batches of many sizes.
    """

    label: str
    drops_diverged: bool

    def batch_size(self, config: CellConfig, dtype: str) -> int | None:
        """Return how many cells like `config` it trains as one batch; None for all of a pack."""

    def put(self, array: np.ndarray) -> Array:
        """Return `array` on the device. The result may share its memory."""

    def take(self, array: Array) -> np.ndarray:
        """Return an array of the device as NumPy's. The result may share its memory."""

    def train(self, engine: Engine, state: TrainingState, task: TaskArrays, steps: int) -> TrainingTrace:
        """Do what `engine.train` does."""


class NumpyDevice:
    """A CPU core."""

    label = "cpu"
    drops_diverged = True

    def __init__(self) -> None:
        self._cache_bytes = cache_bytes()

    def batch_size(self, config: CellConfig, dtype: str) -> int | None:
        """Return `cells_per_batch` for this machine's cache."""
        return cells_per_batch(config, dtype, self._cache_bytes)

    def put(self, array: np.ndarray) -> Array:
        """Return `array` itself."""
        return array

    def take(self, array: Array) -> np.ndarray:
        """Return `array` itself."""
        return np.asarray(array)

    def train(self, engine: Engine, state: TrainingState, task: TaskArrays, steps: int) -> TrainingTrace:
        """Call `engine.train`."""
        return engine.train(state, task, steps)


class TorchDevice:
    """Torch tensors, on a GPU or on the CPU.

    On a GPU all steps of a task are one CUDA graph, or several of `MAX_STEPS_PER_GRAPH`, captured when shapes first
    occur: launching the operations of small networks one by one would take longer than computing them. Minibatches, and
    mitigations that draw or decide at each step, are not recorded.

    Args:
        device: where the tensors are.
    """

    drops_diverged = False

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graphs: dict[tuple[object, ...], GraphedTraining] = {}
        self.label = "torch on cpu"
        if device.type == "cuda":
            self.label = f"cuda {torch.version.cuda}, {torch.cuda.get_device_name(device)}"

    def batch_size(self, config: CellConfig, dtype: str) -> int | None:
        """Return None: all cells are one batch."""
        return None

    def put(self, array: np.ndarray) -> Array:
        """Return a tensor on the device."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def take(self, array: Array) -> np.ndarray:
        """Return the tensor's values."""
        values: np.ndarray = array.cpu().numpy()
        return values

    def train(self, engine: Engine, state: TrainingState, task: TaskArrays, steps: int) -> TrainingTrace:
        """Call `engine.train`; on a GPU, replay graphs of it."""
        if self._device.type != "cuda" or task.order is not None or not engine.graphable:
            return engine.train(state, task, steps)
        blocks = [min(MAX_STEPS_PER_GRAPH, steps - start) for start in range(0, steps, MAX_STEPS_PER_GRAPH)]
        traces = [self._graph(engine, state, task, block)(state, task) for block in blocks]
        accuracies = [trace.accuracies for trace in traces if trace.accuracies is not None]
        losses = torch.cat([trace.losses for trace in traces])
        return TrainingTrace(losses, traces[0].grad_norm, torch.cat(accuracies) if accuracies else None)

    def _graph(self, engine: Engine, state: TrainingState, task: TaskArrays, steps: int) -> GraphedTraining:
        shapes = tuple((array.dtype, array.shape) for array in (*state.arrays(), *task.arrays()))
        key = (steps, engine, shapes)
        if key not in self._graphs:
            while len(self._graphs) >= _MAX_GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            self._graphs[key] = GraphedTraining(engine, state, task, steps)
        return self._graphs[key]


@functools.cache
def make_device(name: str) -> Device:
    """Return the device of this name. A process has one of each, so that packs of one shape share graphs.

    Raises:
        ConfigError: the name is unknown, or this machine does not have the device.
    """
    check_device(name)
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device = 'cuda': PyTorch {torch.__version__} finds no GPU on this machine; "
            "use cpu, or install a CUDA build of PyTorch on a machine with a GPU"
        )
    makers: dict[str, Callable[[], Device]] = {
        "cpu": NumpyDevice,
        "cuda": lambda: TorchDevice(torch.device("cuda")),
        "torch": lambda: TorchDevice(torch.device("cpu")),
    }
    return makers[name]()


def check_device(name: str) -> None:
    """Refuse an unknown device.

    Raises:
        ConfigError: the name is not one of `DEVICES`.
    """
    if name not in DEVICES:
        raise ConfigError(f"device = {name!r}: must be one of {comma_list(DEVICES)}")
