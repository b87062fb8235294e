"""How often a symptom is there with and without a loss of plasticity: whether it tells anything."""

from __future__ import annotations

import pandas as pd

from analysis.rule import SYMPTOMS
from analysis.uncertainty import wilson
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, named


def symptom_table(scored: pd.DataFrame, by: list[str] | None = None) -> pd.DataFrame:
    """How many cells have each symptom, among those that lost plasticity and those that kept it.

    A symptom that most networks have, whether they lose plasticity or not, explains nothing, even if it always comes
    first.

    Args:
        scored: from `analysis.scoring.score_sweep`.
        by: configuration fields that divide the cells further.

    Returns:
        One row for each combination of `by`, `phase` ("lost" or "plastic") and `symptom`: `cells`, `with_symptom`,
        `share` with its 95% interval `low` and `high` (Wilson), `first` (how many have it as first symptom before the
        loss), `median_lead` (of these, tasks).

    Raises:
        AnalysisError: a name in `by` is no configuration field.
    """
    unknown = [field for field in by or () if field not in FIELDS]
    if unknown:
        raise AnalysisError(f"{named(unknown)}: no such configuration field; there are {named(FIELDS)}")
    judged = scored[scored["lost"].notna()]
    keys = [*(by or []), "phase"]
    rows = []
    for key, group in judged.groupby(keys):
        for symptom in SYMPTOMS:
            number = int(group[f"{symptom}_at"].notna().sum())
            low, high = wilson(number, len(group))
            first = group[group["first_symptom"] == symptom]
            rows.append(
                {
                    **dict(zip(keys, key, strict=True)), "symptom": symptom, "cells": len(group),
                    "with_symptom": number, "share": number / len(group), "low": float(low), "high": float(high),
                    "first": len(first), "median_lead": first["lead"].median(),
                }
            )  # fmt: skip
    columns = [*keys, "symptom", "cells", "with_symptom", "share", "low", "high", "first", "median_lead"]
    return pd.DataFrame(rows, columns=columns)
