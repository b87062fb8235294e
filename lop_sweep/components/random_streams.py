"""Random streams that derive from a cell's seed, apart from the two of the protocol (tasks and initial weights).

Each task has a stream of its own for each purpose. So these draws disturb no others, and need not be saved.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is for. The numbers are part of every result that depends on such a stream."""

    HELD_OUT = 1
    """Held-out points of a task."""
    ORDER = 2
    """The order in which minibatches take the points of a task."""
    MITIGATION = 3
    """What mitigations draw while a network is trained on a task, and after it."""
    CONTROL = 4
    """The initial weights of a task's control network."""


def random_stream(seed: int, purpose: Purpose, number: int, fresh: bool = False) -> np.random.Generator:
    """Return a cell's random stream for a purpose.

    Args:
        seed: of the cell.
        purpose: what it is for.
        number: of the task in its sequence, or of the fresh network, from 1.
        fresh: whether it is for a fresh network.
    """
    return np.random.default_rng([seed, purpose, *([0] if fresh else []), number])
