"""All steps of one task as one CUDA graph: recorded once, replayed for every task of the same shapes."""

from __future__ import annotations

import torch

from lop_sweep.experiment.engine import Engine, TaskArrays, TrainingState, TrainingTrace

_WARM_UP_STEPS = 2


class GraphedTraining:
    """`engine.train` for fixed shapes and a fixed number of steps, on the current CUDA device.

    A graph reads and writes the same memory at every replay. So inputs are copied into tensors that the graph owns, and
    the trained state and the trace out of them.

    Args:
        engine: what is recorded.
        state: tensors of the shapes to record for; not changed.
        task: as `state`.
        steps: number of steps to record.
    """

    def __init__(self, engine: Engine, state: TrainingState, task: TaskArrays, steps: int) -> None:
        self._state = state.copy(torch.Tensor.clone)
        hyper = {name: tensor.clone() for name, tensor in task.hyper.items()}
        self._task = TaskArrays(task.x.clone(), task.y.clone(), hyper, draws=task.draws)  # nothing recorded draws
        # cuBLAS sets itself up at its first call, which cannot be part of a graph.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            engine.train(state.copy(torch.Tensor.clone), self._task, _WARM_UP_STEPS)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._trace = engine.train(self._state, self._task, steps)

    def __call__(self, state: TrainingState, task: TaskArrays) -> TrainingTrace:
        """Train `state` in place."""
        inside, outside = self._state.arrays(), state.arrays()
        for own, given in zip((*inside, *self._task.arrays()), (*outside, *task.arrays()), strict=True):
            own.copy_(given)
        self._graph.replay()
        for given, own in zip(outside, inside, strict=True):
            given.copy_(own)
        return TrainingTrace(self._trace.losses.clone(), self._trace.grad_norm.clone())
