"""What all task streams share: the task that they draw, and their interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from lop_sweep.config import CellConfig

_HELD_OUT = 1
"""Tells these streams from others that derive from a cell's seed."""

StreamState = dict[str, Any]
"""What a stream remembers between two tasks, as NumPy arrays and JSON values. Empty if tasks are independent."""


@dataclass(frozen=True)
class Task:
    """One task: its points and their labels, in float64.

    Attributes:
        points: shape (samples, input_dim).
        labels: shape (samples, 1), each 0.0 or 1.0.
        source: what its points were drawn from, for `TaskStream.held_out`.
    """

    points: np.ndarray
    labels: np.ndarray
    source: Mapping[str, np.ndarray] = field(default_factory=dict)


class TaskStream(Protocol):
    """The source of a cell's tasks.

    A stream draws everything from the generator that it is given, so the generator's state after a task is part of the
    result.
    """

    name: str

    def init(self, config: CellConfig, rng: np.random.Generator) -> StreamState:
        """Return the state of a cell's stream before its first task."""
        ...

    def draw(self, config: CellConfig, state: StreamState, rng: np.random.Generator) -> Task:
        """Draw a cell's next task. `state` and `rng` are advanced in place."""
        ...

    def held_out(self, config: CellConfig, task: Task, rng: np.random.Generator) -> Task:
        """Draw `config.test_samples` further points of a task, from the distribution that its own were drawn from."""
        ...


def held_out_rng(seed: int, number: int) -> np.random.Generator:
    """Return the random stream of the held-out points of a cell's `number`th task, from 1."""
    return np.random.default_rng([seed, _HELD_OUT, number])
