"""Which axes move the share of failed tasks, or of lost networks: binomial regression, and how the edge collapses.

    k of m    failed late tasks of a cell, or its verdict (m = 1)
    term      one regressor: a field, its logarithm, d', the indicator of a category, or a product of these
    d'        delta / sqrt(spread^2 + sigma^2), how far the classes are apart
    cluster   the cells of one seed

The model is logit P(failure) = intercept + sum of coefficient * term. Numbers are centred, so that a main effect is the
one at the middle of the other axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.data import format_value, is_category, levels
from analysis.scoring import LEVEL
from analysis.statistics.frames import comparable_fields, counted, quiet, response_of, t_interval
from analysis.statistics.logistic import separated
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, comma_list

LOGARITHMIC: tuple[str, ...] = ("lr", "width", "steps", "samples")
"""Fields that enter a default model as a logarithm: their effects are factors."""

CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "log lr": ("log lr",),
    "log depth": ("log depth",),
    "log width": ("log width",),
    "log lr + log depth": ("log lr", "log depth"),
    "log (lr x depth)": ("log lr*depth",),
    "log lr x log depth": ("log lr", "log depth", "log lr:log depth"),
    "delta": ("delta",),
    "sigma": ("sigma",),
    "d'": ("d'",),
    "delta + sigma": ("delta", "sigma"),
    "log lr + d'": ("log lr", "d'"),
    "log lr + log depth + d'": ("log lr", "log depth", "d'"),
    "log lr x d'": ("log lr", "d'", "log lr:d'"),
    "log lr x log depth + d'": ("log lr", "log depth", "log lr:log depth", "d'"),
}
"""Combinations of axes that `collapse` compares, by name; those that do not vary are left out."""

_NEEDS = "this needs statsmodels, which is not installed: pip install 'lop-sweep[statistics]'"
_MAX_ODDS = 700.0


def regression(
    scored: pd.DataFrame,
    terms: Sequence[str] | None = None,
    *,
    response: str | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Fit a binomial regression with seeds as clusters.

    Standard errors are cluster-robust (a sandwich over seeds), so neither that tasks of one network fail together nor
    that one seed means the same tasks everywhere makes them too small. Intervals use Student's quantiles with one
    degree of freedom less than there are seeds. With few seeds they are still somewhat narrow.

    Args:
        scored: from `score`.
        terms: the regressors: a field ("delta"), "log FIELD", "d'", "log FIELD*FIELD" (of the product), or several of
            these joined by ":" for an interaction. A category stands for the indicators of its values but the first.
            None for all fields that vary, those of `LOGARITHMIC` as logarithms. Terms that do not vary are left out.
        response: one of `RESPONSES`; None for failures where the frame has them.
        level: of the intervals.

    Returns:
        One row per term, the intercept first: `term`, `coefficient` (log odds per unit), `error`, `t`, `p`, `low`,
        `high`, `odds_ratio`, `reason`. A coefficient without a finite estimate has NaN and a reason. `attrs` has
        `response`, `cells`, `seeds`, `deviance`, `null_deviance` and `df`.

    Raises:
        AnalysisError: statsmodels is not installed, a term is unknown, no term varies, or a term is a combination of
            others.

    Source: Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73 (1986).
    """
    frame = counted(scored, response)
    columns = design(frame, default_terms(frame) if terms is None else terms)
    if not columns:
        raise AnalysisError("no term varies between cells, so there is no effect to estimate; relax --where")
    X = np.column_stack([np.ones(len(frame)), *columns.values()])
    _check_rank(X, list(columns))
    k, m = frame["successes"].to_numpy(float), frame["trials"].to_numpy(float)
    seeds = pd.factorize(frame["seed"])[0]
    count = int(seeds.max()) + 1
    fitted = _fit(X, k, m, seeds if count > 1 else None)
    null = _fit(X[:, :1], k, m, None)
    names = ["intercept", *columns]
    infinite = separated(X, k, m) if 0 < k.sum() < m.sum() else np.ones(len(names), bool)
    error = np.sqrt(np.clip(np.diag(fitted.cov_params()), 0, None)) if count > 1 else np.full(len(names), np.nan)
    table = _coefficients(names, np.where(infinite, np.nan, fitted.params), error, count - 1, level)
    few = "" if count > len(names) else "few seeds for so many terms: errors are too small"
    few = few if count > 1 else "one seed: no error"
    none = {0.0: "no failures", m.sum(): "failures only"}.get(k.sum(), "separated: no finite estimate")
    table["reason"] = np.where(infinite, none, few)
    table.attrs = {
        "response": response_of(scored, response), "cells": len(frame), "seeds": count,
        "deviance": float(fitted.deviance), "null_deviance": float(null.deviance), "df": len(frame) - len(names),
    }  # fmt: skip
    return table


