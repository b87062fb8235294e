"""When plasticity is lost: Kaplan-Meier curves, hazards, the share lost by a task, relapses and the log-rank test.

The time is the task number of the onset. A network without an onset is right-censored: it was observed up to the last
task at which an onset could still be seen, T - hold + 1, because an onset takes `hold` tasks in a row. Networks whose
onset is undefined (diverged, untrainable, no baseline, too short) are left out.

    n    networks          T    tasks of a sequence
    S    share without an onset yet
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.scoring import LEVEL, wilson
from analysis.statistics.frames import defined_onsets, divide, hold_of, quiet
from lop_sweep.errors import AnalysisError

BLOCK_TASKS = 10
"""Tasks in a block of the hazard, unless a caller chooses another number."""

_COLUMNS = ["task", "at_risk", "losses", "censored", "survival", "low", "high"]


def kaplan_meier(scored: pd.DataFrame, by: Sequence[str] = (), *, level: float = LEVEL) -> pd.DataFrame:
    """Return the share of networks that have not lost plasticity by each task, with censoring.

        S(t) = product over tasks s <= t with losses d_s of (1 - d_s / at_risk_s)

    The interval is Wilson's for the effective sample size S (1 - S) / Var(S), with Greenwood's variance. It stays
    within [0, 1] and has a width where there is no loss yet.

    Args:
        scored: from `score`, with `onset`, `onset_status` and `tasks`.
        by: configuration fields; one curve per combination of their values.
        level: of the intervals.

    Returns:
        One row per curve and task with a loss or a censoring, after a row for task 0: `by`, `task`, `at_risk` (before
        this task), `losses`, `censored` (after this task), `survival`, `low`, `high`.

    Raises:
        AnalysisError: a column is missing, a name is not a field, or no network has a defined onset.

    Source: Kaplan and Meier, "Nonparametric estimation from incomplete observations", JASA 53 (1958); Rothman,
    "Estimation of confidence limits for the cumulative probability of survival in life table analysis", Journal of
    Chronic Diseases 31 (1978).
    """
    parts = []
    for key, group in divide(defined_onsets(scored), by):
        time, observed = _times(group)
        parts.append(_with_key(key, _curve(time, observed, level)))
    return pd.concat(parts, ignore_index=True)


def lost_by(
    scored: pd.DataFrame, tasks: Sequence[int], by: Sequence[str] = (), *, level: float = LEVEL
) -> pd.DataFrame:
    """Return the probability of an onset by given tasks, `1 - S(t)` of the Kaplan-Meier curve.

    Args:
        scored: from `score`.
        tasks: task numbers from 1.
        by: configuration fields.
        level: of the intervals.

    Returns:
        One row per combination of `by` and task: `task`, `networks`, `lost`, `low`, `high`, `reason`. A task after the
        last observation has NaN and a reason.

    Raises:
        AnalysisError: as `kaplan_meier`, or a task is below 1.
    """
    if not len(tasks) or min(tasks) < 1:
        raise AnalysisError(f"tasks = {list(tasks)}: must be task numbers from 1")
    rows = []
    for key, group in divide(defined_onsets(scored), by):
        time, observed = _times(group)
        curve = _curve(time, observed, level)
        for task in tasks:
            past = curve[curve["task"] <= task].iloc[-1]
            known = task <= time.max() or past["survival"] == 0
            values = 1 - past[["survival", "high", "low"]].to_numpy(float) if known else np.full(3, np.nan)
            reason = "" if known else "after the last task at which an onset can be seen"
            rows.append(
                {**key, "task": task, "networks": len(group), "lost": values[0], "low": values[1], "high": values[2],
                 "reason": reason}
            )  # fmt: skip
    return pd.DataFrame(rows)


def onset_summary(scored: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Return how many networks have an onset, and the median onset.

    Args:
        scored: from `score`.
        by: configuration fields.

    Returns:
        One row per combination of `by`: `networks`, `losses`, `censored`, `excluded` (onset undefined), `median_onset`
        (the first task with S <= 1/2), `reason` where that is NaN.

    Raises:
        AnalysisError: as `kaplan_meier`.
    """
    defined_onsets(scored)
    rows = []
    for key, whole in divide(scored, by):
        group = whole[whole["onset_status"] != "undefined"]
        time, observed = _times(group)
        median, reason = np.nan, "no onset is defined"
        if len(group):
            curve = _curve(time, observed, LEVEL)
            half = curve[curve["survival"] <= 0.5]
            median = float(half["task"].iloc[0]) if len(half) else np.nan
            reason = "" if len(half) else "fewer than half have an onset"
        losses = int(observed.sum())
        rows.append(
            {**key, "networks": len(group), "losses": losses, "censored": len(group) - losses,
             "excluded": len(whole) - len(group), "median_onset": median, "reason": reason}
        )  # fmt: skip
    return pd.DataFrame(rows)


