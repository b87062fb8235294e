"""Online regression of a fixed network's outputs, on inputs most of which change rarely."""

from __future__ import annotations

import numpy as np

from lop_sweep.components.streams.task import StreamState, Task
from lop_sweep.config import CellConfig
from lop_sweep.registry import register

_SLOW, _FAST, _UNITS = 15, 5, 100
_INPUTS = _SLOW + _FAST
_BETA = 0.7

_FAST_BITS = np.array(list(np.ndindex(*[2] * _FAST)), dtype=np.float64)
"""All values of the fast bits, (32, 5)."""


@register("stream", "slowly_changing_regression")
class SlowlyChangingRegression:
    """y = v . [w_j . x + b_j > t_j]_j + c for 20 bits x, with all weights and biases of the target network -1 or +1.

    It has 100 linear threshold units, with t_j = 0.7 * 21 - (20 - sum w_j + b_j) / 2. A cell draws it once, before its
    first task. 15 of the bits are constant within a task and are all redrawn for the next one; the other 5 are drawn
    for every example. The published problem is `samples` = `steps` = 10,000 with `batch_size` = 1: every example is
    seen once. Its learner has 5 hidden units, kaiming-uniform weights and plain gradient descent.

    Source: S. Dohare et al., "Loss of plasticity in deep continual learning", Nature 632, 2024, with the variant and
    the constants of their public code for its README's figure.
    """

    name: str
    hyper: tuple[str, ...] = ()
    loss = "regression"

    def dimensions(self, config: CellConfig) -> tuple[int, int]:
        """Return 20 and 1."""
        return _INPUTS, 1

    def init(self, config: CellConfig, rng: np.random.Generator) -> StreamState:
        """Draw the target network: weights (20, 100) and (100, 1), biases (100,) and (1,). No slow bits are known."""
        shapes = {"hidden": (_INPUTS, _UNITS), "hidden_bias": (_UNITS,), "output": (_UNITS, 1), "output_bias": (1,)}
        network = {name: 2.0 * rng.integers(0, 2, size=shape) - 1.0 for name, shape in shapes.items()}
        return {**network, "slow": np.empty(0)}

    def draw(self, config: CellConfig, state: StreamState, rng: np.random.Generator) -> Task:
        """Draw the next task's slow bits, then the fast bits of its examples, in their order."""
        state["slow"] = self._next_slow_bits(state["slow"], rng)
        inputs = np.hstack([np.tile(state["slow"], (len(_FAST_BITS), 1)), _FAST_BITS])
        return _examples(config.samples, {"inputs": inputs, "outputs": _target(state, inputs)}, rng)

    def held_out(self, config: CellConfig, task: Task, rng: np.random.Generator) -> Task:
        """Draw further examples with the task's slow bits."""
        return _examples(config.test_samples, dict(task.source), rng)

    def _next_slow_bits(self, last: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(0, 2, size=_SLOW).astype(np.float64)


@register("stream", "slowly_changing_regression_flip")
class SlowlyChangingRegressionFlip(SlowlyChangingRegression):
    """As `slowly_changing_regression`, but one of the 15 slow bits, drawn at random, flips at each new task.

    Source: S. Dohare et al., "Loss of plasticity in deep continual learning", Nature 632, 2024, Extended Data Fig. 2,
    and `flip_one` of their public code.
    """

    def _next_slow_bits(self, last: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if not last.size:
            return super()._next_slow_bits(last, rng)
        bits, flipped = last.copy(), rng.integers(_SLOW)
        bits[flipped] = 1.0 - bits[flipped]
        return bits


def _target(network: StreamState, inputs: np.ndarray) -> np.ndarray:
    """Return the target network's outputs for inputs (m, 20), (m, 1)."""
    weights, bias = network["hidden"], network["hidden_bias"]
    threshold = _BETA * (_INPUTS + 1) - (_INPUTS - weights.sum(axis=0) + bias) / 2
    active = (inputs @ weights + bias > threshold).astype(np.float64)
    return active @ network["output"] + network["output_bias"]


def _examples(count: int, source: dict[str, np.ndarray], rng: np.random.Generator) -> Task:
    """Draw examples from a task's 32 different ones, all of them equally probable: 5 independent bits."""
    index = rng.integers(len(_FAST_BITS), size=count)
    return Task(source["inputs"][index], source["outputs"][index], source)