def collapse(
    scored: pd.DataFrame,
    candidates: Mapping[str, Sequence[str]] | None = None,
    *,
    response: str | None = None,
) -> pd.DataFrame:
    """Compare combinations of axes by how well they explain where plasticity is lost.

    The smaller the deviance for as few coefficients, the better the edges of all slices fall onto one.

    Args:
        scored: from `score`.
        candidates: name to terms as in `regression`; None for those of `CANDIDATES` whose fields vary.
        response: one of `RESPONSES`; None for failures where the frame has them.

    Returns:
        One row per candidate, the smallest AIC first: `candidate`, `coefficients` (without the intercept), `deviance`,
        `explained` (share of the null deviance), `aic`, `half` (the value of a single regressor at probability 1/2,
        e to its power for a logarithm), `reason`. The first row without regressors is "nothing".

    Raises:
        AnalysisError: statsmodels is not installed, a term is unknown, or no candidate varies.
    """
    frame = counted(scored, response)
    k, m = frame["successes"].to_numpy(float), frame["trials"].to_numpy(float)
    ones = np.ones((len(frame), 1))
    null = _fit(ones, k, m, None)
    rows = [_candidate_row("nothing", 0, null, null, np.nan, "")]
    for name, terms in (CANDIDATES if candidates is None else candidates).items():
        columns = design(frame, terms, centred=False)
        if len(columns) < len(terms):
            if candidates is not None:
                reason = "does not vary"
                rows.append({**_candidate_row(name, len(terms), null, null, np.nan, reason), "deviance": np.nan,
                             "explained": np.nan, "aic": np.nan})  # fmt: skip
            continue
        X = np.column_stack([ones, *columns.values()])
        if np.linalg.matrix_rank(_scaled(X)) < X.shape[1]:
            continue  # the same as a shorter candidate
        fitted = _fit(_scaled(X), k, m, None)
        half, reason = np.nan, ""
        if separated(_scaled(X), k, m).any():
            reason = "separated: explains every cell"
        elif X.shape[1] == 2:
            beta = _fit(X, k, m, None).params
            half = float(-beta[0] / beta[1])
            half = float(np.exp(half)) if terms[0].startswith("log ") and abs(half) < _MAX_ODDS else half
        rows.append(_candidate_row(name, X.shape[1] - 1, fitted, null, half, reason))
    if len(rows) == 1:
        raise AnalysisError("none of these axes varies between cells, so there is nothing to collapse; relax --where")
    return pd.DataFrame(rows).sort_values("aic", kind="stable", ignore_index=True)


def default_terms(frame: pd.DataFrame) -> list[str]:
    """Return the terms of the default model: all fields that vary but the seed, some of them as logarithms."""
    fields = [field for field in comparable_fields(frame) if field != "seed" and frame[field].nunique() > 1]
    return [f"log {field}" if field in LOGARITHMIC else field for field in fields]


def design(frame: pd.DataFrame, terms: Sequence[str], *, centred: bool = True) -> dict[str, np.ndarray]:
    """Return the regressors of some terms, without those that do not vary.

    Args:
        frame: n cells with the configuration fields.
        terms: as in `regression`.
        centred: whether to subtract the mean of each factor.

    Returns:
        Name to (n,). A category gives one per value but the first, "activation = relu".

    Raises:
        AnalysisError: a term is unknown, or is the logarithm of a number that is not positive.
    """
    columns: dict[str, np.ndarray] = {}
    for term in terms:
        products: dict[str, np.ndarray] = {"": np.ones(len(frame))}
        for factor in term.split(":"):
            made = _factor(frame, factor.strip(), centred)
            products = {
                f"{name}:{other}" if name else other: values * more
                for name, values in products.items()
                for other, more in made.items()
            }
        columns |= {name: values for name, values in products.items() if np.ptp(values) > 0}
    return columns


