"""Scores of all cells of a sweep as one data frame.

The columns, one row per cell:

    cell, configuration fields, status
    late_tasks                    number of late tasks
    late_<metric>                 mean over the late tasks (and over layers); of gradients the median, because single
                                  tasks make up most of their mean; of controls over the late tasks that have one
    early_<metric>                mean over the early tasks, for the symptoms' metrics
    loss                          the metric that tells how well a task was learnt: "end_ce", or "final_ce" where that
                                  was not measured in all tasks. "CE" below is this one
    late_failures                 how many late tasks failed, see `LossCriterion`
    late_failure_rate             their share
    fresh_networks                fresh networks of all seeds of the configuration
    fresh_failures, fresh_failure_rate   how many of them failed; their share
    fresh_pooled_ce               their median CE, nats
    failure_p                     p value of Fisher's test: late tasks fail as rarely as fresh networks
    failure_high                  upper 95% bound of the late failure rate minus the fresh one
    late_ce                       mean CE of the late tasks, nats
    fresh_ce                      list: CE of each fresh network of this cell, nats
    fresh_mean_ce, fresh_median_ce     their mean and median, nats
    excess, ratio, log_ratio      late CE minus mean fresh CE; their ratio; log10 of the ratio
    slope, slope_low, slope_high  Theil-Sen slope of the CE over tasks and its 95% interval, nats per task
    onset                         first task of a loss: of `LossCriterion.hold` failed tasks in a row
    onset_status                  "observed", "censored" (not within these tasks) or "undefined"
    recovery                      first task of a recovery after an onset
    area_excess, area_ce          excess and CE summed over tasks, nats
    rank_collapse                 lost share of the early effective rank
    duplicates_growth, saturation_growth   late share minus early share
    rank_at, duplicates_at, saturation_at  first task of each symptom
    rank_at_risk, ...             whether the cell could have the symptom: see `LossCriterion`
    first_symptom                 the first symptom before the onset: one of `FIRST`
    lead                          tasks between the two
    excess_paired                 mean of CE minus the control's CE over the late tasks that have a control, nats. This
                                  and the next five only where cells have controls
    paired_tasks                  number of these tasks
    paired_worse, paired_better   how many of them failed against the control, and how often it failed against them
    paired_p                      p value of the sign test: neither is more frequent
    paired_high                   upper 95% bound of the difference of their shares
    verdict                         one of `analysis.scoring.criterion.VERDICTS`
    lost                          1.0, or 0.0 where the verdict is "plastic" or "undecided"; NaN for all others

All scores of a diverged cell are NaN, and so are those that need a baseline where there is none. `attrs` of the frame
has the criterion, the directory and the conditions that it was made with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.data import Block, Where, blocks_of, load_cells, select, split
from analysis.scoring import scores
from analysis.scoring.criterion import DECIDABLE, Findings, LossCriterion, make_criterion, verdicts
from analysis.scoring.exact import fisher
from analysis.scoring.failures import FreshPool, excess_bound, failed, rate_gap
from analysis.scoring.pairs import compare_pairs, excludes_loss, gap_bound, mean_difference, shows_loss, sign_test
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
from lop_sweep.metrics import METRICS, measured_with
from lop_sweep.prefetch import prefetch
from lop_sweep.storage import DIVERGED

MAX_BLOCKS = 4
"""Blocks scored at a time, in threads: NumPy releases Python's lock."""

_POOLED = ("fresh_pooled_ce", "fresh_networks", "fresh_failures")
"""What `with_fresh_pool` adds to cells: the median loss of the fresh networks of all seeds, their number, how many
failed."""

_LATE = {"mean": scores.late_mean, "median": scores.late_median}


def _late(name: str) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return how a metric's late tasks are summarised."""
    return scores.late_mean_of_known if METRICS[name].of_control else _LATE[METRICS[name].late_statistic]


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

    The store is read file by file, so memory grows with the cells, not with their tasks. A cell's verdict does not
    depend on `where`: the fresh networks of all seeds in the directory count.

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
    cells = select(with_fresh_pool(load_cells(directory), criterion), where or {})
    check_last(criterion, cells)
    return _score(cells, blocks_of(cells, directory), criterion, slopes)


