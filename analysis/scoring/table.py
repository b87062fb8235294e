"""Scores of all cells of a sweep as one data frame.

The columns, one row per cell:

    cell, configuration fields, status
    late_tasks                    number of late tasks
    late_<metric>                 mean over the late tasks (and over layers); of the gradient norm the median, because
                                  single tasks make up most of its mean
    early_<metric>                mean over the early tasks, for the symptoms' metrics
    fresh_ce, fresh_median_ce     mean and median CE of the fresh baseline, nats
    excess, ratio, log_ratio      late CE minus fresh CE; their ratio; log10 of the ratio
    slope, slope_low, slope_high  Theil-Sen slope of the final CE over tasks and its 95% interval, nats per task
    onset                         first task of a loss that lasts for `LossCriterion.hold` tasks
    onset_status                  "observed", "censored" (not within these tasks) or "undefined"
    recovery                      first task of a recovery after an onset
    area_excess, area_ce          excess and final CE summed over tasks, nats
    rank_collapse                 lost share of the early effective rank
    duplicates_growth, saturation_growth   late share minus early share
    rank_at, duplicates_at, saturation_at  first task of each symptom
    rank_at_risk, ...             whether the cell could have the symptom: see `LossCriterion`
    first_symptom                 the first symptom before the onset: one of `FIRST`
    lead                          tasks between the two
    phase                         one of `analysis.scoring.criterion.PHASES`
    lost                          1.0 or 0.0, NaN where the phase is neither "lost" nor "plastic"

All scores of a diverged cell are NaN, and so are those that need a baseline where there is none. `attrs` of the frame
has the criterion, the directory and the conditions that it was made with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.data import Block, Where, blocks_of, load_cells, select, split
from analysis.scoring import scores
from analysis.scoring.criterion import LossCriterion, make_criterion, phases
from analysis.scoring.symptoms import (
    METRIC_OF,
    at_risk,
    first_symptom,
    symptom_marks,
    symptom_thresholds,
)
from lop_sweep.config import FIELDS
from lop_sweep.console.options import accepts_options
from lop_sweep.errors import AnalysisError, comma_list
from lop_sweep.metrics import METRICS
from lop_sweep.prefetch import prefetch
from lop_sweep.storage import DIVERGED

MAX_BLOCKS = 4
"""Blocks scored at a time, in threads: NumPy releases Python's lock."""

_LATE = {"mean": scores.late_mean, "median": scores.late_median}


@accepts_options(LossCriterion)
def score(
    directory: str | Path,
    *,
    where: Where | None = None,
    slopes: bool = True,
    criterion: LossCriterion | None = None,
    **thresholds: Any,
) -> pd.DataFrame:
    """Score the finished cells of a sweep.

    The store is read file by file, so memory grows with the cells, not with their tasks.

        scored = score("results", where={"depth": [4, 8]}, margin=0.2, last=10)
        scored.attrs["criterion"]["margin"]  # 0.2

    Args:
        directory: a sweep directory; a sweep may still be writing to it.
        where: conditions on the cells, field to values; None for all cells.
        slopes: whether to compute the three columns of the slope, which take most of the time.
        criterion: when plasticity counts as lost; None for the default.
        thresholds: any fields of `LossCriterion`, which replace those of `criterion`.

    Returns:
        One row per cell with the columns of `analysis.scoring.table`, in the order of `load_cells`. Its `attrs` say how
        it was made: `criterion` (field to value), `directory`, and `where` if there are conditions.

    Raises:
        StoreError: `directory` is not a sweep directory, or a file in it is damaged.
        AnalysisError: a threshold does not exist or is out of range, no cell fulfils a condition, or no cell has as
            many tasks as the criterion calls late.
    """
    criterion = make_criterion(criterion, thresholds)
    cells = select(load_cells(directory), where or {})
    check_last(criterion, cells)
    return _score(cells, blocks_of(cells, directory), criterion, slopes)


@accepts_options(LossCriterion)
def score_cells(
    cells: pd.DataFrame, tasks: pd.DataFrame, *, criterion: LossCriterion | None = None, **thresholds: Any
) -> pd.DataFrame:
    """Score cells from frames in memory.

    Args:
        cells: from `load_cells`, or any frame with `cell`, the configuration fields, `status`, `fresh_mean_ce` and
            `fresh_median_ce`.
        tasks: all rows of these cells from `load_tasks`, with `cell`, `task` and the metrics; rows of other cells are
            ignored.
        criterion: when plasticity counts as lost; None for the default.
        thresholds: any fields of `LossCriterion`, which replace those of `criterion`.

    Returns:
        As `score`, in the order of `cells`.

    Raises:
        AnalysisError: a threshold does not exist or is out of range, a column is missing, a cell's rows are
            incomplete, or a cell occurs twice.
    """
    missing = [name for name in ("cell", "task", *METRICS) if name not in tasks]
    if missing:
        raise AnalysisError(f"`tasks` lacks the columns {comma_list(missing)}; analysis.load_tasks loads all of them")
    if cells["cell"].duplicated().any():
        raise AnalysisError(f"`cells` has cell {cells['cell'][cells['cell'].duplicated()].iloc[0]} twice")
    cells = cells.reset_index(drop=True)
    table = pa.table({name: _column(tasks[name]) for name in ("cell", "task", *METRICS)})
    return _score(cells, split(cells, table), make_criterion(criterion, thresholds))


