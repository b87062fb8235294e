"""Two conditions: oracles, and the error rates of intervals, equivalence test and false discovery rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_scores import LATE, scores_of, sweep_of
from scipy.stats import binomtest, false_discovery_control, permutation_test, ttest_1samp

from analysis.statistics import (
    benjamini_hochberg,
    clustered_mean,
    compare,
    compare_points,
    conditions,
    equivalence,
    explain_few_pairs,
    explain_points,
    mcnemar,
    pair,
    rate_difference,
    shift,
    sign_flip,
)
from lop_sweep.errors import AnalysisError

NAN = np.nan
LRS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)


def logistic(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def edge_at(lr: float, steepness: float = 3.0) -> Any:
    return lambda c: logistic(steepness * np.log(c["lr"] / lr))


def two_sweeps(rng: np.random.Generator, factor: float = 1.0, seeds: int = 8, **settings: Any) -> pd.DataFrame:
    first = sweep_of(edge_at(0.3), rng, seeds, lr=LRS, depth=(4, 8), **settings)
    return pair(first, sweep_of(edge_at(0.3 * factor), rng, seeds, lr=LRS, depth=(4, 8), **settings))


def pairs_of(differences: np.ndarray, seeds: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"seed": seeds, "difference": differences})


def verdicts(b: int, c: int, same: int) -> pd.DataFrame:
    first = [1.0] * b + [0.0] * c + [1.0] * same
    second = [0.0] * b + [1.0] * c + [1.0] * same
    return pd.DataFrame({"seed": range(len(first)), "lost_first": first, "lost_second": second})


def test_cells_are_paired_by_configuration_and_seed() -> None:
    rows = [{"lr": lr, "seed": seed, "late_failures": float(seed)} for lr in (0.1, 0.2) for seed in (1, 2)]
    first, second = scores_of(rows), scores_of([{**row, "late_failures": 5.0} for row in rows[:3]])
    pairs = pair(first, second)
    assert len(pairs) == 3
    assert pairs.attrs["unpaired"] == 1
    np.testing.assert_allclose(pairs["difference"] * LATE, 5 - pairs["seed"])


def test_two_values_of_a_field_are_conditions() -> None:
    frame = sweep_of(lambda c: 0.2, np.random.default_rng(0), 3, lr=(0.1, 0.2, 0.4), depth=(2, 4))
    pairs = pair(*conditions(frame, "depth", 2, 4))
    assert len(pairs) == 9
    assert "depth" not in pairs
    with pytest.raises(AnalysisError, match="must be two different values"):
        conditions(frame, "depth", 2, 2)
    with pytest.raises(AnalysisError, match="no cell has depth = 3"):
        conditions(frame, "depth", 2, 3)


def test_pairs_that_do_not_exist_are_refused() -> None:
    one, other = scores_of([{"seed": 1}]), scores_of([{"seed": 2}])
    with pytest.raises(
        AnalysisError, match="no cell of the first condition has a partner in the second: partners have"
    ):
        pair(one, other)
    with pytest.raises(AnalysisError, match="cells of one condition are there twice, so a cell has several partners"):
        pair(pd.concat([one, one]), other)
    wide = scores_of([{"seed": 1, "width": 200}, {"seed": 1, "width": 300}])
    with pytest.raises(AnalysisError, match="cells of one condition differ in width as well"):
        pair(wide, one)


def test_a_clustered_mean_equals_a_t_test_of_balanced_seeds() -> None:
    rng = np.random.default_rng(1)
    values, seeds = rng.normal(size=(6, 5)), np.repeat(np.arange(6), 5)
    theirs = ttest_1samp(values.mean(axis=1), 0)
    row = rate_difference(pairs_of(values.ravel(), seeds)).iloc[0]
    assert row["p"] == pytest.approx(theirs.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(tuple(theirs.confidence_interval()))
    assert np.isnan(clustered_mean(values[0], np.zeros(5))[1])


def test_the_equivalence_test_is_two_one_sided_tests() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(0.01, 0.05, 20)
    row = equivalence(pairs_of(values, np.arange(20)), margin=0.05).iloc[0]
    above = ttest_1samp(values, -0.05, alternative="greater").pvalue
    below = ttest_1samp(values, 0.05, alternative="less").pvalue
    assert row["p"] == pytest.approx(max(above, below))
    assert (row["p"] <= 0.05) == (row["low"] > -0.05 and row["high"] < 0.05)


def test_the_level_of_the_equivalence_test_is_kept() -> None:
    """True difference at the margin: at most 5% are called equivalent. At 0: most are."""
    rng = np.random.default_rng(3)

    def share_equivalent(difference: float) -> float:
        called = 0
        for _ in range(250):
            seeds = np.repeat(np.arange(10), 6)
            values = difference + rng.normal(0, 0.04, 10)[seeds] + rng.normal(0, 0.08, 60)
            called += equivalence(pairs_of(values, seeds), margin=0.05).iloc[0]["p"] <= 0.05
        return called / 250

    assert share_equivalent(0.05) <= 0.09
    assert share_equivalent(0.0) > 0.6


@pytest.mark.parametrize("skewed", [False, True])
def test_intervals_over_seeds_cover_the_truth(skewed: bool) -> None:
    """8 seeds of 6 pairs, 1000 repeats: 95% for normal effects of seeds, 86% for lognormal ones."""
    rng, covered = np.random.default_rng(4), 0
    for _ in range(1000):
        effects = rng.lognormal(0, 1, 8) - np.exp(0.5) if skewed else rng.normal(0, 1, 8)
        values = np.repeat(effects, 6) + rng.normal(0, 1, 48)
        mean, error, freedom = clustered_mean(values, np.repeat(np.arange(8), 6))
        covered += abs(mean) <= 2.3646 * error
    assert freedom == 7
    low, high = (0.82, 0.9) if skewed else (0.93, 0.97)
    assert low <= covered / 1000 <= high


def test_mcnemar_is_an_exact_binomial_test() -> None:
    row = mcnemar(verdicts(11, 5, 80)).iloc[0]
    assert row["p"] == pytest.approx(binomtest(5, 16).pvalue)
    assert row["estimate"] == pytest.approx(-6 / 96)
    assert row["low"] < -6 / 96 < row["high"]
    assert row["pairs"] == 96
    none = mcnemar(verdicts(0, 0, 5)).iloc[0]
    assert (none["p"], none["reason"]) == (1, "no pair has two different verdicts")
    undefined = pd.DataFrame({"seed": [1], "lost_first": [NAN], "lost_second": [1.0]})
    assert mcnemar(undefined).iloc[0]["reason"] == "in no pair can both networks be judged"


def test_the_shift_of_an_edge_is_found() -> None:
    """A factor of 1.5, from failures and from verdicts, with an intercept per depth."""
    rng = np.random.default_rng(5)
    pairs = two_sweeps(rng, 1.5)
    row = shift(pairs, rng).iloc[0]
    assert row["estimate"] == pytest.approx(1.5, rel=0.1)
    assert 1 < row["low"] < row["estimate"] < row["high"]
    verdict = shift(pairs.drop(columns="difference"), rng).iloc[0]
    assert verdict["estimate"] == pytest.approx(1.5, rel=0.25)


def test_a_sharp_edge_still_has_a_shift() -> None:
    rows = [{"lr": lr, "seed": seed} for lr in LRS for seed in range(6)]
    first, second = (
        scores_of(
            [{**row, "late_failures": 25.0 * (row["lr"] > edge), "lost": float(row["lr"] > edge)} for row in rows]
        )
        for edge in (0.25, 0.35)
    )
    row = shift(pair(first, second), np.random.default_rng(6)).iloc[0]
    assert row["estimate"] == pytest.approx(np.sqrt(0.3 * 0.4) / np.sqrt(0.2 * 0.3), rel=0.1)
    assert row["low"] < 1 < row["high"]
    assert "add learning rates" in row["reason"]


def test_intervals_of_a_shift_cover_the_truth() -> None:
    """8 seeds, effects of one logit: 93% of 300 intervals of level 95%; plain percentiles have 88%."""
    rng, covered = np.random.default_rng(7), 0
    for _ in range(60):
        row = shift(two_sweeps(rng, 1.2, spread=1.0), rng, resamples=150).iloc[0]
        covered += row["low"] <= 1.2 <= row["high"]
    assert covered / 60 >= 0.85


def test_a_shift_needs_an_edge(recwarn: pytest.WarningsRecorder) -> None:
    rng = np.random.default_rng(8)

    def reason(rate: Any, seeds: int = 4, lr: tuple[float, ...] = LRS) -> str:
        frames = [sweep_of(rate, rng, seeds, lr=lr) for _ in range(2)]
        return str(shift(pair(*frames), rng).iloc[0]["reason"])

    assert reason(lambda c: 0.3) == "failures do not depend on lr: there is no edge"
    assert reason(lambda c: 0.0) == "no task fails: there is no edge"
    assert reason(lambda c: 1.0) == "every task fails: there is no edge"
    assert reason(edge_at(0.3), seeds=1) == "only one seed: no interval"
    assert reason(edge_at(0.3), lr=(0.3,)) == "only one learning rate"
    frame = sweep_of(edge_at(0.3), rng, 4, lr=(0.1, 0.4))
    assert (
        shift(pair(*conditions(frame, "lr", 0.1, 0.4)), rng).iloc[0]["reason"] == "the conditions differ in lr itself"
    )
    assert not recwarn.list


def test_sign_flips_equal_scipys_permutations() -> None:
    values = np.array([0.1, 0.3, -0.05, 0.2, 0.4, 0.15, 0.0])
    theirs = permutation_test(
        (values, np.zeros(7)), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=1e5
    )
    assert sign_flip(values, np.random.default_rng(0)) == pytest.approx(theirs.pvalue)
    assert sign_flip(np.full(6, 0.2), np.random.default_rng(0)) == 2 / 2**6
    assert sign_flip(np.zeros(3), np.random.default_rng(0)) == 1
    many = np.random.default_rng(1).normal(0.3, 1, 40)
    assert sign_flip(many, np.random.default_rng(2)) == pytest.approx(ttest_1samp(many, 0).pvalue, abs=0.02)


def test_q_values_equal_scipys() -> None:
    p = np.random.default_rng(9).random(30) ** 2
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))
    with_gap = benjamini_hochberg(np.array([0.01, NAN, 0.04]))
    np.testing.assert_allclose(with_gap, [0.02, NAN, 0.04])


def test_false_discoveries_stay_below_their_rate() -> None:
    """30 of 40 points are the same, 80 maps: the mean share of false ones among those called different."""
    rng, shares, found = np.random.default_rng(10), [], 0
    for _ in range(80):
        values = rng.normal(0, 1, (40, 10))
        values[30:] += 2
        p = np.array([sign_flip(one, rng) for one in values])
        called = benjamini_hochberg(p) <= 0.1
        shares.append(called[:30].sum() / max(called.sum(), 1))
        found += called[30:].sum()
    assert np.mean(shares) < 0.1
    assert found > 0.5 * 80 * 10


def test_points_that_differ_are_marked() -> None:
    rng = np.random.default_rng(11)
    first = sweep_of(lambda c: 0.1, rng, 10, lr=LRS)
    second = sweep_of(lambda c: 0.6 if c["lr"] > 0.5 else 0.1, rng, 10, lr=LRS)
    table = compare_points(pair(first, second), rng)
    assert table["lr"].tolist() == list(LRS)
    assert table["differs"].tolist() == [False] * 4 + [True] * 2
    assert (table["q"] >= table["p"]).all()


@pytest.mark.parametrize(
    ("pairs", "points", "expected"),
    [
        (6, 55, "with at most 6 pairs per point no q is small enough until 35 of 55 differ in all pairs"),
        (8, 55, "with at most 8 pairs per point no q is small enough until 9 of 55 differ in all pairs"),
        (6, 1, ""), (12, 55, ""), (40, 55, ""), (6, 0, ""),
        (5, 55, "with at most 5 pairs per point no point can differ; "
                "with 6 no q is small enough until 35 of 55 differ in all pairs"),
    ],
)  # fmt: skip
def test_few_pairs_need_many_points_that_differ(pairs: int, points: int, expected: str) -> None:
    """Of 55 points with p = 2 / 2^6 or 1, 35 have q <= 0.05 together, and 34 do not."""
    table = pd.DataFrame({"pairs": [pairs] * points})
    assert explain_few_pairs(table) == expected
    assert explain_points(table)[2:] == ([expected] if expected else [])
    if (pairs, points) in ((6, 55), (8, 55)):
        needed = {6: 35, 8: 9}[pairs]
        for count in (needed - 1, needed):
            p = np.where(np.arange(points) < count, 2 / 2**pairs, 1.0)
            assert (benjamini_hochberg(p) <= 0.05).sum() == (count if count == needed else 0)


def test_everything_in_one_table() -> None:
    rng = np.random.default_rng(12)
    table = compare(two_sweeps(rng, 1.3), rng)
    assert table["statistic"].tolist() == ["failure rate", "equivalence", "verdicts", "edge in lr"]
    assert (table["reason"] == "").all()
    assert table["estimate"][0] < 0
    old = [sweep_of(edge_at(0.3), rng, 4, lr=LRS).drop(columns="late_failures") for _ in range(2)]
    assert compare(pair(*old), rng)["statistic"].tolist() == ["verdicts", "edge in lr"]


def test_few_pairs_have_a_reason() -> None:
    one = pairs_of(np.array([0.1, 0.2]), np.zeros(2))
    assert rate_difference(one).iloc[0]["reason"] == "only one seed: no standard error"
    assert equivalence(one).iloc[0]["reason"] == "only one seed: no standard error"
    same = pairs_of(np.zeros(4), np.arange(4))
    assert equivalence(same).iloc[0]["reason"] == "all pairs have the same difference: no standard error"
    none = pairs_of(np.full(2, NAN), np.arange(2))
    assert rate_difference(none).iloc[0]["reason"] == "in no pair do both networks have a failure rate"
    with pytest.raises(AnalysisError, match="margin = 2: must be between 0 and 1"):
        equivalence(one, margin=2)