@accepts_options(LossCriterion)
def score_cells(
    cells: pd.DataFrame, tasks: pd.DataFrame, *, criterion: LossCriterion | None = None, **thresholds: Any
) -> pd.DataFrame:
    """Score cells from frames in memory.

    Args:
        cells: from `load_cells`, or any frame with `cell`, the configuration fields, `status`, `fresh_ce`,
            `fresh_mean_ce` and `fresh_median_ce`. Fresh networks of all seeds of a configuration count together.
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
    every = [name for name, metric in METRICS.items() if not metric.optional]
    missing = [name for name in ("cell", "task", *every) if name not in tasks]
    if missing:
        raise AnalysisError(f"`tasks` lacks the columns {comma_list(missing)}; analysis.load_tasks loads all of them")
    if cells["cell"].duplicated().any():
        raise AnalysisError(f"`cells` has cell {cells['cell'][cells['cell'].duplicated()].iloc[0]} twice")
    cells = cells.reset_index(drop=True)
    present = [name for name in METRICS if name in tasks]
    table = pa.table({name: _column(tasks[name]) for name in ("cell", "task", *present)})
    criterion = make_criterion(criterion, thresholds)
    cells = with_fresh_pool(cells, criterion)
    return _score(cells, split(cells, table), criterion)


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
        empty = {name: np.empty((0, 1, 1) if METRICS[name].per_layer else (0, 1)) for name in measured_with()}
        whole = score_block(Block(cells, empty), criterion, slopes)
    else:
        whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"cell": []})
    order = pd.Index(whole["cell"]).get_indexer(cells["cell"])
    if (order < 0).any():
        raise AnalysisError(f"cell {cells['cell'].iloc[(order < 0).argmax()]}: has no rows of tasks")
    scored = whole.iloc[order].reset_index(drop=True)
    scored.attrs = {**cells.attrs, "criterion": asdict(criterion)}
    return scored


def with_fresh_pool(cells: pd.DataFrame, criterion: LossCriterion, pool: FreshPool | None = None) -> pd.DataFrame:
    """Return cells with what the fresh networks of all seeds of their configuration show, for `score_block`.

    Args:
        cells: from `load_cells`, with all seeds.
        criterion: when a fresh network has failed.
        pool: of these cells, where the caller has it.

    Returns:
        The cells with the columns of `_POOLED`.
    """
    pool = pool or FreshPool.of(cells)
    values = pool.medians, pool.sizes, pool.failures(criterion.margin, criterion.factor)
    return cells.assign(**{name: value[pool.group] for name, value in zip(_POOLED, values, strict=True)})


def judged_loss(block: Block) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss by which the tasks of a block are judged, and whether it is that after the last update.

    Returns:
        (n, T) nats, and (n,) booleans.
    """
    end, final = block.metrics["end_ce"], block.metrics["final_ce"]
    measured = ~(np.isnan(end) & ~np.isnan(final)).any(axis=1)
    return np.where(measured[:, None], end, final), measured


def control_loss(block: Block) -> np.ndarray:
    """Return the loss of the controls at the moment at which tasks are judged, (n, T) nats; NaN where there is none."""
    loss, measured = judged_loss(block)
    if "control_end_ce" not in block.metrics:
        return np.full_like(loss, np.nan)
    return np.where(measured[:, None], block.metrics["control_end_ce"], block.metrics["control_final_ce"])


