"""How far a result depends on the definition of "lost": the same cells, scored by every combination of thresholds.

specification    one combination of a definition and thresholds, or one named criterion
edge             the learning rate at which the probability of a loss is 1/2
reference        the specification that the others are compared with, by default the first
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics.frames import bootstrap_interval, cluster_weights, quiet, require, strata, verdict_column
from analysis.statistics.logistic import TOO_SHARP, firth, is_sharp
from lop_sweep.errors import AnalysisError, comma_list

MAX_SPECIFICATIONS = 500
RESAMPLES = 400
_MAX_FLAT = 0.05
_MAX_LOG = 700.0

Scorer = Callable[..., pd.DataFrame]
"""Returns scores for thresholds given as keywords, for example `functools.partial(analysis.score, "results")`."""


def specifications(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return all combinations of some thresholds.

    Args:
        grid: threshold to its values.

    Raises:
        AnalysisError: a threshold has no value, or there are more than `MAX_SPECIFICATIONS` combinations.
    """
    empty = [name for name, values in grid.items() if not len(values)]
    if empty or not grid:
        raise AnalysisError(f"grid: must name thresholds with values, got none for {comma_list(empty) or 'anything'}")
    count = int(np.prod([len(values) for values in grid.values()]))
    if count > MAX_SPECIFICATIONS:
        raise AnalysisError(f"grid: {count} specifications, at most {MAX_SPECIFICATIONS}; vary fewer thresholds")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def specification_curve(
    scored: Scorer | Mapping[str, pd.DataFrame],
    grid: Mapping[str, Sequence[Any]] | None = None,
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Return what becomes of verdicts and of the edge under each specification.

    Args:
        scored: makes scores for thresholds; or scores by the name of their criterion, all of the same cells.
        grid: threshold to its values, for a callable only.
        rng: for the bootstrap of the edge.
        resamples: number of resamples.

    Returns:
        One row per specification, in order: the thresholds, or `criterion`; one column per verdict with its number of
        cells; `decidable`, `lost_share` (of the decidable ones); `agreement` (share of cells with the reference's
        verdict) and `reversed` (cells lost here and plastic there, or the other way round); `edge`, `edge_low`,
        `edge_high` (see `edge`), and `reason` where there is no edge, or the axis is too coarse for it.

    Raises:
        AnalysisError: a grid is given with a mapping or lacks with a callable, or frames have different cells.
    """
    if callable(scored) == (grid is None):
        raise AnalysisError("give a grid with a function that scores, and none with frames that are scored already")
    if callable(scored):
        named = ((one, scored(**one)) for one in specifications(grid or {}))
    else:
        named = (({"criterion": name}, frame) for name, frame in scored.items())
    rows: list[dict[str, Any]] = []
    reference: pd.DataFrame | None = None
    for specification, frame in named:
        require(frame, ["cell", "lost", "seed", "lr"])
        reference = frame if reference is None else reference
        rows.append({**specification, **_summary(frame, reference), **_edge_columns(frame, rng, resamples)})
    if not rows:
        raise AnalysisError("there is no specification to compare")
    table = pd.DataFrame(rows)
    counts = [str(column) for column in table.columns if str(column).startswith(_VERDICT)]
    table[counts] = table[counts].fillna(0).astype(int)
    return table.rename(columns={column: column.removeprefix(_VERDICT) for column in counts})


def edge(scored: pd.DataFrame, rng: np.random.Generator, *, resamples: int = RESAMPLES, level: float = 0.95) -> tuple[
    float, float, float, str
]:  # fmt: skip
    """Return the learning rate at which half of the networks are lost, with an interval over seeds.

    A logistic regression on log lr with Firth's penalty, one slope, and an intercept per configuration of the other
    fields. The edge is the geometric mean over these configurations. The interval is a percentile bootstrap over seeds,
    widened for few seeds (`bootstrap_interval`).
    Where the edge is sharper than a step of lr, the interval includes at least the learning rates on either side of it.

    Args:
        scored: from `score`.
        rng: draws the resamples.
        resamples: number of resamples.
        level: of the interval.

    Returns:
        Edge, its lower and upper end, and why they are NaN or limited by the axis; empty if they are neither. An edge
        beyond the learning rates is NaN: it would be an extrapolation.
    """
    frame = scored[scored["lost"].notna()]
    nothing = np.nan, np.nan, np.nan
    codes, seeds = np.unique(frame["seed"], return_inverse=True)
    lrs, lr = np.unique(frame["lr"], return_inverse=True)
    lost = frame["lost"].to_numpy(float)
    for reason, holds in (
        ("no verdicts", not len(frame)), ("one learning rate", len(lrs) == 1),
        ("no losses", not lost.any()), ("losses only", lost.all()),
    ):  # fmt: skip
        if holds:
            return *nothing, reason
    group = strata(frame, ["seed", "lr"])
    groups = int(group.max()) + 1
    points = groups * len(lrs)
    successes, trials = np.zeros((len(codes), points)), np.zeros((len(codes), points))
    np.add.at(successes, (seeds, group * len(lrs) + lr), lost)
    np.add.at(trials, (seeds, group * len(lrs) + lr), 1.0)
    at = np.arange(points)
    middle = np.log(lrs).mean()
    X = np.column_stack([np.log(lrs)[at % len(lrs)] - middle, (at // len(lrs))[:, None] == np.arange(groups)])
    drawn = cluster_weights(rng, len(codes), resamples) if len(codes) > 1 else np.empty((0, 1))
    weights = np.concatenate([np.ones((1, len(codes))), drawn])
    used = trials.sum(axis=0) > 0
    beta = firth(X[used].astype(float), weights @ successes[:, used], weights @ trials[:, used])
    slopes = beta[:, 0][np.isfinite(beta[:, 0])]
    if not len(slopes) or np.mean(slopes * slopes[0] <= 0) > _MAX_FLAT or slopes[0] <= 0:
        return *nothing, "losses do not become more frequent with lr"
    logs = np.clip(middle - beta[:, 1:].mean(axis=1) / beta[:, 0], -_MAX_LOG, _MAX_LOG)
    estimate = float(np.exp(logs[0]))
    if not lrs[0] <= estimate <= lrs[-1]:
        return *nothing, "beyond the learning rates"
    if len(codes) == 1:
        return estimate, np.nan, np.nan, "one seed: no interval"
    low, high = np.exp(np.clip(bootstrap_interval(logs[0], logs[1:], len(codes), level), -_MAX_LOG, _MAX_LOG))
    total = trials.sum(axis=0)
    with quiet():
        shares = successes.sum(axis=0) / total
    if not is_sharp(slopes[0], np.log(lrs), shares):
        return estimate, float(low), float(high), ""
    own = np.exp(middle - beta[0, 1:] / beta[0, 0])
    above = np.clip(np.searchsorted(lrs, own), 1, len(lrs) - 1)
    below_mean, above_mean = (float(np.exp(np.log(lrs[at]).mean())) for at in (above - 1, above))
    return estimate, min(float(low), below_mean), max(float(high), above_mean), TOO_SHARP


_VERDICT = "verdict: "


def _summary(frame: pd.DataFrame, reference: pd.DataFrame) -> dict[str, Any]:
    verdicts = frame.set_index("cell")[verdict_column(frame)]
    other = reference.set_index("cell")[verdict_column(reference)]
    if set(verdicts.index) != set(other.index):
        raise AnalysisError("specifications must score the same cells; these frames have different ones")
    other = other.loc[verdicts.index]
    decidable = int(frame["lost"].notna().sum())
    lost = int((frame["lost"] > 0).sum())
    turned = ((verdicts == "lost") & (other == "plastic")) | ((verdicts == "plastic") & (other == "lost"))
    return {
        **{f"{_VERDICT}{name}": int(count) for name, count in verdicts.value_counts().items()},
        "decidable": decidable, "lost_share": lost / decidable if decidable else np.nan,
        "agreement": float((verdicts == other).mean()), "reversed": int(turned.sum()),
    }  # fmt: skip


def _edge_columns(frame: pd.DataFrame, rng: np.random.Generator, resamples: int) -> dict[str, Any]:
    middle, low, high, reason = edge(frame, rng, resamples=resamples)
    return {"edge": middle, "edge_low": low, "edge_high": high, "reason": reason}
