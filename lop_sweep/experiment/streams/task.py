"""What all task streams share: the task that they draw, and their interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lop_sweep.config import CellConfig

StreamState = dict[str, Any]
"""What a stream remembers between two tasks, as NumPy arrays and JSON values. Empty if tasks are independent."""


@dataclass(frozen=True)
class Task:
    """One task: its points and their labels, in float64.

    Attributes:
        points: shape (samples, input_dim).
        labels: shape (samples, 1), each 0.0 or 1.0.
    """

    points: np.ndarray
    labels: np.ndarray


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