def check_last(criterion: LossCriterion, cells: pd.DataFrame) -> None:
    """Refuse a criterion with more late tasks than any cell has.

    Raises:
        AnalysisError: no cell has that many tasks.
    """
    if criterion.last is not None and len(cells) and criterion.last > cells["tasks"].max():
        raise AnalysisError(f"last = {criterion.last}: no cell here has more than {cells['tasks'].max()} tasks")


def _column(values: pd.Series) -> pa.Array:
    """Return a column as an Arrow array: numbers with NaN as NaN, lists of numbers with null for None."""
    metric = METRICS.get(str(values.name))
    if metric is None or not metric.per_layer:
        return pa.array(values.to_numpy(), from_pandas=False)
    return pa.array([None if row is None else np.asarray(row, float) for row in values], pa.list_(pa.float64()))


def _score(cells: pd.DataFrame, blocks: Iterable[Block], criterion: LossCriterion, slopes: bool = True) -> pd.DataFrame:
    parts = list(prefetch(lambda block: score_block(block, criterion, slopes), blocks, MAX_BLOCKS))
    if cells.empty:
        empty = {name: np.empty((0, 1, 1) if metric.per_layer else (0, 1)) for name, metric in METRICS.items()}
        whole = score_block(Block(cells, empty), criterion, slopes)
    else:
        whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"cell": []})
    order = pd.Index(whole["cell"]).get_indexer(cells["cell"])
    if (order < 0).any():
        raise AnalysisError(f"cell {cells['cell'].iloc[(order < 0).argmax()]}: has no rows of tasks")
    scored = whole.iloc[order].reset_index(drop=True)
    scored.attrs = {**cells.attrs, "criterion": asdict(criterion)}
    return scored


def score_block(block: Block, criterion: LossCriterion, slopes: bool = True) -> pd.DataFrame:
    """Return the scores of a block's cells; arguments and columns as in `score`."""
    cells, tasks = block.cells, block.metrics["final_ce"].shape[1]
    late, early = criterion.window(tasks), min(criterion.early, tasks)
    diverged = (cells["status"] == DIVERGED).to_numpy()
    fresh = cells["fresh_mean_ce"].to_numpy(float)
    metrics = {name: np.where(diverged[:, None], np.nan, block.of_network(name)) for name in METRICS}
    final = metrics["final_ce"]

    columns: dict[str, object] = {"late_tasks": late}
    columns |= {f"late_{name}": _LATE[METRICS[name].late_statistic](row, late) for name, row in metrics.items()}
    columns |= {f"early_{name}": scores.early_mean(metrics[name], early) for name in METRIC_OF.values()}
    late_ce = scores.late_mean(final, late)
    columns |= {"fresh_ce": fresh, "fresh_median_ce": cells["fresh_median_ce"].to_numpy(float)}
    columns |= {"excess": late_ce - fresh}
    with np.errstate(divide="ignore", invalid="ignore"):
        columns["ratio"] = late_ce / fresh
    columns["log_ratio"] = scores.log_ratio(late_ce, fresh)
    slope = low = high = np.full(len(cells), np.nan)
    if slopes or criterion.definition == "trend":
        slope, low, high = scores.theil_sen(final)
    columns |= {"slope": slope, "slope_low": low, "slope_high": high} if slopes else {}

    worse = scores.above(final, fresh, criterion.margin, criterion.factor)
    onset = scores.onset(worse, criterion.hold)
    recovery = scores.recovery(worse, onset, criterion.recover)
    lost = {
        "late": scores.above(late_ce[:, None], fresh, criterion.margin, criterion.factor)[:, 0],
        "onset": ~np.isnan(onset) & np.isnan(recovery),
        "trend": (low > 0) & (slope * (tasks - 1) > criterion.margin),
    }[criterion.definition]
    enough_tasks = {"late": True, "onset": tasks >= criterion.hold, "trend": ~np.isnan(low)}[criterion.definition]
    phase = phases(cells, lost, enough_tasks | np.zeros_like(diverged), criterion)
    decidable = np.isin(phase, ["lost", "plastic"])
    onset, recovery = np.where(decidable, onset, np.nan), np.where(decidable, recovery, np.nan)
    observed = ~np.isnan(onset)
    columns |= {
        "onset": onset,
        "onset_status": np.select([~decidable, observed], ["undefined", "observed"], "censored"),
        "recovery": recovery,
        "area_excess": scores.area(final - fresh[:, None]),
        "area_ce": scores.area(final),
        "rank_collapse": scores.collapse(metrics["effective_rank"], early, late),
        "duplicates_growth": scores.growth(metrics["duplicate_fraction"], early, late),
        "saturation_growth": scores.growth(metrics["saturation"], early, late),
    }
    thresholds = symptom_thresholds(metrics, criterion)
    at = {name: scores.onset(marks, criterion.hold) for name, marks in symptom_marks(metrics, thresholds).items()}
    first, lead = first_symptom(phase == "lost", onset, at)
    columns |= {f"{name}_at": task for name, task in at.items()}
    columns |= {f"{name}_at_risk": risk for name, risk in at_risk(thresholds).items()}
    columns |= {"first_symptom": np.where(decidable, first, "undefined"), "lead": lead}
    columns |= {"phase": phase, "lost": np.where(decidable, phase == "lost", np.nan)}
    configuration = cells[["cell", *FIELDS, "status"]].reset_index(drop=True)
    return pd.concat([configuration, pd.DataFrame(columns, index=configuration.index)], axis=1)
