"""Scores of all cells of a sweep as one data frame.

The columns, one row a cell:

    cell, configuration fields, status
    late_tasks                    how many tasks are late
    late_<measure>                mean over the late tasks (and over layers); of the gradient norm the median, since
                                  single tasks make up most of its mean
    early_<measure>               the same over the early tasks, for the symptoms' measures
    fresh_ce, fresh_median_ce     mean and median CE of the fresh baseline, nats
    excess, ratio, log_ratio      late final CE less, by, and by in powers of ten, the fresh one
    slope, slope_low, slope_high  Theil-Sen slope of the final CE over tasks and its 95% interval, nats a task
    onset                         first task of a loss that lasts for `LossCriterion.hold` tasks
    onset_status                  "observed", "censored" (not within these tasks) or "undefined"
    recovery                      first task from which it is over, after an onset
    area_excess, area_ce          summed over tasks, nats
    rank_collapse                 share of the early effective rank that is gone late
    duplicates_growth, saturation_growth   late share less the early one
    rank_at, duplicates_at, saturation_at  first task of each symptom
    rank_at_risk, ...             whether the symptom could come at all: see `LossCriterion`
    first_symptom                 which came before the onset first: one of `FIRST`
    lead                          by how many tasks
    phase                         one of `analysis.scoring.criterion.PHASES`
    lost                          1.0 or 0.0, NaN where the phase is neither "lost" nor "plastic"

All scores of a diverged cell are NaN, and those that need a baseline where there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.data import Block, Where, blocks_of, load_cells, select, split
from analysis.scoring import scores
from analysis.scoring.criterion import SYMPTOMS, LossCriterion, phases
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError
from lop_sweep.metrics import LAYERED, METRICS
from lop_sweep.prefetch import prefetch
from lop_sweep.storage import DIVERGED

FIRST: tuple[str, ...] = (
    *SYMPTOMS, "several at once", "none before the loss", "no onset seen", "no loss", "undefined"
)  # fmt: skip
"""What `first_symptom` can be.

"several at once" crossed their thresholds at the same task; "no onset seen" are cells that have lost plasticity without
losing it for `LossCriterion.hold` tasks in a row.
"""

METRIC_OF = {"rank": "effective_rank", "duplicates": "duplicate_fraction", "saturation": "saturation"}
"""The measure that shows each of `SYMPTOMS`."""

LATE = {"grad_norm": scores.late_median}
"""How a measure's late tasks are summarised, where it is not by their mean."""

AT_ONCE = 4
"""Blocks that are worked on at a time: NumPy leaves Python's lock."""


def score_sweep(
    directory: str | Path, where: Where | None = None, criterion: LossCriterion | None = None, slopes: bool = True
) -> pd.DataFrame:
    """Score the finished cells of a sweep, file by file: memory grows with the cells, not with their tasks.

    Args:
        directory: a sweep directory.
        where: conditions on the cells, see `analysis.data.load.select`; None for all.
        rule: when plasticity counts as lost.
        slopes: whether there are the three columns of the slope, which take most of the computation.

    Returns:
        One row a cell with this module's columns, in the order of `analysis.data.load.load_cells`.

    Raises:
        StoreError: it is not a sweep directory, or a file in it is damaged.
        AnalysisError: a condition cannot be met, or no cell has as many tasks as the rule calls late.
    """
    cells, criterion = select(load_cells(directory), where or {}), criterion or LossCriterion()
    check_last(criterion, cells)
    return _score(cells, blocks_of(cells, directory), criterion, slopes)


def check_last(criterion: LossCriterion, cells: pd.DataFrame) -> None:
    """Refuse a rule by which more tasks are late than any cell has.

    Raises:
        AnalysisError: it is so.
    """
    if criterion.last is not None and len(cells) and criterion.last > cells["tasks"].max():
        raise AnalysisError(f"last = {criterion.last}: no cell here has more than {cells['tasks'].max()} tasks")


def score_cells(cells: pd.DataFrame, tasks: pd.DataFrame, criterion: LossCriterion | None = None) -> pd.DataFrame:
    """Score cells whose rows are at hand as frames.

    Args:
        cells: from `analysis.data.load.load_cells`; `cell`, the configuration fields, `status`,
            `fresh_mean_ce` and `fresh_median_ce` matter.
        tasks: all rows of these cells from `analysis.load_tasks`, with `cell`, `task` and the measures; those of
            other cells do not matter.
        rule: when plasticity counts as lost.

    Returns:
        As `score_sweep`, in the order of `cells`.

    Raises:
        AnalysisError: a cell's rows are not complete, or a cell is there twice.
    """
    if cells["cell"].duplicated().any():
        raise AnalysisError(f"cell {cells['cell'][cells['cell'].duplicated()].iloc[0]}: is there twice")
    cells = cells.reset_index(drop=True)
    table = pa.table({name: _column(tasks[name]) for name in ("cell", "task", *METRICS)})
    return _score(cells, split(cells, table), criterion or LossCriterion())


def _column(values: pd.Series) -> pa.Array:
    """A column with NaN as NaN, not as null; lists of numbers as such."""
    if values.name not in LAYERED:
        return pa.array(values.to_numpy(), from_pandas=False)
    ends = np.cumsum([0, *values.map(len)])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(np.concatenate([*values, np.empty(0)])))


