"""What all task streams share: the task that they draw, and their interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from lop_sweep.config import CellConfig

StreamState = dict[str, Any]
"""What a stream remembers between two tasks, as NumPy arrays and JSON values. Empty if tasks are independent."""


@dataclass(frozen=True)
class Task:
    """One task: its points and their labels, in float64. n points, d inputs, k outputs.

    Attributes:
        points: shape (n, d).
        labels: shape (n, k), as the stream's loss has them: 0.0 or 1.0, one value per class, or any number.
        source: what its points were drawn from, for `TaskStream.held_out`.
    """

    points: np.ndarray
    labels: np.ndarray
    source: Mapping[str, np.ndarray] = field(default_factory=dict)


class TaskStream(Protocol):
    """The source of a cell's tasks.

    A stream draws everything from the generator that it is given, so the generator's state after a task is part of the
    result. Its state holds what tasks depend on, but no data that every process can load: images by their numbers.

    A class may also have the attribute `has_held_out = False`: its tasks have no further points that were drawn as
    their own were, so metrics on held-out points are refused.

    Attributes:
        name: what a configuration calls it.
        hyper: the configuration fields that it uses.
        loss: name of the loss of its tasks.
    """

    name: str
    hyper: tuple[str, ...]
    loss: str

    def dimensions(self, config: CellConfig) -> tuple[int, int]:
        """Return the numbers of inputs and of outputs, d and k."""
        ...

    def init(self, config: CellConfig, rng: np.random.Generator) -> StreamState:
        """Return the state of a cell's stream before its first task."""
        ...

    def draw(self, config: CellConfig, state: StreamState, rng: np.random.Generator) -> Task:
        """Draw a cell's next task. `state` and `rng` are advanced in place."""
        ...

    def held_out(self, config: CellConfig, task: Task, rng: np.random.Generator) -> Task:
        """Draw `config.test_samples` further points of a task, from the distribution that its own were drawn from."""
        ...


def has_held_out(stream: TaskStream) -> bool:
    """Return whether a stream's tasks have held-out points."""
    return getattr(stream, "has_held_out", True)
