"""Which points of a task each update takes."""

from __future__ import annotations

import math

import numpy as np

from lop_sweep.components import Purpose, random_stream
from lop_sweep.config import CellConfig


def minibatch_order(config: CellConfig, points: int, steps: int, number: int, fresh: bool = False) -> np.ndarray:
    """Return the points of each update: shuffled passes over the task, one after the other, cut into minibatches.

    A minibatch may hold the end of one pass and the beginning of the next.

    Args:
        config: uses `seed` and `batch_size`.
        points: of the task.
        steps: number of updates.
        number: of the task in its sequence, or of the fresh network, from 1.
        fresh: whether it is for a fresh network.

    Returns:
        (steps, batch_size) indices, int64.
    """
    rng = random_stream(config.seed, Purpose.ORDER, number, fresh)
    needed = steps * config.batch_size
    passes = [rng.permutation(points) for _ in range(math.ceil(needed / points))]
    return np.concatenate(passes)[:needed].reshape(steps, config.batch_size)