def _score(cells: pd.DataFrame, blocks: Iterable[Block], criterion: LossCriterion, slopes: bool = True) -> pd.DataFrame:
    parts = list(prefetch(lambda block: score_block(block, criterion, slopes), blocks, AT_ONCE))
    if cells.empty:
        empty = {name: np.empty((0, 1, 1) if name in LAYERED else (0, 1)) for name in METRICS}
        return score_block(Block(cells, empty), criterion, slopes)
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"cell": []})
    order = pd.Index(whole["cell"]).get_indexer(cells["cell"])
    if (order < 0).any():
        raise AnalysisError(f"cell {cells['cell'].iloc[(order < 0).argmax()]}: has no rows of tasks")
    return whole.iloc[order].reset_index(drop=True)


def score_block(block: Block, criterion: LossCriterion, slopes: bool = True) -> pd.DataFrame:
    """The scores of a block's cells; arguments and columns as in `score_sweep`."""
    cells, tasks = block.cells, block.metrics["final_ce"].shape[1]
    late, early = criterion.window(tasks), min(criterion.early, tasks)
    diverged = (cells["status"] == DIVERGED).to_numpy()
    fresh = cells["fresh_mean_ce"].to_numpy(float)
    metrics = {name: np.where(diverged[:, None], np.nan, block.of_network(name)) for name in METRICS}
    final = metrics["final_ce"]

    columns: dict[str, object] = {"late_tasks": late}
    columns |= {f"late_{name}": LATE.get(name, scores.late_mean)(values, late) for name, values in metrics.items()}
    columns |= {f"early_{name}": scores.early_mean(metrics[name], early) for name in METRIC_OF.values()}
    late_ce = scores.late_mean(final, late)
    median = cells["fresh_median_ce"].to_numpy(float)
    columns |= {"fresh_ce": fresh, "fresh_median_ce": median, "excess": late_ce - fresh}
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
    phase = phases(
        lost, enough_tasks | np.zeros_like(diverged), median, diverged, cells["fresh_baseline"].to_numpy(), criterion
    )
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
    marks = symptom_marks(metrics, thresholds)
    at = {name: scores.onset(there, criterion.hold) for name, there in marks.items()}
    first, lead = first_symptom(phase == "lost", onset, at)
    columns |= {f"{name}_at": task for name, task in at.items()}
    columns |= {f"{name}_at_risk": risk for name, risk in at_risk(thresholds).items()}
    columns |= {"first_symptom": np.where(decidable, first, "undefined"), "lead": lead}
    columns |= {"phase": phase, "lost": np.where(decidable, phase == "lost", np.nan)}
    configuration = cells[["cell", *FIELDS, "status"]].reset_index(drop=True)
    return pd.concat([configuration, pd.DataFrame(columns, index=configuration.index)], axis=1)


def symptom_thresholds(metrics: Mapping[str, np.ndarray], criterion: LossCriterion) -> dict[str, np.ndarray]:
    """What each network's measures must cross for a symptom.

    Args:
        measures: effective rank, duplicate fraction and saturation, each (n, T).
        rule: for how they follow from the early tasks.

    Returns:
        Name in `SYMPTOMS` to (n,), NaN where an early task is.
    """
    early = {name: scores.early_mean(metrics[metric], criterion.early) for name, metric in METRIC_OF.items()}
    return {
        "rank": criterion.rank * early["rank"],
        "duplicates": early["duplicates"] + criterion.duplicates,
        "saturation": early["saturation"] + criterion.saturation,
    }


def symptom_marks(metrics: Mapping[str, np.ndarray], thresholds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """At which tasks the rank is below its threshold, and the shares are above theirs.

    Args:
        measures: effective rank, duplicate fraction and saturation, each (n, T).
        thresholds: from `symptom_thresholds`.

    Returns:
        Name in `SYMPTOMS` to (n, T) booleans, False where a measure is NaN.
    """
    values = {name: metrics[metric] for name, metric in METRIC_OF.items()}
    return {
        name: values[name] < least[:, None] if name == "rank" else values[name] > least[:, None]
        for name, least in thresholds.items()
    }


def at_risk(thresholds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Which networks can have each symptom: the rank can be below its threshold, the shares above theirs.

    Args:
        thresholds: from `symptom_thresholds`.

    Returns:
        Name in `SYMPTOMS` to (n,) booleans, False where a threshold is NaN.
    """
    return {name: threshold > 1 if name == "rank" else threshold < 1 for name, threshold in thresholds.items()}


def first_symptom(lost: np.ndarray, onset: np.ndarray, at: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Which symptom came before the loss first, and by how many tasks.

    Args:
        lost: (n,) booleans; networks that did not lose plasticity have no first symptom, even if some tasks were bad.
        onset: (n,) onsets of the loss, NaN for never.
        at: for each of `SYMPTOMS` (n,) its first task, NaN for never.

    Returns:
        (n,) names in `FIRST`, without "undefined", and (n,) leads in tasks, NaN where no symptom came before.
    """
    tasks = np.stack([at[name] for name in SYMPTOMS])
    before = np.where(lost & (tasks < onset), tasks, np.inf)
    earliest = before.min(axis=0)
    ahead = np.isfinite(earliest)
    several = ahead & ((before == earliest).sum(axis=0) > 1)
    name = np.array(SYMPTOMS)[before.argmin(axis=0)]
    kinds = {
        "no loss": ~lost,
        "no onset seen": np.isnan(onset),
        "none before the loss": ~ahead,
        "several at once": several,
    }
    first = np.select(list(kinds.values()), list(kinds), name)
    return first, np.where(ahead, onset - earliest, np.nan)
