"""The share of seeds that fail at each task, smoothed over tasks.

The loss of a network that lost plasticity jumps over many powers of ten from task to task, and so does a median over
few seeds. How often tasks fail is what the verdict is about, and it can be read from a curve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data import Block
from analysis.scoring import LossCriterion, failed, judged_loss
from lop_sweep.errors import comma_list

MIN_WINDOW_TASKS = 5
"""Shorter windows leave the steps of single tasks."""


@dataclass(frozen=True)
class FailureCurve:
    """The failures of the seeds of a configuration, over T tasks.

    Attributes:
        name: of the configuration.
        tasks: (T,) the tasks at which no seed has diverged.
        shares: (T, seeds) each seed's share of failed tasks in the window around a task.
        fresh: the share of fresh networks that failed.
        after_update: whether the losses are those after the last update, as for fresh networks.
    """

    name: str
    tasks: np.ndarray
    shares: np.ndarray
    fresh: float
    after_update: bool


def window_tasks(tasks: int) -> int:
    """Return the width of the window for a sequence: the largest odd number that is at most a tenth of it.

    It is at least `MIN_WINDOW_TASKS`, and at most the sequence itself.
    """
    width = min(max(MIN_WINDOW_TASKS, tasks // 10), tasks)
    return max(1, width - 1 + width % 2)


@dataclass(frozen=True)
class Failures:
    """The failures of all configurations of a figure.

    Attributes:
        curves: one per configuration; the name of those without a curve.
        window: its width in tasks.
        percentiles: whether bands span the 10th to the 90th percentile of seeds, rather than all of them.
    """

    curves: list[FailureCurve | str]
    window: int
    percentiles: bool

    @property
    def exist(self) -> bool:
        """Whether any configuration has a curve."""
        return any(isinstance(curve, FailureCurve) for curve in self.curves)

    def draw(self, axes: Axes) -> None:
        """Draw the shares of seeds that fail, each in the colour of its configuration."""
        ends = (0.1, 0.9) if self.percentiles else (0.0, 1.0)
        for number, curve in enumerate(self.curves):
            if isinstance(curve, str):
                continue
            colour, marker = f"C{number}", "o" if len(curve.tasks) == 1 else None
            axes.plot(curve.tasks, curve.shares.mean(axis=1), color=colour, lw=1.6, marker=marker, ms=4)
            if curve.shares.size and curve.shares.shape[1] > 1:
                axes.fill_between(curve.tasks, *np.quantile(curve.shares, ends, axis=1), color=colour, alpha=0.2, lw=0)
            axes.axhline(curve.fresh, color=colour, ls="--", lw=1)
        axes.set_ylim(-0.03, 1.03)
        axes.set_ylabel("share of seeds that fail", fontsize="small")

    @property
    def caption(self) -> str:
        """What the panel shows, in a few words."""
        curves = [curve for curve in self.curves if isinstance(curve, FailureCurve)]
        band = "10th to 90th percentile" if self.percentiles else "range"
        several = any(curve.shares.shape[1] > 1 for curve in curves)
        missing = [curve for curve in self.curves if isinstance(curve, str)]
        parts = [
            f"moving mean over {self.window} tasks" if self.window > 1 else "",
            f"band: {band} over seeds" if several else "",
            "dashed: fresh networks",
            "" if all(curve.after_update for curve in curves) else "by the CE before the last update",
            f"no curve without fresh networks: {comma_list(missing)}" if missing else "",
        ]
        return "; ".join(filter(None, parts))


def failure_curve(
    name: str, cells: pd.DataFrame, losses: Mapping[str, pd.DataFrame], window: int, criterion: LossCriterion
) -> FailureCurve | str:
    """Return how often the seeds of a configuration fail, in a centred moving window over tasks.

    At both ends the window is cut off. Tasks at which any seed has diverged are left out.

    Args:
        name: of the configuration.
        cells: its cells, from `with_fresh_pool`.
        losses: `end_ce` and `final_ce`, each with one row per task and one column per cell.
        window: its width in tasks, odd.
        criterion: when a task has failed.

    Returns:
        The curve; the name if there are no losses, no fresh networks, or most of them diverged.
    """
    measured = cells[cells["cell"].isin(losses["end_ce"].columns)]
    baseline = measured["fresh_pooled_ce"].to_numpy(float)
    if not len(baseline) or not np.isfinite(baseline).all():
        return name
    arrays = {metric: wide[measured["cell"]].to_numpy(float).T for metric, wide in losses.items()}
    loss, after_update = judged_loss(Block(measured, arrays))
    complete = ~np.isnan(loss).any(axis=0)
    bad = failed(loss, baseline, criterion.margin, criterion.factor)
    shares = pd.DataFrame(bad.T[complete].astype(float)).rolling(window, center=True, min_periods=1).mean()
    fresh = float(measured["fresh_failures"].iloc[0] / measured["fresh_networks"].iloc[0])
    tasks = losses["end_ce"].index.to_numpy()[complete]
    return FailureCurve(name, tasks, shares.to_numpy(), fresh, bool(after_update.all()))
