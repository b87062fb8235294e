"""Scores of a trial that still runs, for schedulers and search algorithms."""

from __future__ import annotations

import numpy as np

from lop_sweep.failures import exceeds, late_tasks

EARLY_TASKS = 5
"""Tasks that stand for fresh networks until these are trained, after the last task."""


def running_scores(losses: np.ndarray, fresh: np.ndarray) -> dict[str, float]:
    """Return how the last quarter of the tasks so far compares with fresh networks, or with the first 5 tasks.

    Args:
        losses: (T, P) loss of each cell after the last update of each task so far; NaN from divergence on.
        fresh: (P, F) losses of the cells' own fresh networks; F is 0 before they are trained.

    Returns:
        Means over the cells that have not diverged, NaN if all have.

        `late_end_ce`: mean loss of these late tasks.
        `excess`: the same minus the mean loss of the fresh networks.
        `late_failure_rate`: the share of late tasks whose loss exceeds the median fresh network's by 0.1 and by a
        factor 1.5. `analysis.score` takes the fresh networks of all seeds together.
    """
    late = losses[-late_tasks(len(losses)) :]
    baseline = fresh if fresh.size else losses[:EARLY_TASKS].T
    rates = exceeds(late, np.median(baseline, axis=1)).mean(axis=0)
    mean = late.mean(axis=0)
    return {
        "late_end_ce": _mean(mean),
        "excess": _mean(mean - baseline.mean(axis=1)),
        "late_failure_rate": _mean(np.where(np.isnan(mean), np.nan, rates)),
    }


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
