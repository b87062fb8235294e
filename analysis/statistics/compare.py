"""Whether two conditions differ, or are the same for all purposes: paired over configurations and seeds.

pair          two cells that agree in every field but the compared one, the first and the second condition
difference    second minus first
rate          share of the late tasks that failed
cluster       the pairs of one seed
shift         the factor by which the edge, where the probability is 1/2, moves in learning rate
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from analysis.data import format_value, select
from analysis.scoring import LEVEL
from analysis.statistics.frames import (
    bootstrap_interval,
    check_share,
    cluster_weights,
    clustered_mean,
    comparable_fields,
    require,
    strata,
    t_interval,
)
from analysis.statistics.logistic import TOO_SHARP, firth, is_sharp
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, comma_list

MARGIN = 0.05
"""Differences of at most this many failures per task count as none, unless a caller chooses another margin."""

FALSE_DISCOVERIES = 0.05
"""Share of false ones among the points that are called different, unless a caller chooses another one."""

RESAMPLES = 1000
MAX_EXACT_PAIRS = 14
"""Points with more pairs are tested with random sign flips rather than with all of them."""

_FLIPS = 20_000
_MAX_FLAT = 0.05
_VALUES = ("late_failures", "late_tasks", "lost")


def conditions(scored: pd.DataFrame, field: str, first: Any, second: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the cells of two values of a configuration field.

    Raises:
        AnalysisError: the field does not exist, no cell has a value, or the values are the same.
    """
    if first == second:
        raise AnalysisError(f"{field} = {format_value(first)} twice: must be two different values to compare")
    return select(scored, {field: [first]}), select(scored, {field: [second]})


