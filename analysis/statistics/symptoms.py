"""Whether a symptom comes with a loss of plasticity: within strata, against a placebo, and ahead in time.

Pooled over configurations, any two things that grow with the learning rate go together (Simpson's paradox). So each
statistic here compares networks of one stratum, which differ in their seed only, and then combines the strata.

    table    [[a, b], [c, d]] of one stratum: a lost with the symptom, b lost without it, c and d the plastic ones
    S        strata
    OR       odds ratio a d / (b c): above 1, networks with the symptom are lost more often
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd

from analysis.data import check_fields
from analysis.scoring import LEVEL, SYMPTOMS
from analysis.statistics.frames import defined_onsets, hold_of, quiet, require, strata
from lop_sweep.errors import AnalysisError

HORIZON_TASKS = 10
"""How many tasks ahead a symptom is to predict, unless a caller chooses another number."""


@dataclass(frozen=True)
class PooledOdds:
    """An odds ratio within strata, and the crude one.

    Attributes:
        odds_ratio: Mantel-Haenszel estimate; 0 or inf where it has no finite logarithm, NaN where it is undefined.
        low: lower end of its interval (Robins, Breslow and Greenland); NaN where the estimate is 0, inf or NaN.
        high: upper end.
        chi2: Mantel and Haenszel's statistic of no association, without continuity correction.
        p: its two-sided p value, with one degree of freedom.
        crude: the odds ratio of the summed tables.
        networks: number of networks in all tables.
        informative: number of strata in which both the symptom and the verdict vary; only these count.
        reason: why there is no estimate or interval; empty where there is.
    """

    odds_ratio: float
    low: float
    high: float
    chi2: float
    p: float
    crude: float
    networks: int
    informative: int
    reason: str


def mantel_haenszel(tables: np.ndarray, level: float = LEVEL) -> PooledOdds:
    """Return the pooled odds ratio of stratified 2 x 2 tables, and the test of no association.

        OR = sum(a d / n) / sum(b c / n)

    Args:
        tables: (S, 2, 2) counts, [[a, b], [c, d]] each.
        level: of the interval.

    Source: Mantel and Haenszel, "Statistical aspects of the analysis of data from retrospective studies of disease",
    JNCI 22 (1959); Robins, Breslow and Greenland, "Estimators of the Mantel-Haenszel variance consistent in both sparse
    data and large-strata limiting models", Biometrics 42 (1986).
    """
    tables = np.asarray(tables, float).reshape(-1, 2, 2)
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    used = tables[(rows > 0).all(axis=1) & (columns > 0).all(axis=1)]
    crude = _odds_ratio(tables.sum(axis=0))
    networks, informative = int(tables.sum()), len(used)
    if not informative:
        reason = _uninformative(tables)
        return PooledOdds(np.nan, np.nan, np.nan, np.nan, np.nan, crude, networks, 0, reason)
    a, b, c, d = used[:, 0, 0], used[:, 0, 1], used[:, 1, 0], used[:, 1, 1]
    n = a + b + c + d
    R, Q = a * d / n, b * c / n
    odds = R.sum() / Q.sum() if Q.sum() else np.inf
    expected = (a + b) * (a + c) / n
    variance = (a + b) * (c + d) * (a + c) * (b + d) / (n**2 * (n - 1))
    chi2 = float((a - expected).sum() ** 2 / variance.sum())
    p = 2 * NormalDist().cdf(-np.sqrt(chi2))
    if not 0 < odds < np.inf:
        return PooledOdds(float(odds), np.nan, np.nan, chi2, p, crude, networks, informative, "no finite logarithm")
    P, U = (a + d) / n, (b + c) / n
    spread = (
        (P * R).sum() / (2 * R.sum() ** 2)
        + (P * Q + U * R).sum() / (2 * R.sum() * Q.sum())
        + (U * Q).sum() / (2 * Q.sum() ** 2)
    )
    reach = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(spread)
    low, high = float(odds * np.exp(-reach)), float(odds * np.exp(reach))
    return PooledOdds(float(odds), low, high, chi2, p, crude, networks, informative, "")


def symptom_odds(scored: pd.DataFrame, *, without: Sequence[str] = ("seed",), level: float = LEVEL) -> pd.DataFrame:
    """Return whether lost networks have each symptom more often than plastic ones of the same stratum.

    Networks not at risk of a symptom are left out. Of a lost network only a symptom before its onset counts, so that an
    effect of the loss is not taken for its cause. The clock of plastic networks of the same stratum stops at the
    stratum's median onset, as a placebo: a symptom that all networks get sooner or later says nothing.

    Args:
        scored: from `score`.
        without: the fields in which the networks of a stratum may differ.
        level: of the intervals.

    Returns:
        One row per symptom and comparison. `comparison` is "any time" (the symptom at any task) or "before the onset"
        (with the placebo's clock, in strata with an onset). Then `lost`, `lost_share`, `plastic`, `plastic_share`
        (networks compared, and their share with the symptom), and the fields of `PooledOdds`.

    Raises:
        AnalysisError: a column is missing, or no network is lost or plastic.
    """
    frame = _decidable(scored, without)
    lost = frame["lost"].to_numpy(float) > 0
    stratum = strata(frame, without)
    onset = frame["onset"].where(frame["lost"] > 0).to_numpy(float)
    clock = pd.Series(onset).groupby(stratum).transform("median").to_numpy()
    clock = np.where(lost, onset, clock)
    rows = []
    for symptom in SYMPTOMS:
        at = frame[f"{symptom}_at"].to_numpy(float)
        risk = frame[f"{symptom}_at_risk"].to_numpy(bool)
        before = risk & np.isfinite(clock)
        for comparison, chosen, present in (
            ("any time", risk, ~np.isnan(at)),
            ("before the onset", before, at < clock),
        ):
            tables = _tables(stratum[chosen], lost[chosen], present[chosen])
            (a, b), (c, d) = tables.sum(axis=0)
            shares = {
                "lost": int(a + b), "lost_share": a / (a + b) if a + b else np.nan,
                "plastic": int(c + d), "plastic_share": c / (c + d) if c + d else np.nan,
            }  # fmt: skip
            odds = asdict(mantel_haenszel(tables, level))
            rows.append({"symptom": symptom, "comparison": comparison, **shares, **odds})
    return pd.DataFrame(rows)


def symptom_lead(
    scored: pd.DataFrame,
    *,
    horizon: int = HORIZON_TASKS,
    without: Sequence[str] = ("seed",),
    level: float = LEVEL,
) -> pd.DataFrame:
    """Return whether a symptom predicts an onset within the next tasks, among networks that are not lost yet.

    At tasks horizon, 2 horizon, ... the networks without an onset are divided by whether they have the symptom by then
    (including the `hold` tasks that make it one), and by whether an onset follows within `horizon` tasks. Strata are
    the configuration and the task. So networks of one configuration are compared at one time, and this is a discrete
    log-rank test with a covariate that changes in time. Windows do not overlap, so one network may count in several.

    Args:
        scored: from `score`.
        horizon: tasks ahead, at least 1.
        without: the fields in which the networks of a stratum may differ.
        level: of the intervals.

    Returns:
        One row per symptom: `with_symptom` (networks times windows), `onsets_with`, `hazard_with`, `without_symptom`,
        `onsets_without`, `hazard_without` (probability of an onset per window, over all strata), and the fields of
        `PooledOdds`. Its `networks` are networks times windows.

    Raises:
        AnalysisError: a column is missing, `horizon` is below 1, or no network has a defined onset.
    """
    if horizon < 1:
        raise AnalysisError(f"horizon = {horizon}: must be at least 1 task")
    require(scored, _symptom_columns())
    check_fields(without)
    hold = hold_of(scored)
    frame = defined_onsets(scored)
    onset = frame["onset"].fillna(np.inf).to_numpy(float)
    end = frame["tasks"].to_numpy(float) - hold + 1  # the last task at which an onset can be seen
    configuration = strata(frame, without)
    windows = np.arange(horizon, int(frame["tasks"].max()), horizon)
    rows = []
    for symptom in SYMPTOMS:
        known = frame[f"{symptom}_at"].fillna(np.inf).to_numpy(float) + hold - 1
        risk = frame[f"{symptom}_at_risk"].to_numpy(bool)
        parts = []
        for task in windows:
            free = risk & (onset > task) & (end >= task + horizon)
            follows = onset[free] <= task + horizon
            parts.append(_tables(configuration[free], follows, known[free] <= task))
        tables = np.concatenate([np.empty((0, 2, 2)), *parts])
        (a, b), (c, d) = tables.sum(axis=0)
        shares = {
            "with_symptom": int(a + c), "onsets_with": int(a), "hazard_with": a / (a + c) if a + c else np.nan,
            "without_symptom": int(b + d), "onsets_without": int(b), "hazard_without": b / (b + d) if b + d else np.nan,
        }  # fmt: skip
        rows.append({"symptom": symptom, **shares, **asdict(mantel_haenszel(tables, level))})
    return pd.DataFrame(rows)


def _tables(stratum: np.ndarray, lost: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return a 2 x 2 table per stratum, (S, 2, 2): rows lost and plastic, columns with and without the symptom."""
    _, code = np.unique(stratum, return_inverse=True)
    count = int(code.max()) + 1 if len(code) else 0
    cell = 4 * code + 2 * ~lost + ~present
    return np.bincount(cell, minlength=4 * count)[: 4 * count].reshape(count, 2, 2).astype(float)


def _symptom_columns() -> list[str]:
    return [f"{symptom}_{what}" for symptom in SYMPTOMS for what in ("at", "at_risk")]


def _decidable(scored: pd.DataFrame, without: Sequence[str]) -> pd.DataFrame:
    check_fields(without)
    require(scored, ["lost", "onset", *_symptom_columns()])
    frame = scored[scored["lost"].notna()]
    if frame.empty:
        raise AnalysisError("no cell has a verdict: all diverged, lack a baseline or are too short; relax --where")
    return frame


def _uninformative(tables: np.ndarray) -> str:
    (a, b), (c, d) = tables.sum(axis=0) if len(tables) else np.zeros((2, 2))
    for reason, count in (
        ("no losses", a + b), ("losses only", c + d), ("nobody has the symptom", a + c), ("everybody has it", b + d)
    ):  # fmt: skip
        if not count:
            return reason
    return "no stratum in which both vary"


def _odds_ratio(table: np.ndarray) -> float:
    """Return a d / (b c) of one table; inf or NaN where it is not defined."""
    (a, b), (c, d) = table
    with quiet():
        return float(np.float64(a * d) / (b * c))
