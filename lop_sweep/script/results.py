"""One cell's results in the form of the single-file script that the protocol grew from: its CSV and its summary.

Only names are defined here. The numbers come from `lop_sweep.experiment`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lop_sweep.metrics import METRICS, TaskRow, stack_metrics
from lop_sweep.script.columns import SCRIPT_METRICS


def results_frame(rows: Sequence[TaskRow]) -> pd.DataFrame:
    """Return the rows of a single cell in the form of `script_frame`."""
    return script_frame({name: values[:, 0] for name, values in stack_metrics(rows).items()})


def script_frame(history: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return one row per task, with the script's columns in the script's order, and then those of optional metrics.

    Args:
        history: metric name to (tasks,), or (tasks, depth) for those per layer.
    """
    columns = {"task": np.arange(1, len(history["min_ce"]) + 1)}
    for one in SCRIPT_METRICS:
        values = history[one.name]
        by_column = values.T if one.metric.per_layer else [values]
        columns |= dict(zip(one.columns(len(by_column)), by_column, strict=True))
    for name, values in history.items():
        if METRICS[name].optional and METRICS[name].per_layer:
            columns |= {f"{name}_L{layer}": column for layer, column in enumerate(values.T)}
        elif METRICS[name].optional:
            columns[name] = values
    return pd.DataFrame(columns)


def summarise(results: pd.DataFrame, fresh_ce: np.ndarray) -> dict[str, float | None]:
    """Return the script's summary of a results frame and the fresh baseline, with the script's keys in its order.

    Undefined values are None (JSON's null): all of a diverged cell, and the baseline's if it is off.
    """
    summary: dict[str, float] = {}
    by_layer: list[dict[str, float]] = []
    for one in SCRIPT_METRICS:
        columns = one.columns_in(results.columns)
        by_column = [
            {key.format(column): float(results[column].agg(statistic, skipna=False)) for statistic, key in one.summary}
            for column in columns
        ]
        if one.metric.per_layer:
            by_layer = [
                {**before, **now} for before, now in zip(by_layer or [{}] * len(columns), by_column, strict=True)
            ]
        else:
            summary |= by_column[0]
    summary["fresh_mean_final_CE_on_late"] = float(np.mean(fresh_ce)) if fresh_ce.size else np.nan
    summary["fresh_median_final_CE_on_late"] = float(np.median(fresh_ce)) if fresh_ce.size else np.nan
    for layer in by_layer:
        summary |= layer
    return {key: None if np.isnan(value) else value for key, value in summary.items()}
