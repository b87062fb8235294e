"""The sequences of a report: how finely they are kept, and what is kept of each block of cells."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.data import Block
from analysis.plot import VALUES
from analysis.report.encoding import Column, block_means, single, to_bfloat16
from analysis.scoring import (
    METRIC_OF,
    LossCriterion,
    control_loss,
    judged_loss,
    score_block,
    symptom_marks,
    symptom_thresholds,
)
from lop_sweep.metrics import METRICS
from lop_sweep.storage import DIVERGED

MAIN_METRIC = "end_ce"
"""The metric whose place on the page the loss takes that tasks are judged by, see `analysis.scoring.judged_loss`."""

MAX_EXACT_ROWS = 100_000
"""Rows (cells times tasks) up to which these losses are kept as float64 and the other metrics as float32."""

MAX_FULL_ROWS = 1_500_000
"""Rows up to which the loss of every task is kept; above, only means over blocks of tasks."""

MAX_CURVE_VALUES, MIN_CURVE_BLOCKS = 200_000, 20
MAX_LAYER_VALUES, MIN_LAYER_BLOCKS = 400_000, 4
"""Values per metric over all cells, and blocks of tasks per cell, which take precedence."""

_COMPUTED_ON_PAGE = frozenset(
    [
        "lost",
        "excess",
        "excess_paired",
        "ratio",
        "log_ratio",
        "late_failure_rate",
        "fresh_failure_rate",
        "onset",
        "recovery",
        "rank_collapse",
        "duplicates_growth",
        "saturation_growth",
    ]
)
"""Scores that follow the page's thresholds. All others are shown as under the report's criterion."""

_FOR_SURFACES = ("verdict", "lost", "late_failures", "late_tasks")
"""Scores from which surfaces are fitted."""


@dataclass(frozen=True)
class Resolution:
    """How finely sequences are kept.

    Attributes:
        loss: largest number of blocks per cell of the loss that tasks are judged by; 0 for every task.
        curves: largest number of blocks per cell of the other metrics, means over layers.
        layers: largest number of blocks per cell and layer.
        exact: whether numbers keep their precision.
    """

    loss: int
    curves: int
    layers: int
    exact: bool

    @classmethod
    def of(cls, cells: pd.DataFrame) -> Resolution:
        """Choose the resolution for these cells, so that the file stays small."""
        rows, layers = int(cells["tasks"].sum()), int(cells["depth"].sum())
        return cls(
            loss=0 if rows <= MAX_FULL_ROWS else max(MIN_CURVE_BLOCKS, MAX_FULL_ROWS // len(cells)),
            curves=max(MIN_CURVE_BLOCKS, MAX_CURVE_VALUES // len(cells)),
            layers=max(MIN_LAYER_BLOCKS, MAX_LAYER_VALUES // layers),
            exact=rows <= MAX_EXACT_ROWS,
        )


def keep(block: Block, criterion: LossCriterion, resolution: Resolution) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Return the cells of a block with the columns of `_FOR_SURFACES`, and the report's arrays of them, each flat.

    Raises:
        AnalysisError: the criterion does not fit the cells.
    """
    scored = score_block(block, criterion)
    kept = {name: scored[name].to_numpy(float) for name in _score_columns(block.metrics)}
    finished = (block.cells["status"] != DIVERGED).to_numpy()[:, None]
    metrics = {name: block.of_network(name) for name in METRIC_OF.values()}
    marks = symptom_marks(metrics, symptom_thresholds(metrics, criterion))
    kept |= {f"symptom.{name}": (present & finished).ravel() for name, present in marks.items()}
    loss, _ = judged_loss(block)
    loss = (block_means(loss, resolution.loss) if resolution.loss else loss).ravel()
    kept["loss"] = loss if resolution.exact else single(loss)
    if "control_end_ce" in block.metrics and not resolution.loss:
        controls = np.where(finished, control_loss(block), np.nan).ravel()
        kept["control"] = controls if resolution.exact else single(controls)
    for name in block.metrics:
        if name != MAIN_METRIC:
            means = block_means(block.of_network(name), resolution.curves, METRICS[name].of_control)
            kept[f"curve.{name}"] = single(means.ravel())
        if METRICS[name].per_layer:
            kept[f"layer.{name}"] = single(block_means(block.metrics[name], resolution.layers).ravel())
    return block.cells.assign(**{name: scored[name].to_numpy() for name in _FOR_SURFACES}), kept


def encode(series: Mapping[str, np.ndarray], resolution: Resolution) -> dict[str, Column]:
    """Convert arrays from `keep` to the formats of the page."""
    encoded: dict[str, Column] = {}
    for name, values in series.items():
        if name.startswith("symptom."):
            encoded[name] = np.packbits(values, bitorder="little")
        elif name.startswith(("curve.", "layer.")) and not resolution.exact:
            encoded[name] = to_bfloat16(values)
        else:
            encoded[name] = values
    return encoded


def _score_columns(metrics: Collection[str]) -> list[str]:
    """Return the scores that the page does not compute itself, and late metrics under the report's criterion."""
    late = [f"late_{name}" for name in metrics]
    early = [f"early_{name}" for name in METRIC_OF.values()]
    columns = [
        *late,
        *early,
        "late_failures",
        "slope_low",
        *(value.column for value in VALUES.values() if value.is_measured(metrics)),
    ]
    return [name for name in dict.fromkeys(columns) if name not in _COMPUTED_ON_PAGE]