def score_block(block: Block, criterion: LossCriterion, slopes: bool = True) -> pd.DataFrame:
    """Return the scores of a block's cells, which come from `with_fresh_pool`; arguments and columns as in `score`."""
    diverged = (block.cells["status"] == DIVERGED).to_numpy()
    loss, measured = judged_loss(block)
    loss = np.where(diverged[:, None], np.nan, loss)
    metrics = {name: np.where(diverged[:, None], np.nan, block.of_network(name)) for name in block.metrics}
    tasks = loss.shape[1]
    late, early = criterion.window(tasks), min(criterion.early, tasks)

    columns: dict[str, Any] = {"late_tasks": late, "loss": np.where(measured, "end_ce", "final_ce")}
    controls = np.where(diverged[:, None], np.nan, control_loss(block)) if "control_end_ce" in block.metrics else None
    slope = scores.theil_sen(loss) if slopes or criterion.definition == "trend" else None
    judged = judge(block.cells, loss, controls, criterion, slope)
    columns |= judged.failures
    columns |= {f"late_{name}": _late(name)(row, late) for name, row in metrics.items()}
    columns |= {f"early_{name}": scores.early_mean(metrics[name], early) for name in METRIC_OF.values()}
    columns |= judged.losses
    columns |= judged.pairs if controls is not None else {}
    if slopes and slope is not None:
        columns |= dict(zip(("slope", "slope_low", "slope_high"), slope, strict=True))

    bad, verdict = judged.failed, judged.verdict
    onset = scores.onset(bad, criterion.hold)
    recovery = scores.recovery(bad, onset, criterion.recover)
    decidable = np.isin(verdict, DECIDABLE)
    compared = decidable & np.isfinite(columns["fresh_pooled_ce"])  # onsets are against fresh networks
    onset, recovery = np.where(compared, onset, np.nan), np.where(compared, recovery, np.nan)
    observed = ~np.isnan(onset)
    columns |= {
        "onset": onset,
        "onset_status": np.select([~compared, observed], ["undefined", "observed"], "censored"),
        "recovery": recovery,
        "rank_collapse": scores.collapse(metrics["effective_rank"], early, late),
        "duplicates_growth": scores.growth(metrics["duplicate_fraction"], early, late),
        "saturation_growth": scores.growth(metrics["saturation"], early, late),
    }
    thresholds = symptom_thresholds(metrics, criterion)
    at = {name: scores.onset(marks, criterion.hold) for name, marks in symptom_marks(metrics, thresholds).items()}
    first, lead = first_symptom(verdict == "lost", onset, at)
    columns |= {f"{name}_at": task for name, task in at.items()}
    columns |= {f"{name}_at_risk": risk for name, risk in at_risk(thresholds, block.cells).items()}
    columns |= {"first_symptom": np.where(decidable, first, "undefined"), "lead": lead}
    columns |= {"verdict": verdict, "lost": np.where(decidable, verdict == "lost", np.nan)}
    configuration = block.cells[["cell", *FIELDS, "status"]].reset_index(drop=True)
    return pd.concat([configuration, pd.DataFrame(columns, index=configuration.index)], axis=1)


@dataclass(frozen=True)
class Judged:
    """What a criterion finds of n cells with T tasks.

    Attributes:
        verdict: (n,) names in `VERDICTS`.
        failed: (n, T) booleans, the tasks that failed.
        failures, losses, pairs: columns of scores.
    """

    verdict: np.ndarray
    failed: np.ndarray
    failures: dict[str, np.ndarray]
    losses: dict[str, Any]
    pairs: dict[str, np.ndarray]


