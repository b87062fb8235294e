"""Where a pack is computed: NumPy on a CPU, one cell after the other, or PyTorch on a GPU, all cells at once.

Both run the same engine and the same metrics. On a CPU a batch of networks is no faster than one after the other, and a
cell's bits cannot depend on its neighbours; on a GPU the pack axis is what fills the device.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from lop_sweep.array_api import Array
from lop_sweep.errors import ConfigError, comma_list
from lop_sweep.experiment import engine
from lop_sweep.experiment.cuda_graph import GraphedTraining

DEVICES: tuple[str, ...] = ("cpu", "cuda", "torch")
"""`cpu`: NumPy; `cuda`: PyTorch on a GPU; `torch`: the code of `cuda` on the CPU, which is slower than `cpu`."""

GRAPH_STEPS = 1000
"""Steps in one CUDA graph, at most: some hundred operations each, all of which the graph holds."""
_GRAPHS_KEPT = 4
"""A task's and a fresh network's, with a rest of steps each."""


class Device(Protocol):
    """Takes a pack's arrays and trains its networks.

    Attributes:
        label: for the results: what the numbers were computed on.
        cells_at_once: how many networks it trains as one batch; None for as many as there are.
    """

    label: str
    cells_at_once: int | None

    def put(self, array: np.ndarray) -> Array:
        """`array` on the device; it may share its memory."""

    def take(self, array: Array) -> np.ndarray:
        """An array of the device as NumPy's; it may share its memory."""

    def train(self, parameters: engine.Parameters, x: Array, y: Array, lr: Array, steps: int) -> engine.TrainingTrace:
        """As `engine.train`."""


class NumpyDevice:
    """A CPU core."""

    label = "cpu"
    cells_at_once: int | None = 1

    def put(self, array: np.ndarray) -> Array:
        """`array` itself."""
        return array

    def take(self, array: Array) -> np.ndarray:
        """`array` itself."""
        return np.asarray(array)

    def train(self, parameters: engine.Parameters, x: Array, y: Array, lr: Array, steps: int) -> engine.TrainingTrace:
        """`engine.train`."""
        return engine.train(parameters, x, y, lr, steps)


class TorchDevice:
    """Torch tensors, on a GPU or on the CPU.

    On a GPU all steps of a task are one CUDA graph, or several of `GRAPH_STEPS`, captured when shapes first occur:
    launching the operations of small networks one by one would take longer than computing them.

    Args:
        device: where the tensors live.
    """

    cells_at_once: int | None = None

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graphs: dict[tuple[object, ...], GraphedTraining] = {}
        self.label = "torch on cpu"
        if device.type == "cuda":
            self.label = f"cuda {torch.version.cuda}, {torch.cuda.get_device_name(device)}"

    def put(self, array: np.ndarray) -> Array:
        """A tensor on the device."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def take(self, array: Array) -> np.ndarray:
        """The tensor's values."""
        values: np.ndarray = array.cpu().numpy()
        return values

    def train(self, parameters: engine.Parameters, x: Array, y: Array, lr: Array, steps: int) -> engine.TrainingTrace:
        """`engine.train`; on a GPU by replaying graphs."""
        if self._device.type != "cuda":
            return engine.train(parameters, x, y, lr, steps)
        blocks = [min(GRAPH_STEPS, steps - start) for start in range(0, steps, GRAPH_STEPS)]
        traces = [self._graph(parameters, x, y, lr, block)(parameters, x, y, lr) for block in blocks]
        return engine.TrainingTrace(torch.cat([trace.losses for trace in traces]), traces[0].grad_norm)

    def _graph(self, parameters: engine.Parameters, x: Array, y: Array, lr: Array, steps: int) -> GraphedTraining:
        key = (steps, x.dtype, x.shape, *(weight.shape for weight in parameters.weights))
        if key not in self._graphs:
            while len(self._graphs) >= _GRAPHS_KEPT:
                del self._graphs[next(iter(self._graphs))]
            self._graphs[key] = GraphedTraining(parameters, x, y, lr, steps)
        return self._graphs[key]


@functools.cache
def make_device(name: str) -> Device:
    """The device of this name, on this machine; one for the whole process, so that packs of one shape share graphs.

    Raises:
        ConfigError: there is no such device, or it is not here.
    """
    check_device(name)
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device = 'cuda': PyTorch {torch.__version__} finds no GPU on this machine; "
            "use cpu, or install a CUDA build of PyTorch where there is one"
        )
    makers: dict[str, Callable[[], Device]] = {
        "cpu": NumpyDevice,
        "cuda": lambda: TorchDevice(torch.device("cuda")),
        "torch": lambda: TorchDevice(torch.device("cpu")),
    }
    return makers[name]()


def check_device(name: str) -> None:
    """Refuse a name that is no device's.

    Raises:
        ConfigError: it is not one of `DEVICES`.
    """
    if name not in DEVICES:
        raise ConfigError(f"device = {name!r}: must be one of {comma_list(DEVICES)}")
