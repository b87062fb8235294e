"""What all task streams share: the task that they draw, and their interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    A class may also have a method `draw_many`, with the arguments of `draw_tasks` after the first: the same tasks,
    drawn faster for many cells at once.

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


def draw_tasks(
    stream: TaskStream,
    configs: Sequence[CellConfig],
    states: Sequence[StreamState],
    rngs: Sequence[np.random.Generator],
) -> list[Task]:
    """Return the next task of each cell, as `TaskStream.draw` draws them one by one.

    Args:
        stream: of all cells.
        configs: the cells; they differ only in the fields that `PACKABLE` names.
        states: of their streams; advanced in place.
        rngs: their random streams; advanced.
    """
    many = getattr(stream, "draw_many", None)
    if many is not None and len(configs) > 2:  # for one or two it is no faster
        found: list[Task] = many(configs, states, rngs)
        return found
    return [stream.draw(*cell) for cell in zip(configs, states, rngs, strict=True)]