def judge(
    cells: pd.DataFrame,
    loss: np.ndarray,
    controls: np.ndarray | None,
    criterion: LossCriterion,
    slope: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> Judged:
    """Return the verdicts of cells, from their losses alone.

    Args:
        cells: n rows from `with_fresh_pool`.
        loss: (n, T) the loss by which tasks are judged, nats; NaN where a cell has diverged.
        controls: (n, T) that of the controls, nats; NaN where there is none. None where no cell has one.
        criterion: when plasticity counts as lost.
        slope: the Theil-Sen slope of each cell's losses with its interval, where the caller has it.
    """
    tasks = loss.shape[1]
    late = criterion.window(tasks)
    failures, losses = _failures(cells, loss[:, -late:], criterion), _losses(cells, loss, late)
    pairs = {}
    if controls is not None or criterion.definition == "paired":
        controls = (np.full_like(loss, np.nan) if controls is None else controls)[:, -late:]
        pairs = _pairs(loss[:, -late:], controls, criterion)
    bad = failed(loss, failures["fresh_pooled_ce"], criterion.margin, criterion.factor)
    number, baseline = cells["fresh_baseline"].to_numpy(), failures["fresh_pooled_ce"]
    if criterion.definition == "paired":
        found = _by_pairs(pairs, criterion)
        number, baseline = pairs["paired_tasks"], scores.median_of_known(controls)  # type: ignore[arg-type]
    elif criterion.definition == "rate":
        found = _by_rates(failures, late, criterion)
    elif criterion.definition == "mean":
        lost = failed(losses["late_ce"][:, None], losses["fresh_mean_ce"], criterion.margin, criterion.factor)[:, 0]
        found = Findings(lost, ~lost, np.ones_like(lost))
    elif criterion.definition == "onset":
        lost = scores.lost_state(bad, criterion.hold, criterion.recover)[:, -1]
        found = Findings(lost, ~lost, np.full_like(lost, tasks >= criterion.hold))
    else:
        middle, low, _ = scores.theil_sen(loss) if slope is None else slope
        lost = (low > 0) & (middle * (tasks - 1) > criterion.margin)
        found = Findings(lost, ~lost, ~np.isnan(low))
    return Judged(verdicts(cells, number, baseline, found, criterion), bad, failures, losses, pairs)


def _failures(cells: pd.DataFrame, late: np.ndarray, criterion: LossCriterion) -> dict[str, np.ndarray]:
    """Return the columns on failures; `late` has the losses of the late tasks, (n, m)."""
    pooled, networks, fresh = (cells[name].to_numpy(float) for name in _POOLED)
    bad = failed(late, pooled, criterion.margin, criterion.factor)
    known = ~np.isnan(late).any(axis=1) & (networks > 0) & np.isfinite(pooled)
    m = late.shape[1]
    k = np.where(known, bad.sum(axis=1), np.nan)
    whole = np.where(known, k, 0).astype(int), m, fresh.astype(int), networks.astype(int)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = fresh / networks
    return {
        "late_failures": k,
        "late_failure_rate": k / m,
        "fresh_networks": networks.astype(int),
        "fresh_failures": fresh.astype(int),
        "fresh_failure_rate": rate,
        "fresh_pooled_ce": pooled,
        "failure_p": np.where(known, fisher(*whole), np.nan),
        "failure_high": np.where(known, excess_bound(*whole), np.nan),
    }


def _by_rates(columns: Mapping[str, np.ndarray], late: int, criterion: LossCriterion) -> Findings:
    """Return what the definition "rate" finds, with `late` late tasks."""
    gap = rate_gap(columns["late_failures"], late, columns["fresh_failures"], columns["fresh_networks"])
    lost = (columns["failure_p"] < criterion.alpha) & (gap >= criterion.difference)
    return Findings(lost, ~lost & (columns["failure_high"] < criterion.difference), np.ones_like(lost))


def _pairs(late: np.ndarray, controls: np.ndarray, criterion: LossCriterion) -> dict[str, np.ndarray]:
    """Return the columns on pairs; `late` and `controls` have the losses of the late tasks, (n, m)."""
    pairs, worse, better = compare_pairs(late, controls, criterion.margin, criterion.factor)
    known = pairs > 0
    return {
        "excess_paired": mean_difference(late, controls),
        "paired_tasks": pairs,
        "paired_worse": np.where(known, worse, np.nan),
        "paired_better": np.where(known, better, np.nan),
        "paired_p": np.where(known, sign_test(worse, better), np.nan),
        "paired_high": gap_bound(pairs, worse, better),
    }


def _by_pairs(pairs: Mapping[str, np.ndarray], criterion: LossCriterion) -> Findings:
    """Return what the definition "paired" finds."""
    names = ("paired_tasks", "paired_worse", "paired_better")
    m, worse, better = (np.nan_to_num(pairs[name]).astype(int) for name in names)
    lost = shows_loss(m, worse, better, criterion.alpha, criterion.difference)
    return Findings(lost, ~lost & excludes_loss(m, worse, better, criterion.difference), np.ones_like(lost))


def _losses(cells: pd.DataFrame, loss: np.ndarray, late: int) -> dict[str, Any]:
    """Return the columns on losses in nats; `loss` is (n, T)."""
    late_ce, fresh = scores.late_mean(loss, late), cells["fresh_mean_ce"].to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = late_ce / fresh
    return {
        "late_ce": late_ce,
        "fresh_ce": list(cells["fresh_ce"]),
        "fresh_mean_ce": fresh,
        "fresh_median_ce": cells["fresh_median_ce"].to_numpy(float),
        "excess": late_ce - fresh,
        "ratio": ratio,
        "log_ratio": scores.log_ratio(late_ce, fresh),
        "area_excess": scores.area(loss - fresh[:, None]),
        "area_ce": scores.area(loss),
    }
