"""How often a symptom is there with and without a loss of plasticity: whether it tells anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.scoring.criterion import SYMPTOMS
from analysis.scoring.intervals import wilson
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, comma_list


def symptom_table(scored: pd.DataFrame, by: Sequence[str] | None = None) -> pd.DataFrame:
    """How many cells have each symptom, among those that lost plasticity and those that kept it.

    A symptom that most networks have, whether they lose plasticity or not, explains nothing, even if it always comes
    first. One that a network cannot have, because its early rank is near 1 or its early share too large for the
    threshold, is not counted against it: only networks at risk are.

    Args:
        scored: from `analysis.scoring.table.score_sweep`.
        by: configuration fields that divide the cells further.

    Returns:
        One row for each combination of `by`, `phase` ("lost" or "plastic") and `symptom`: `cells`, `at_risk`
        (how many of them could have it), `with_symptom`, `share` of those at risk with its 95% interval `low` and
        `high` (Wilson; NaN for none), `first` (how many have it as first symptom before the loss), `median_lead` (of
        these, tasks).

    Raises:
        AnalysisError: a name in `by` is no configuration field.
    """
    by = list(dict.fromkeys(by or ()))
    check_fields(by)
    decidable = scored[scored["lost"].notna()]
    keys = [*by, "phase"]
    rows = []
    for key, group in decidable.groupby(keys):
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


def check_fields(by: Sequence[str]) -> None:
    """Refuse fields that there are not, before anything is read.

    Raises:
        AnalysisError: a name is no configuration field.
    """
    unknown = [field for field in by if field not in FIELDS]
    if unknown:
        raise AnalysisError(f"{comma_list(unknown)}: no such configuration field; there are {comma_list(FIELDS)}")