def sharpness(frame: pd.DataFrame) -> np.ndarray:
    """Return d' = delta / sqrt(spread^2 + sigma^2) of each cell, (n,); NaN where both are 0."""
    delta, spread, sigma = (frame[name].to_numpy(float) for name in ("delta", "spread", "sigma"))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = delta / np.hypot(spread, sigma)
    return np.where(np.isfinite(value), value, np.nan)


def _factor(frame: pd.DataFrame, name: str, centred: bool) -> dict[str, np.ndarray]:
    if name == "d'":
        values = sharpness(frame)
        if np.isnan(values).any():
            raise AnalysisError("d' is undefined for cells with spread = sigma = 0; leave them out with --where")
        return {name: values - values.mean() * centred}
    logarithm = name.startswith("log ")
    fields = name.removeprefix("log ").split("*") if logarithm else [name]
    for field in fields:
        if field not in FIELDS or field == "seed" or field not in frame:
            raise AnalysisError(
                f"unknown term {name!r}; write a field, 'log FIELD', 'log FIELD*FIELD', \"d'\", or several joined by "
                f"':'; fields: {comma_list(one for one in FIELDS if one != 'seed')}"
            )
    column = frame[fields[0]]
    if is_category(column):
        if logarithm:
            raise AnalysisError(f"term {name!r}: {fields[0]} has names for values, which have no logarithm")
        shares = {value: (column == value).to_numpy(float) for value in levels(column)[1:]}
        return {
            f"{name} = {format_value(value)}": share - share.mean() * centred for value, share in shares.items()
        } or {name: np.zeros(len(frame))}
    values = np.prod([frame[field].to_numpy(float) for field in fields], axis=0)
    if logarithm:
        if (values <= 0).any():
            raise AnalysisError(f"term {name!r}: must be positive in all cells; use the field itself")
        values = np.log(values)
    return {name: values - values.mean() * centred}


def _check_rank(X: np.ndarray, names: list[str]) -> None:
    rank = 1
    for number, name in enumerate(names):
        if np.linalg.matrix_rank(_scaled(X[:, : number + 2])) == rank:
            raise AnalysisError(
                f"term {name!r} follows from the other terms, so its effect has no estimate; leave it out"
            )
        rank += 1


def _scaled(X: np.ndarray) -> np.ndarray:
    """Return columns centred and scaled to one standard deviation; the first, constant one as it is."""
    rest = X[:, 1:] - X[:, 1:].mean(axis=0)
    return np.column_stack([X[:, :1], rest / rest.std(axis=0)])


def _fit(X: np.ndarray, k: np.ndarray, m: np.ndarray, clusters: np.ndarray | None) -> Any:
    """Return the results of statsmodels' GLM; its warnings are about separation, which is reported as a reason."""
    try:
        from statsmodels.genmod.families import Binomial
        from statsmodels.genmod.generalized_linear_model import GLM
    except ImportError:
        raise AnalysisError(_NEEDS) from None
    settings: dict[str, Any] = {}
    if clusters is not None:
        settings = {"cov_type": "cluster", "cov_kwds": {"groups": clusters}}
    with quiet():
        return GLM(np.column_stack([k, m - k]), X, family=Binomial()).fit(maxiter=100, **settings)


def _coefficients(
    names: list[str], estimate: np.ndarray, error: np.ndarray, freedom: int, level: float
) -> pd.DataFrame:
    from scipy.stats import t

    with quiet():
        error = np.where(np.isnan(estimate), np.nan, error)
        ratio = estimate / error
        low, high = t_interval(estimate, error, freedom, level)
        p = 2 * t.sf(np.abs(ratio), freedom) if freedom > 0 else np.full(len(names), np.nan)
        odds = np.exp(estimate)
    values = {"coefficient": estimate, "error": error, "t": ratio, "p": p, "low": low, "high": high}
    return pd.DataFrame({"term": names, **values, "odds_ratio": odds})


def _candidate_row(name: str, coefficients: int, fitted: Any, null: Any, half: float, reason: str) -> dict[str, Any]:
    deviance = float(fitted.deviance)
    return {
        "candidate": name, "coefficients": coefficients, "deviance": deviance,
        "explained": 1 - deviance / null.deviance if null.deviance > 0 else np.nan,
        "aic": deviance + 2 * (coefficients + 1), "half": half, "reason": reason,
    }  # fmt: skip
