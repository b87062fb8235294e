"""One cell in the form of the single-file script that the protocol grew from: its flags, its CSV and its summary.

Only names live here; the numbers come from `lop_sweep.experiment.experiment` or `lop_sweep.experiment.reference`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lop_sweep.metrics import TaskRow, stack_metrics

_SCALARS = {"min_CE": "min_ce", "final_CE": "final_ce", "sat": "saturation", "grad_norm": "grad_norm"}
_LAYERED = {"eff_rank": "effective_rank", "dup_frac": "duplicate_fraction"}


def results_frame(rows: list[TaskRow]) -> pd.DataFrame:
    """The results of a single cell, as `script_frame`."""
    return script_frame({name: values[:, 0] for name, values in stack_metrics(rows).items()})


def script_frame(history: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """One row a task, with the script's columns in the script's order.

    Args:
        history: measure name to (tasks,), or (tasks, depth) for the layered ones.
    """
    columns = {"task": np.arange(1, len(history["min_ce"]) + 1)}
    columns |= {name: history[metric] for name, metric in _SCALARS.items()}
    for name, metric in _LAYERED.items():
        columns |= {f"{name}_L{layer}": values for layer, values in enumerate(history[metric].T)}
    return pd.DataFrame(columns)


def summarise(results: pd.DataFrame, fresh_ce: np.ndarray) -> dict[str, float | None]:
    """The script's summary of a results frame and the fresh baseline, with the script's keys in the script's order.

    None (JSON's null) stands for what is undefined: everything of a diverged cell, and the baseline where it is off.
    """

    def mean(column: str) -> float:
        return float(results[column].mean(skipna=False))

    def median(column: str) -> float:
        return float(results[column].median(skipna=False))

    summary = {
        "mean_min_CE": mean("min_CE"),
        "median_min_CE": median("min_CE"),
        "mean_final_CE": mean("final_CE"),
        "median_final_CE": median("final_CE"),
        "mean_saturation": mean("sat"),
        "mean_hidden_grad_norm": mean("grad_norm"),
        "fresh_mean_final_CE_on_late": float(np.mean(fresh_ce)) if fresh_ce.size else np.nan,
        "fresh_median_final_CE_on_late": float(np.median(fresh_ce)) if fresh_ce.size else np.nan,
    }
    depth = sum(column.startswith("eff_rank_L") for column in results.columns)
    for layer in range(depth):
        for name in _LAYERED:
            column = f"{name}_L{layer}"
            summary |= {f"mean_{column}": mean(column), f"median_{column}": median(column)}
    return {key: None if np.isnan(value) else value for key, value in summary.items()}
