"""Symptoms of a loss of plasticity: where they begin, which comes first, and how often they occur without a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.data import check_fields, combinations
from analysis.scoring import scores
from analysis.scoring.criterion import SYMPTOMS, LossCriterion
from analysis.scoring.intervals import wilson
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.metrics import METRICS

METRIC_OF: Mapping[str, str] = {name: symptom.metric for name, symptom in SYMPTOMS.items()}
"""The metric that shows each of `SYMPTOMS`."""

_SHAPES = [name for name, info in FIELDS.items() if not info.packable]
"""The fields that set shapes, and with them the bounds of metrics."""

FIRST: tuple[str, ...] = (
    *SYMPTOMS, "several at once", "none before the loss", "no onset seen", "no loss", "undefined"
)  # fmt: skip
"""The values of `first_symptom`.

"several at once": several crossed their thresholds at the same task. "no onset seen": the cell has lost plasticity, but
not for `LossCriterion.hold` tasks in a row.
"""


def symptom_thresholds(metrics: Mapping[str, np.ndarray], criterion: LossCriterion) -> dict[str, np.ndarray]:
    """Return the values that each network's metrics must cross for a symptom.

    Args:
        metrics: the metrics in `METRIC_OF`, each (n, T).
        criterion: how thresholds follow from the early tasks.

    Returns:
        Name in `SYMPTOMS` to (n,), NaN where an early task is NaN.
    """
    early = {name: scores.early_mean(metrics[metric], criterion.early) for name, metric in METRIC_OF.items()}
    return {
        "rank": criterion.rank * early["rank"],
        "duplicates": early["duplicates"] + criterion.duplicates,
        "saturation": early["saturation"] + criterion.saturation,
    }


def symptom_marks(metrics: Mapping[str, np.ndarray], thresholds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return at which tasks each metric is beyond its threshold.

    Args:
        metrics: the metrics in `METRIC_OF`, each (n, T).
        thresholds: from `symptom_thresholds`.

    Returns:
        Name in `SYMPTOMS` to (n, T) booleans, False where a metric is NaN.
    """
    marks = {}
    for name, symptom in SYMPTOMS.items():
        values, threshold = metrics[symptom.metric], thresholds[name][:, None]
        marks[name] = values < threshold if symptom.falls else values > threshold
    return marks


def at_risk(thresholds: Mapping[str, np.ndarray], cells: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return which networks can have each symptom, because the metric's bounds lie beyond the threshold.

    Args:
        thresholds: from `symptom_thresholds`.
        cells: the n networks' configuration fields, on which the bounds depend.

    Returns:
        Name in `SYMPTOMS` to (n,) booleans, False where a threshold is NaN.
    """
    able = {}
    shape, found = combinations(cells, _SHAPES)
    configs = [CellConfig(**fields) for fields in found]
    for name, symptom in SYMPTOMS.items():
        bounds = np.array([METRICS[symptom.metric].bounds(config) for config in configs]).reshape(-1, 2)
        lowest, highest = bounds[shape].T
        able[name] = thresholds[name] > lowest if symptom.falls else thresholds[name] < highest
    return able


def first_symptom(lost: np.ndarray, onset: np.ndarray, at: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return which symptom came first before the loss, and by how many tasks.

    Args:
        lost: (n,) booleans. Networks that kept plasticity have no first symptom, even if some tasks were bad.
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
    name = np.array(list(SYMPTOMS))[before.argmin(axis=0)]
    kinds = {
        "no loss": ~lost,
        "no onset seen": np.isnan(onset),
        "none before the loss": ~ahead,
        "several at once": several,
    }
    first = np.select(list(kinds.values()), list(kinds), name)
    return first, np.where(ahead, onset - earliest, np.nan)


def symptom_table(scored: pd.DataFrame, by: Sequence[str] | None = None) -> pd.DataFrame:
    """Return how many cells have each symptom, among those that lost plasticity and those that kept it.

    A symptom that most networks have, whether they lose plasticity or not, explains nothing, even if it always comes
    first. Some networks cannot have a symptom, because their early rank is near 1 or their early share too large for
    the threshold. So shares are of the networks at risk.

    Args:
        scored: from `score`.
        by: configuration fields that divide the cells further.

    Returns:
        One row per combination of `by`, `verdict` ("lost" or "plastic") and `symptom`:

            cells            number of cells
            at_risk          how many of them could have the symptom
            with_symptom     how many have it
            share, low, high `with_symptom / at_risk` with its 95% interval (Wilson), NaN where none is at risk
            first            how many have it as first symptom before the loss
            median_lead      of these, in tasks

    Raises:
        AnalysisError: a name in `by` is not a configuration field.
    """
    by = list(dict.fromkeys(by or ()))
    check_fields(by)
    decidable = scored[scored["lost"].notna()]
    keys = [*by, "verdict"]
    rows = []
    for key, group in decidable.groupby(keys, observed=True):
        for symptom in SYMPTOMS:
            risk, number = int(group[f"{symptom}_at_risk"].sum()), int(group[f"{symptom}_at"].notna().sum())
            low, high = wilson(number, risk)
            first = group[group["first_symptom"] == symptom]
            rows.append(
                {
                    **dict(zip(keys, key, strict=True)), "symptom": symptom, "cells": len(group),
                    "at_risk": risk, "with_symptom": number, "share": number / risk if risk else np.nan,
                    "low": float(low), "high": float(high),
                    "first": len(first), "median_lead": first["lead"].median(),
                }
            )  # fmt: skip
    columns = [*keys, "symptom", "cells", "at_risk", "with_symptom", "share", "low", "high", "first", "median_lead"]
    return pd.DataFrame(rows, columns=columns)