def pair(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Pair the cells of two conditions by all fields in which they can agree.

    Args:
        first: from `score`: of one directory, or from `conditions`.
        second: the same for the other condition.

    Returns:
        One row per pair, with the configuration fields that are not compared, and of each of `late_failures`,
        `late_tasks` and `lost` that both frames have `<name>_first` and `<name>_second`. `rate_first`, `rate_second`
        and `difference` follow where there are failures. `attrs["unpaired"]` is the number of cells without a partner.

    Raises:
        AnalysisError: a column is missing, a cell has several partners, or there is no pair.
    """
    require(first, ["seed", "lost"])
    require(second, ["seed", "lost"])
    shared = comparable_fields(first, second)
    compared = [
        field for field in shared if field != "seed" and not set(first[field].unique()) & set(second[field].unique())
    ]
    keys = [field for field in shared if field not in compared]
    for frame in (first, second):
        if frame.duplicated(keys).any():
            twice = frame[frame.duplicated(keys, keep=False)]
            vary = comma_list(field for field in FIELDS if field in frame and twice[field].nunique() > 1)
            what = f"differ in {vary} as well" if vary else "are there twice"
            raise AnalysisError(
                f"cells of one condition {what}, so a cell has several partners; choose one value with --where"
            )
    values = [name for name in _VALUES if name in first and name in second]
    pairs = first[[*keys, *values]].merge(second[[*keys, *values]], on=keys, suffixes=("_first", "_second"))
    if pairs.empty:
        raise AnalysisError(
            "no cell of the first condition has a partner in the second: partners have the same seed and agree in all "
            f"fields but {comma_list(compared) or 'the compared one'}; choose conditions that share seeds and points"
        )
    if "late_failures" in values:
        for side in ("first", "second"):
            pairs[f"rate_{side}"] = pairs[f"late_failures_{side}"] / pairs[f"late_tasks_{side}"]
        pairs["difference"] = pairs["rate_second"] - pairs["rate_first"]
    pairs.attrs = {"unpaired": len(first) + len(second) - 2 * len(pairs), "compared": compared}
    return pairs


def explain(table: pd.DataFrame, *, margin: float = MARGIN) -> list[str]:
    """Return what the rows of a comparison mean, one line each.

    Args:
        table: from `compare`.
        margin: of the equivalence test.
    """
    meanings = {
        "failure rate": "mean difference in the share of late tasks that fail, second minus first; t test over seeds",
        "equivalence": f"the same with its 90% interval; a small p: it is less than {margin:g} either way (TOST)",
        "verdicts": "difference in the share of lost networks, second minus first; McNemar's exact test",
        "edge in lr": "learning rate at which half fail, second divided by first; bootstrap over seeds, no p value",
    }
    return [f"{name}: {meanings[name]}" for name in table["statistic"]]


def explain_points(table: pd.DataFrame, *, rate: float = FALSE_DISCOVERIES) -> list[str]:
    """Return what the columns of a comparison of points mean, and whether it has pairs enough, one line each.

    Args:
        table: from `compare_points`.
        rate: the share of false discoveries that was allowed.
    """
    lines = [
        "first, second, difference: means over the pairs of a point; p: sign-flip test",
        f"q: p corrected for testing {len(table)} points (Benjamini and Hochberg); differs: q is at most {rate:g}",
    ]
    few = explain_few_pairs(table, rate=rate)
    return [*lines, few] if few else lines


def explain_few_pairs(table: pd.DataFrame, *, rate: float = FALSE_DISCOVERIES) -> str:
    """Return how many points must differ in all pairs before any is called different; "" if one is enough.

    With p at least s at each of J points, k points can have q <= rate only if s J / k <= rate.

    Args:
        table: from `compare_points`.
        rate: the share of false discoveries that was allowed.
    """
    if table.empty:
        return ""
    most, points = int(table["pairs"].max()), len(table)
    smallest = 2 / 2**most if most <= MAX_EXACT_PAIRS else 1 / (_FLIPS + 1)
    needed = math.ceil(smallest * points / rate - 1e-9)
    if needed <= 1:
        return ""
    if needed > points:
        enough = math.ceil(math.log2(2 / rate))
        needed = math.ceil(2 / 2**enough * points / rate - 1e-9)
        return (
            f"with at most {most} pairs per point no point can differ; "
            f"with {enough} no q is small enough until {needed} of {points} differ in all pairs"
        )
    return f"with at most {most} pairs per point no q is small enough until {needed} of {points} differ in all pairs"


def compare(
    pairs: pd.DataFrame, rng: np.random.Generator, *, margin: float = MARGIN, level: float = LEVEL
) -> pd.DataFrame:
    """Return every comparison of two conditions, one row each.

    Args:
        pairs: from `pair`.
        rng: for the bootstrap of the shift.
        margin: of the equivalence test, failures per task.
        level: of the intervals.

    Returns:
        `statistic`, `estimate`, `low`, `high`, `p`, `pairs`, `seeds`, `reason`, for the statistics "failure rate"
        (`rate_difference`), "equivalence" (`equivalence`), "verdicts" (`mcnemar`) and "edge in lr" (`shift`). The first
        two are left out where there are no failure counts.

    Raises:
        AnalysisError: `margin` is not between 0 and 1.
    """
    parts = [mcnemar(pairs)]
    if "difference" in pairs:
        parts = [rate_difference(pairs, level=level), equivalence(pairs, margin=margin), *parts]
    parts.append(shift(pairs, rng, level=level))
    return pd.concat(parts, ignore_index=True)


def rate_difference(pairs: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Return the mean difference of failure rates, with an interval over seeds.

    All pairs count equally. Seeds are clusters, and the interval is Student's with one degree of freedom less than
    there are seeds.

    Args:
        pairs: from `pair`, with failure counts.
        level: of the interval.

    Returns:
        One row with the columns of `compare`.
    """
    values, seeds = _differences(pairs)
    from scipy.stats import t

    mean, error, freedom = clustered_mean(values, seeds)
    low, high = t_interval(mean, error, freedom, level)
    reason = _few(len(values), freedom)
    p = np.nan
    if not reason:
        p = float(2 * t.sf(abs(mean) / error, freedom)) if error > 0 else float(mean == 0)
    return _row("failure rate", mean, low, high, p, len(values), freedom + 1, reason)


def equivalence(pairs: pd.DataFrame, *, margin: float = MARGIN, alpha: float = 0.05) -> pd.DataFrame:
    """Test whether the failure rates of two conditions differ by less than a margin: two one-sided tests.

    The conditions are equivalent at level `alpha` if the larger p value of "below -margin" and "above margin" is at
    most `alpha`. That is the case exactly if the interval of level 1 - 2 alpha lies within the margin. A difference
    that is not significant is not evidence of equivalence; this is.

    Args:
        pairs: from `pair`, with failure counts.
        margin: failures per task, between 0 and 1.
        alpha: level of the test.

    Returns:
        One row with the columns of `compare`: the interval of level 1 - 2 alpha, and the larger of the two p values.

    Raises:
        AnalysisError: `margin` or `alpha` is not between 0 and 1.

    Source: Schuirmann, "A comparison of the two one-sided tests procedure and the power approach", Journal of
    Pharmacokinetics and Biopharmaceutics 15 (1987).
    """
    from scipy.stats import t

    check_share("margin", margin)
    check_share("alpha", alpha)
    values, seeds = _differences(pairs)
    mean, error, freedom = clustered_mean(values, seeds)
    low, high = t_interval(mean, error, freedom, 1 - 2 * alpha)
    reason, p = _few(len(values), freedom), np.nan
    if not reason and error > 0:
        p = float(max(t.sf((mean + margin) / error, freedom), t.cdf((mean - margin) / error, freedom)))
    elif not reason:
        low, high, reason = np.nan, np.nan, "all pairs have the same difference: no standard error"
    return _row("equivalence", mean, low, high, p, len(values), freedom + 1, reason)


def mcnemar(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the difference of the shares of lost networks, with McNemar's exact test.

    Only the b + c pairs with different verdicts count: under the null hypothesis each falls either way with probability
    1/2. The interval of the difference is (2 q - 1) (b + c) / n, with Clopper and Pearson's for q = c / (b + c).

    Args:
        pairs: from `pair`.

    Returns:
        One row with the columns of `compare`. `pairs` are those with two verdicts.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947).
    """
    from scipy.stats import binomtest

    both = pairs[pairs["lost_first"].notna() & pairs["lost_second"].notna()]
    first, second = both["lost_first"].to_numpy() > 0, both["lost_second"].to_numpy() > 0
    b, c, n = int((first & ~second).sum()), int((~first & second).sum()), len(both)
    seeds = both["seed"].nunique()
    if not n:
        return _row("verdicts", np.nan, np.nan, np.nan, np.nan, 0, 0, "in no pair can both networks be judged")
    if not b + c:
        return _row("verdicts", 0.0, np.nan, np.nan, 1.0, n, seeds, "no pair has two different verdicts")
    test = binomtest(c, b + c)
    low, high = test.proportion_ci(LEVEL)
    scale = (b + c) / n
    return _row("verdicts", (c - b) / n, (2 * low - 1) * scale, (2 * high - 1) * scale, test.pvalue, n, seeds, "")


def shift(
    pairs: pd.DataFrame, rng: np.random.Generator, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Return the factor by which the edge moves in learning rate, from the first to the second condition.

    A logistic regression of failed tasks (or verdicts) on log lr, with an intercept for each configuration of the other
    fields and one slope, gives the shift -c / b in log lr from the coefficients c of the condition and b of log lr.
    Firth's penalty keeps it finite at a sharp edge. The interval is a percentile bootstrap over seeds, each with all of
    its pairs, widened for few seeds (`bootstrap_interval`). Where the edge is sharper than a step of lr, no seed says
    where it lies within the step, and the interval is at least a step to either side. `docs/statistics.md` has the
    measured coverage.

    Args:
        pairs: from `pair`.
        rng: draws the resamples.
        level: of the interval.
        resamples: number of resamples.

    Returns:
        One row with the columns of `compare`; `estimate` is a factor, 1 for no shift, and `p` is NaN.
    """
    if "lr" not in pairs:
        return _no_shift(len(pairs), pairs["seed"].nunique(), "the conditions differ in lr itself")
    failures = "difference" in pairs
    k = [pairs[f"late_failures_{side}" if failures else f"lost_{side}"].to_numpy(float) for side in ("first", "second")]
    ones = np.ones(len(pairs))
    m = [pairs[f"late_tasks_{side}"].to_numpy(float) if failures else ones for side in ("first", "second")]
    known = np.isfinite(k[0]) & np.isfinite(k[1])
    frame, k, m = pairs[known], [one[known] for one in k], [one[known] for one in m]
    codes, seeds = np.unique(frame["seed"], return_inverse=True)
    lrs, lr = np.unique(frame["lr"], return_inverse=True)
    reason = "only one learning rate" if len(lrs) < 2 else "only one seed: no interval" if len(codes) < 2 else ""
    total = sum(float(one.sum()) for one in k)
    if not reason and total in (0, sum(float(one.sum()) for one in m)):
        what = "task fails" if failures else "network is lost"
        reason = f"{'every' if total else 'no'} {what}: there is no edge"
    if reason:
        return _no_shift(len(frame), len(codes), reason)
    group = strata(frame, ["seed", "lr"])
    groups = int(group.max()) + 1
    points = groups * len(lrs)
    index = np.concatenate([group * len(lrs) + lr, points + group * len(lrs) + lr])
    successes, trials = (_by_seed(np.tile(seeds, 2), index, np.concatenate(one), 2 * points) for one in (k, m))
    at = np.arange(2 * points)
    log_lr = np.log(lrs)[at % len(lrs)]
    group_of = at % points // len(lrs)
    X = np.column_stack([log_lr - log_lr.mean(), at >= points, group_of[:, None] == np.arange(groups)]).astype(float)
    used = trials.sum(axis=0) > 0
    weights = np.concatenate([np.ones((1, len(codes))), cluster_weights(rng, len(codes), resamples)])
    beta = firth(X[used], weights @ successes[:, used], weights @ trials[:, used])
    slopes = beta[1:, 0]
    slopes = slopes[np.isfinite(slopes)]
    if not len(slopes) or np.mean(slopes * beta[0, 0] <= 0) > _MAX_FLAT:
        return _no_shift(len(frame), len(codes), "failures do not depend on lr: there is no edge")
    logs = -beta[:, 1] / beta[:, 0]
    low, high = bootstrap_interval(logs[0], logs[1:], len(codes), level)
    shares = successes.sum(axis=0)[used] / trials.sum(axis=0)[used]
    if is_sharp(beta[0, 0], np.log(lrs), shares):
        reason, step = TOO_SHARP, float(np.median(np.diff(np.log(lrs))))
        low, high = min(low, logs[0] - step), max(high, logs[0] + step)
    factor, low, high = np.exp([logs[0], low, high])
    return _row("edge in lr", factor, low, high, np.nan, len(frame), len(codes), reason)


def compare_points(pairs: pd.DataFrame, rng: np.random.Generator, *, rate: float = FALSE_DISCOVERIES) -> pd.DataFrame:
    """Return which points of a map differ, with a bound on the share of false ones among them.

    At each configuration, pairs of seeds are tested by flipping the signs of their differences: all of them, or random
    ones above `MAX_EXACT_PAIRS` pairs. With n pairs p is at least 2 / 2^n, so fewer than 6 cannot be significant alone.

    Args:
        pairs: from `pair`.
        rng: for random sign flips.
        rate: the share of false discoveries to allow.

    Returns:
        One row per configuration: its fields that vary, `pairs`, `first`, `second`, `difference` (failure rates, or
        shares of lost networks without failure counts), `p`, `q` (Benjamini and Hochberg) and `differs` (q <= rate).

    Raises:
        AnalysisError: `rate` is not between 0 and 1.
    """
    check_share("rate", rate)
    names = ("rate_first", "rate_second") if "difference" in pairs else ("lost_first", "lost_second")
    frame = pairs[pairs[names[0]].notna() & pairs[names[1]].notna()]
    fields = [field for field in comparable_fields(frame) if field != "seed" and frame[field].nunique() > 1]
    stratum = strata(frame)
    rows = []
    for one in np.unique(stratum):
        group = frame[stratum == one]
        first, second = (group[name].to_numpy(float) for name in names)
        rows.append(
            {**{field: group[field].iloc[0] for field in fields}, "pairs": len(group), "first": first.mean(),
             "second": second.mean(), "difference": (second - first).mean(), "p": sign_flip(second - first, rng)}
        )  # fmt: skip
    table = pd.DataFrame(rows, columns=[*fields, "pairs", "first", "second", "difference", "p"])
    table["q"] = benjamini_hochberg(table["p"].to_numpy(float))
    return table.assign(differs=table["q"] <= rate)


def sign_flip(differences: np.ndarray, rng: np.random.Generator) -> float:
    """Return the two-sided p value of the hypothesis that differences are symmetric about 0.

    Args:
        differences: (n,).
        rng: for random sign flips, above `MAX_EXACT_PAIRS` differences that are not 0.

    Source: Fisher, "The Design of Experiments", section 21 (1935).
    """
    values = differences[differences != 0]
    n = len(values)
    if n == 0:
        return 1.0
    if n <= MAX_EXACT_PAIRS:
        signs = 1 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        extra = 0
    else:
        signs = rng.choice([-1.0, 1.0], (_FLIPS, n))
        extra = 1  # the observed signs are one of the flips
    reached = np.abs(signs @ values) >= abs(values.sum()) * (1 - 1e-12)
    return float((reached.sum() + extra) / (len(signs) + extra))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Return q values: the smallest false discovery rate at which each hypothesis is rejected.

        q_(i) = min over j >= i of p_(j) n / j

    Args:
        p: (n,) p values; NaN is no test and stays NaN.

    Returns:
        (n,).

    Source: Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 57 (1995).
    """
    p = np.asarray(p, float)
    q = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return q


def _differences(pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    require(pairs, ["difference"])
    known = pairs[pairs["difference"].notna()]
    return known["difference"].to_numpy(float), known["seed"].to_numpy()


def _few(pairs: int, freedom: int) -> str:
    return (
        ""
        if freedom
        else "only one seed: no standard error"
        if pairs
        else "in no pair do both networks have a failure rate"
    )


def _by_seed(seeds: np.ndarray, index: np.ndarray, values: np.ndarray, points: int) -> np.ndarray:
    """Return sums per seed and point, (seeds, points)."""
    table = np.zeros((int(seeds.max()) + 1, points))
    np.add.at(table, (seeds, index), values)
    return table


def _no_shift(pairs: int, seeds: int, reason: str) -> pd.DataFrame:
    return _row("edge in lr", np.nan, np.nan, np.nan, np.nan, pairs, seeds, reason)


def _row(
    statistic: str, estimate: float, low: float, high: float, p: float, pairs: int, seeds: int, reason: str
) -> pd.DataFrame:
    return pd.DataFrame(
        [{"statistic": statistic, "estimate": float(estimate), "low": float(low), "high": float(high), "p": float(p),
          "pairs": pairs, "seeds": seeds, "reason": reason}]
    )  # fmt: skip