def hazard(
    scored: pd.DataFrame, by: Sequence[str] = (), *, block: int = BLOCK_TASKS, level: float = LEVEL
) -> pd.DataFrame:
    """Return the probability per task that a network which has kept plasticity loses it, by blocks of tasks.

    Args:
        scored: from `score`.
        by: configuration fields.
        block: tasks in a block, at least 1.
        level: of the intervals (Wilson).

    Returns:
        One row per combination of `by` and block: `first`, `last` (its tasks), `exposure` (tasks at which a network was
        at risk, summed over networks), `losses`, `hazard`, `low`, `high`, `reason`.

    Raises:
        AnalysisError: as `kaplan_meier`, or `block` is below 1.
    """
    if block < 1:
        raise AnalysisError(f"block = {block}: must be at least 1 task")
    rows = []
    for key, group in divide(defined_onsets(scored), by):
        time, observed = _times(group)
        for first in range(1, int(group["tasks"].max()) + 1, block):
            last = first + block - 1
            exposure = int(np.clip(np.minimum(time, last) - first + 1, 0, None).sum())
            losses = int((observed & (time >= first) & (time <= last)).sum())
            low, high = wilson(losses, exposure, level)
            rows.append(
                {**key, "first": first, "last": last, "exposure": exposure, "losses": losses,
                 "hazard": losses / exposure if exposure else np.nan, "low": float(low), "high": float(high),
                 "reason": "" if exposure else "no network is at risk"}
            )  # fmt: skip
    return pd.DataFrame(rows)


