"""What every statistic needs of a frame of scores: its columns, strata, clusters and counts.

cell       one row of `analysis.scoring.score`
stratum    the cells that agree in every configuration field but the seed (or but some other fields)
cluster    the cells of one seed: they learn the same tasks at every learning rate, so they are not independent
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from analysis.data import check_fields, own_components_follow
from analysis.scoring import LEVEL
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, comma_list

RESPONSES: tuple[str, ...] = ("failures", "lost")
"""What a regression explains: how many of a cell's late tasks failed, or whether the cell has lost plasticity."""

_SCORED_BY = "analysis.score makes them"


def defined_onsets(scored: pd.DataFrame) -> pd.DataFrame:
    """Return the networks whose onset is observed or censored.

    Raises:
        AnalysisError: a column is missing, or there is none.
    """
    require(scored, ["onset", "onset_status", "tasks"])
    frame = scored[scored["onset_status"] != "undefined"]
    if frame.empty:
        raise AnalysisError("no network has a defined onset: all diverged, lack a baseline or are too short")
    return frame


def hold_of(scored: pd.DataFrame) -> int:
    """Return how many tasks in a row make an onset, 1 where the frame does not carry its criterion."""
    return int(scored.attrs.get("criterion", {}).get("hold", 1))


def require(scored: pd.DataFrame, columns: Iterable[str]) -> None:
    """Refuse a frame without these columns.

    Raises:
        AnalysisError: one is missing.
    """
    missing = [column for column in columns if column not in scored]
    if missing:
        raise AnalysisError(f"`scored` lacks the columns {comma_list(missing)}; {_SCORED_BY}")


def verdict_column(scored: pd.DataFrame) -> str:
    """Return the name of the column of verdicts; frames of earlier releases call it "phase".

    Raises:
        AnalysisError: there is neither.
    """
    if "verdict" not in scored and "phase" in scored:
        return "phase"
    require(scored, ["verdict"])
    return "verdict"


def comparable_fields(*frames: pd.DataFrame) -> list[str]:
    """Return the configuration fields that all frames have, without `own_components` where it follows from others."""
    follows = all(map(own_components_follow, frames))
    names = [field for field in FIELDS if all(field in frame for frame in frames)]
    return [field for field in names if field != "own_components" or not follows]


def strata(frame: pd.DataFrame, without: Sequence[str] = ("seed",)) -> np.ndarray:
    """Return the stratum of each row, a number from 0, shape (n,).

    Args:
        frame: n rows with configuration fields.
        without: the fields in which the cells of one stratum may differ.
    """
    fields = [field for field in comparable_fields(frame) if field not in without]
    varying = [field for field in fields if frame[field].nunique(dropna=False) > 1]
    if not varying:
        return np.zeros(len(frame), np.int64)
    return frame.groupby(varying, sort=True, observed=True, dropna=False).ngroup().to_numpy()


def divide(frame: pd.DataFrame, by: Sequence[str]) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Divide a frame by the values of some fields.

    Args:
        frame: with the configuration fields.
        by: configuration fields; none for one group of all rows.

    Returns:
        For each combination of values these values by field, and its rows.

    Raises:
        AnalysisError: a name in `by` is not a configuration field.
    """
    by = list(dict.fromkeys(by))
    check_fields(by)
    require(frame, by)
    if not by:
        return [({}, frame)]
    return [(dict(zip(by, key, strict=True)), group) for key, group in frame.groupby(by, observed=True)]


def response_of(scored: pd.DataFrame, response: str | None) -> str:
    """Return the response to explain: by default "failures", or "lost" where the frame has no failure counts.

    Raises:
        AnalysisError: the response is unknown, or its columns are missing.
    """
    if response is None:
        response = "failures" if "late_failures" in scored else "lost"
    if response not in RESPONSES:
        raise AnalysisError(f"response = {response!r}: must be one of {comma_list(RESPONSES)}")
    require(scored, ["late_failures", "late_tasks"] if response == "failures" else ["lost"])
    return response


def counted(scored: pd.DataFrame, response: str | None = None) -> pd.DataFrame:
    """Return the cells with a defined response, with the columns `successes` (k) and `trials` (m) of each.

    "failures" counts k failed tasks of the m late ones. "lost" is one trial per cell.

    Raises:
        AnalysisError: the response is unknown, its columns are missing, or no cell has it.
    """
    if response_of(scored, response) == "failures":
        k, m = scored["late_failures"].to_numpy(float), scored["late_tasks"].to_numpy(float)
    else:
        k = scored["lost"].to_numpy(float)
        m = np.ones(len(scored))
    made = scored.assign(successes=k, trials=m)[np.isfinite(k) & (m > 0)]
    if made.empty:
        raise AnalysisError("no cell has a verdict: all diverged, lack a baseline or are too short; relax --where")
    return made


def clustered_mean(values: np.ndarray, clusters: np.ndarray) -> tuple[float, float, int]:
    """Return the mean of values, its standard error over clusters, and the degrees of freedom.

        se^2 = G / (G - 1) * sum over clusters g of (sum over i in g of (v_i - mean))^2 / n^2

    Args:
        values: (n,).
        clusters: (n,) labels of G clusters.

    Returns:
        Mean, standard error, G - 1; the error is NaN for fewer than two clusters.

    Source: Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73 (1986), for an
    intercept alone.
    """
    if not len(values):
        return np.nan, np.nan, 0
    mean = float(np.mean(values))
    _, index = np.unique(clusters, return_inverse=True)
    sums = np.bincount(index, values - mean)
    count = len(sums)
    if count < 2:
        return mean, np.nan, 0
    return mean, float(np.sqrt(count / (count - 1) * (sums**2).sum()) / len(values)), count - 1


def t_interval(estimate: Any, error: Any, freedom: int, level: float = LEVEL) -> tuple[Any, Any]:
    """Return estimate -+ t * error, with Student's quantile; NaN without degrees of freedom."""
    from scipy.stats import t

    reach = t.ppf((1 + level) / 2, freedom) * error if freedom > 0 else np.nan * error
    return estimate - reach, estimate + reach


def bootstrap_interval(estimate: float, resampled: np.ndarray, clusters: int, level: float) -> tuple[float, float]:
    """Return a percentile interval of a bootstrap over few clusters, widened as Student's t widens the normal one.

    The distances of the percentiles from the estimate are multiplied by t / z * sqrt(G / (G - 1)). Without this, 8
    clusters cover in 86 to 88% instead of 95%.

    Args:
        estimate: of all clusters.
        resampled: (R,) of the resamples; NaN is left out.
        clusters: G, at least 2.
        level: of the interval.

    Source: Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69 (2015), who widens
    the percentiles' levels to the same effect.
    """
    from scipy.stats import norm, t

    tail = (1 - level) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    factor = t.isf(tail, clusters - 1) / norm.isf(tail) * np.sqrt(clusters / (clusters - 1))
    return estimate - factor * max(estimate - low, 0), estimate + factor * max(high - estimate, 0)


def check_share(name: str, value: float) -> None:
    """Refuse a number that is not strictly between 0 and 1.

    Raises:
        AnalysisError: it is not.
    """
    if not 0 < value < 1:
        raise AnalysisError(f"{name} = {value:g}: must be between 0 and 1")


def cluster_weights(rng: np.random.Generator, clusters: int, resamples: int) -> np.ndarray:
    """Return how often each cluster is drawn in each bootstrap resample, (resamples, clusters) integers."""
    return rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a library's warnings off the terminal; what they are about is checked and reported as a reason."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
