"""Which tasks are late, and which have failed: shared by the scores of a sweep and those of a trial that still runs."""

from __future__ import annotations

import numpy as np

LATE_SHARE = 0.25
"""Share of the tasks that are late, unless a number is given."""
MARGIN = 0.1
"""By how much the loss of a failed task is worse than that of fresh networks, in nats or the loss's own unit."""
FACTOR = 1.5
"""By which factor it is worse."""


def late_tasks(tasks: int) -> int:
    """Return how many of a sequence's tasks are late."""
    return max(1, round(tasks * LATE_SHARE))


def exceeds(losses: np.ndarray, baseline: np.ndarray, margin: float = MARGIN, factor: float = FACTOR) -> np.ndarray:
    """Return where losses exceed a baseline of a shape that fits by more than a margin and a factor; False for NaN.

    The factor alone would be noise where everything is learnt, since both losses are tiny there. The margin alone would
    call a small change of a hard problem a failure.
    """
    with np.errstate(invalid="ignore"):  # infinite medians, where most fresh networks diverged
        return np.asarray((losses - baseline > margin) & (losses > factor * baseline))
