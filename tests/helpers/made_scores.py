"""Made-up scores with failure counts, onsets and symptoms, from known probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.scoring import SYMPTOMS, with_criterion
from lop_sweep.config import CellConfig

LATE, FRESH = 25, 160


def scores_of(rows: Sequence[dict[str, Any]], **thresholds: Any) -> pd.DataFrame:
    """Return a frame as from `score`, from made-up rows; what a row leaves out follows from `lost` and `onset`."""
    symptoms: dict[str, Any] = {}
    for name in SYMPTOMS:
        symptoms |= {f"{name}_at": np.nan, f"{name}_at_risk": True}
    base = {
        **CellConfig().model_dump(), "loss": "end_ce", "late_tasks": LATE, "late_failures": 0.0,
        "fresh_networks": FRESH, "fresh_failures": 0.0, "fresh_failure_rate": 0.0, "lost": 0.0, "onset": np.nan,
        "recovery": np.nan, **symptoms,
        "first_symptom": "no loss", "lead": np.nan,
    }  # fmt: skip
    frame = pd.DataFrame([{**base, "cell": f"{i:016x}", **row} for i, row in enumerate(rows)])
    names = np.select([frame["lost"] > 0, frame["lost"] == 0], ["lost", "plastic"], "untrainable")
    status = np.select([frame["lost"].isna(), frame["onset"].notna()], ["undefined", "observed"], "censored")
    frame = frame.assign(late_failure_rate=frame["late_failures"] / frame["late_tasks"])
    frame["verdict"] = frame.get("verdict", names)
    frame["onset_status"] = status
    return with_criterion(frame, **{"hold": 1, **thresholds})


def sweep_of(
    rate: Callable[[dict[str, Any]], float],
    rng: np.random.Generator,
    seeds: int = 8,
    spread: float = 0.0,
    **axes: Sequence[Any],
) -> pd.DataFrame:
    """Return a sweep over axes whose late tasks fail at known rates; a network is lost above 30% of failures.

    Args:
        rate: the failure rate of a configuration.
        rng: draws everything.
        seeds: number of seeds.
        spread: standard deviation of the seeds' effects, in log odds, the same at all configurations.
        axes: field to its values.
    """
    grid: list[dict[str, Any]] = [{}]
    for name, values in axes.items():
        grid = [{**point, name: value} for point in grid for value in values]
    effects = rng.normal(0, spread, seeds) if spread else np.zeros(seeds)
    rows = []
    for point in grid:
        p = np.clip(rate(point), 1e-9, 1 - 1e-9)
        for seed, effect in enumerate(effects):
            odds = p / (1 - p) * np.exp(effect)
            k = rng.binomial(LATE, odds / (1 + odds))
            rows.append({**point, "seed": seed, "late_failures": float(k), "lost": float(k > 0.3 * LATE)})
    return scores_of(rows)


def times(onsets: Sequence[float], ends: Sequence[int], **fields: Any) -> pd.DataFrame:
    """Return scores with these onsets, NaN for censored ones, and these numbers of tasks."""
    rows = [
        {"seed": seed, "onset": onset, "tasks": end, "lost": float(not np.isnan(onset)), **fields}
        for seed, (onset, end) in enumerate(zip(onsets, ends, strict=True))
    ]
    return scores_of(rows)