def logrank(scored: pd.DataFrame, by: Sequence[str], *, within: Sequence[str] = ()) -> pd.DataFrame:
    """Test whether networks lose plasticity equally soon at all values of some fields.

    Losses are compared task by task with what equal hazards would give, and summed. With `within` this is done within
    each combination of those fields, so that they cannot confound the comparison.

    Args:
        scored: from `score`.
        by: the fields whose combinations of values are the groups.
        within: fields to stratify by.

    Returns:
        One row per group: `by`, `networks`, `losses`, `expected`, and the test's `chi2`, `df`, `p`, `reason`, which are
        the same in all rows.

    Raises:
        AnalysisError: as `kaplan_meier`, or `by` is empty.

    Source: Mantel, "Evaluation of survival data and two new rank order statistics arising in its consideration",
    Cancer Chemotherapy Reports 50 (1966).
    """
    from scipy.stats import chi2

    if not by:
        raise AnalysisError("the log-rank test needs at least one field whose values are compared, for example depth")
    frame = defined_onsets(scored)
    groups = divide(frame, by)
    code = np.zeros(len(frame), np.int64)
    position = pd.Series(np.arange(len(frame)), index=frame.index)
    for number, (_, group) in enumerate(groups):
        code[position.loc[group.index]] = number
    stratum = frame.groupby(list(within), observed=True).ngroup().to_numpy() if within else np.zeros(len(frame), int)
    time, observed = _times(frame)
    expected, excess, variance = _logrank_sums(time, observed, code, stratum, len(groups))
    freedom = len(groups) - 1
    statistic, p, reason = np.nan, np.nan, ""
    if freedom == 0:
        reason = "one group"
    elif not observed.any():
        reason = "no losses"
    else:
        rank = np.linalg.matrix_rank(variance)
        freedom = int(rank)
        reason = "" if freedom else "groups are never at risk together"
        if freedom:
            statistic = float(excess @ np.linalg.pinv(variance) @ excess)
            p = float(chi2.sf(statistic, freedom))
    rows = [
        {**key, "networks": len(group), "losses": int(observed[code == number].sum()), "expected": expected[number],
         "chi2": statistic, "df": freedom, "p": p, "reason": reason}
        for number, (key, group) in enumerate(groups)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def occupancy(state: np.ndarray, groups: pd.DataFrame | None = None, *, level: float = LEVEL) -> pd.DataFrame:
    """Return the share of networks that are in the lost state at each task.

    Unlike a Kaplan-Meier curve it falls where networks recover and rises again where they relapse.

    Args:
        state: (n, T) booleans, from `analysis.scoring.scores.lost_state`.
        groups: n rows of labels, one column per field; None for one group.
        level: of the intervals (Wilson).

    Returns:
        One row per group and task: the labels, `task`, `networks`, `lost`, `share`, `low`, `high`, `ever` (share that
        was lost at this task or before) and `relapsed` (share that lost plasticity at least twice by then).

    Raises:
        AnalysisError: there is no network, or `groups` has another number of rows.
    """
    if state.ndim != 2 or not state.size:
        raise AnalysisError(f"`state` must have networks and tasks, got shape {state.shape}")
    labels = pd.DataFrame(index=range(len(state))) if groups is None else groups.reset_index(drop=True)
    if len(labels) != len(state):
        raise AnalysisError(f"`groups` must have one row per network, got {len(labels)} for {len(state)}")
    columns = list(labels.columns)
    divided: Any = labels.groupby(columns, observed=True).indices.items() if columns else [((), np.arange(len(state)))]
    parts = []
    for key, rows in divided:
        values = key if isinstance(key, tuple) else (key,)
        chosen = state[rows]
        begun = np.diff(chosen.astype(np.int8), axis=1, prepend=0) == 1
        lost, low_high = chosen.sum(axis=0), wilson(chosen.sum(axis=0), np.full(state.shape[1], len(rows)), level)
        table = pd.DataFrame(
            {
                "task": np.arange(1, state.shape[1] + 1), "networks": len(rows), "lost": lost,
                "share": lost / len(rows), "low": low_high[0], "high": low_high[1],
                "ever": (np.cumsum(begun, axis=1) >= 1).mean(axis=0),
                "relapsed": (np.cumsum(begun, axis=1) >= 2).mean(axis=0),
            }
        )  # fmt: skip
        parts.append(_with_key(dict(zip(columns, values, strict=True)), table))
    return pd.concat(parts, ignore_index=True)


def _times(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the task of the onset or of the last observation, and whether it is an onset; (n,) each."""
    observed = (frame["onset_status"] == "observed").to_numpy()
    end = np.maximum(frame["tasks"].to_numpy(float) - hold_of(frame) + 1, 1)
    return np.where(observed, frame["onset"].to_numpy(float), end), observed


def _curve(time: np.ndarray, observed: np.ndarray, level: float) -> pd.DataFrame:
    tasks = np.unique(time)
    risk = len(time) - np.searchsorted(np.sort(time), tasks)
    losses = np.array([int((observed & (time == task)).sum()) for task in tasks])
    censored = np.array([int((~observed & (time == task)).sum()) for task in tasks])
    survival = np.cumprod(1 - losses / risk)
    with quiet():
        greenwood = survival**2 * np.cumsum(losses / (risk * (risk - losses)))
        effective = survival * (1 - survival) / greenwood
    complete = len(time) - np.concatenate([[0], np.cumsum(censored)[:-1]])
    effective = np.where((survival > 0) & (survival < 1), effective, complete)
    low, high = wilson(survival * effective, effective, level)
    low, high = np.where(survival == 0, 0.0, low), np.where(survival == 1, 1.0, high)
    start = pd.DataFrame(
        [[0, len(time), 0, 0, 1.0, float(wilson(len(time), len(time), level)[0]), 1.0]], columns=_COLUMNS
    )
    rest = pd.DataFrame(dict(zip(_COLUMNS, [tasks, risk, losses, censored, survival, low, high], strict=True)))
    return pd.concat([start, rest], ignore_index=True).astype({"task": int, "at_risk": int})


def _logrank_sums(
    time: np.ndarray, observed: np.ndarray, code: np.ndarray, stratum: np.ndarray, groups: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return expected losses, observed minus expected, and their covariance: (g,), (g,), (g, g)."""
    expected, excess, variance = np.zeros(groups), np.zeros(groups), np.zeros((groups, groups))
    for one in np.unique(stratum):
        inside = stratum == one
        for task in np.unique(time[inside & observed]):
            risk = np.bincount(code[inside & (time >= task)], minlength=groups).astype(float)
            lost = np.bincount(code[inside & observed & (time == task)], minlength=groups)
            n, d = risk.sum(), lost.sum()
            share = risk / n
            expected += d * share
            excess += lost - d * share
            if n > 1:
                variance += d * (n - d) / (n - 1) * (np.diag(share) - np.outer(share, share))
    return expected, excess, variance


def _with_key(key: dict[str, Any], table: pd.DataFrame) -> pd.DataFrame:
    for position, (name, value) in enumerate(key.items()):
        table.insert(position, name, value)
    return table
