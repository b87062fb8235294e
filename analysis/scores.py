"""Loss-of-plasticity scores of cells: late tasks against networks that never learnt anything before.

    late      mean over the last tasks of the sequence (`Rule.last` of them)
    fresh     mean over the fresh baseline: networks with new weights, each on a task of its own
    excess    late final CE - fresh CE, in nats; above 0, the network learns worse than a fresh one
    ratio     late final CE / fresh CE

Changing the rule needs no new run: everything is computed from the store.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError
from lop_sweep.metrics import LAYERED, MEASURES
from lop_sweep.schema import DIVERGED

CHANCE_CE = math.log(2)
"""Cross-entropy, in nats, of answering 1/2 whatever the input."""

PHASES: tuple[str, ...] = ("plastic", "lost", "untrainable", "diverged", "no baseline")


@dataclass(frozen=True)
class Rule:
    """When a cell counts as having lost plasticity.

    Lost: excess > `margin` and ratio > `factor`. The ratio alone would be noise where everything is learnt, since both
    losses are tiny there; the margin alone would call a small change of a hard problem a loss.

    Untrainable: the fresh networks' mean CE is at least `chance`, so that there is nothing to lose. Cells that are
    untrainable, diverged or without a fresh baseline are neither lost nor plastic.

    Attributes:
        last: how many of the last tasks count as late; None for the last quarter.
        margin: nats.
        factor: a ratio.
        chance: nats.

    Raises:
        AnalysisError: a value is out of range.
    """

    last: int | None = None
    margin: float = 0.1
    factor: float = 1.5
    chance: float = CHANCE_CE

    def __post_init__(self) -> None:
        if self.last is not None and self.last < 1:
            raise AnalysisError(f"last = {self.last}: must be an integer of at least 1")
        for name in ("margin", "factor", "chance"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise AnalysisError(f"{name} = {value}: must be a finite number of at least 0")

    def window(self, tasks: np.ndarray) -> np.ndarray:
        """How many tasks count as late in sequences of these lengths."""
        quarter = np.maximum(1, np.round(np.asarray(tasks) / 4)).astype(np.int64)
        return quarter if self.last is None else np.minimum(self.last, tasks)

    def __str__(self) -> str:
        late = "last quarter of tasks" if self.last is None else f"last {self.last} tasks"
        return f"lost: CE of the {late} exceeds the fresh networks' by > {self.margin:g} nats and {self.factor:g} times"


def score_cells(cells: pd.DataFrame, tasks: pd.DataFrame, rule: Rule | None = None) -> pd.DataFrame:
    """Score every cell.

    Args:
        cells: from `analysis.load.load_cells`.
        tasks: rows of these cells from `analysis.load.load_tasks`, with `cell`, `task` and the measures. Only the late
            tasks matter: `load_tasks(directory, window=rule.window)` loads no others, and is faster for it.
        rule: when plasticity counts as lost.

    Returns:
        One row a cell, in the order of `cells`: `cell`, the configuration fields, `status`, `late_<measure>` (mean over
        the late tasks, the layered ones over layers too), `late_tasks` (how many), `fresh_ce`, `excess`, `ratio`,
        `log_ratio` (log10), `phase` (one of `PHASES`) and `lost` (1.0 or 0.0, NaN where undefined). All scores of a
        diverged cell are NaN.
    """
    rule = rule or Rule()
    scored = cells[["cell", *FIELDS, "status"]].copy()
    scored["late_tasks"] = rule.window(cells["tasks"].to_numpy())

    cell = pd.Index(scored["cell"]).get_indexer(tasks["cell"])
    first = (scored["tasks"] - scored["late_tasks"] + 1).to_numpy()
    known = np.flatnonzero(cell >= 0)
    late_rows = known[tasks["task"].to_numpy()[known] >= first[cell[known]]]
    late = tasks.iloc[late_rows][list(MEASURES)]
    late = late.assign(**{name: _mean_of_each(late[name]) for name in LAYERED})
    means = late.groupby(cell[late_rows]).mean().reindex(range(len(scored)))
    whole = (scored["status"] != DIVERGED).to_numpy()
    for name in MEASURES:
        scored[f"late_{name}"] = np.where(whole, means[name].to_numpy(), np.nan)

    scored["fresh_ce"] = cells["fresh_mean_ce"].to_numpy()
    scored["excess"] = scored["late_final_ce"] - scored["fresh_ce"]
    with np.errstate(divide="ignore", invalid="ignore"):
        scored["ratio"] = scored["late_final_ce"] / scored["fresh_ce"]
        scored["log_ratio"] = np.log10(scored["ratio"])
    scored["phase"] = _phase(scored, rule)
    scored["lost"] = scored["phase"].map({"lost": 1.0, "plastic": 0.0}).astype(np.float64)
    return scored


def _mean_of_each(lists: pd.Series) -> np.ndarray:
    """The mean of each list, none of which is empty."""
    if lists.empty:
        return np.empty(0)
    lengths = lists.map(len).to_numpy()
    sums: np.ndarray = np.add.reduceat(np.concatenate(lists.to_numpy()), np.cumsum(lengths) - lengths)
    return sums / lengths


def _phase(scored: pd.DataFrame, rule: Rule) -> np.ndarray:
    excess, fresh = scored["excess"].to_numpy(), scored["fresh_ce"].to_numpy()
    lost = (excess > rule.margin) & (scored["late_final_ce"].to_numpy() > rule.factor * fresh)
    return np.select(
        [
            scored["status"].to_numpy() == DIVERGED,
            scored["fresh_baseline"].to_numpy() == 0,
            ~(fresh < rule.chance),  # also where a fresh network diverged
            lost,
        ],
        ["diverged", "no baseline", "untrainable", "lost"],
        default="plastic",
    )
