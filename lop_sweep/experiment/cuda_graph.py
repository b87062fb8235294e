"""All steps of one task as one CUDA graph: recorded once, replayed for every task of the same shapes."""

from __future__ import annotations

import torch

from lop_sweep.array_api import Array
from lop_sweep.experiment import engine

_WARM_UP_STEPS = 2


class GraphedTraining:
    """`engine.train` for fixed shapes and a fixed number of steps, on the current CUDA device.

    A graph reads and writes the same memory at every replay: inputs are copied into tensors of its own, and the trained
    parameters and the trace out of them.

    Args:
        parameters, x, y, lr: tensors of the shapes to record for; they are not changed.
        steps: of a task.
    """

    def __init__(self, parameters: engine.Parameters, x: Array, y: Array, lr: Array, steps: int) -> None:
        self._parameters = _clone(parameters)
        self._x, self._y, self._lr = (tensor.clone() for tensor in (x, y, lr))
        # cuBLAS sets itself up at its first call, which cannot be part of a graph.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            engine.train(_clone(parameters), self._x, self._y, self._lr, _WARM_UP_STEPS)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._trace = engine.train(self._parameters, self._x, self._y, self._lr, steps)

    def __call__(self, parameters: engine.Parameters, x: Array, y: Array, lr: Array) -> engine.TrainingTrace:
        """Train `parameters` in place."""
        outside = [*parameters.weights, *parameters.biases]
        inside = [*self._parameters.weights, *self._parameters.biases]
        for own, given in zip((*inside, self._x, self._y, self._lr), (*outside, x, y, lr), strict=True):
            own.copy_(given)
        self._graph.replay()
        for given, own in zip(outside, inside, strict=True):
            given.copy_(own)
        return engine.TrainingTrace(self._trace.losses.clone(), self._trace.grad_norm.clone())


def _clone(parameters: engine.Parameters) -> engine.Parameters:
    return engine.Parameters([w.clone() for w in parameters.weights], [b.clone() for b in parameters.biases])
