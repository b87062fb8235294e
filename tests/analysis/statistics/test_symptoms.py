"""Symptoms within strata: the Mantel-Haenszel classics, Simpson's paradox, placebo and prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_scores import scores_of
from statsmodels.stats.contingency_tables import StratifiedTable

from analysis.statistics import mantel_haenszel, symptom_lead, symptom_odds
from lop_sweep.errors import AnalysisError

NAN = np.nan
BERKELEY = {
    "A": ((512, 313), (89, 19)), "B": ((353, 207), (17, 8)), "C": ((120, 205), (202, 391)),
    "D": ((138, 279), (131, 244)), "E": ((53, 138), (94, 299)), "F": ((22, 351), (24, 317)),
}  # fmt: skip
"""Applicants to Berkeley, 1973, by department: men admitted and rejected, women admitted and rejected."""


def network(lost: bool, symptom: bool, **fields: Any) -> dict[str, Any]:
    """A network that is lost at task 50, with saturation from task 20."""
    return {"lost": float(lost), "onset": 50.0 if lost else NAN, "saturation_at": 20.0 if symptom else NAN, **fields}


def networks(table: tuple[tuple[int, int], tuple[int, int]], **fields: Any) -> list[dict[str, Any]]:
    (a, b), (c, d) = table
    cells = [(True, True)] * a + [(True, False)] * b + [(False, True)] * c + [(False, False)] * d
    return [network(lost, symptom, seed=seed, **fields) for seed, (lost, symptom) in enumerate(cells)]


def row_of(table: pd.DataFrame, comparison: str = "any time", symptom: str = "saturation") -> pd.Series:
    chosen = table[table["symptom"] == symptom]
    return chosen[chosen["comparison"] == comparison].iloc[0] if "comparison" in table else chosen.iloc[0]


def test_berkeley_equals_statsmodels() -> None:
    """Crude 1.84 in favour of men, within departments 0.91: Bickel, Hammel and O'Connell, Science 187 (1975)."""
    tables = np.array(list(BERKELEY.values()), float)
    ours, theirs = mantel_haenszel(tables), StratifiedTable(list(tables))
    assert ours.crude == pytest.approx(1.84, abs=5e-3)
    assert ours.odds_ratio == pytest.approx(0.905, abs=5e-4)
    assert ours.odds_ratio == pytest.approx(theirs.oddsratio_pooled)
    assert (ours.low, ours.high) == pytest.approx(theirs.oddsratio_pooled_confint())
    test = theirs.test_null_odds(correction=False)
    assert (ours.chi2, ours.p) == pytest.approx((test.statistic, test.pvalue))
    assert ours.informative == 6


def test_one_table_gives_its_odds_ratio() -> None:
    odds = mantel_haenszel(np.array([[[8, 2], [4, 6]]]))
    assert (odds.odds_ratio, odds.crude) == pytest.approx((6, 6))
    error = np.sqrt(1 / 8 + 1 / 2 + 1 / 4 + 1 / 6)
    assert np.log(odds.high / odds.low) / 2 == pytest.approx(1.959964 * error, rel=1e-6)


def test_simpsons_paradox_is_resolved() -> None:
    """The audit's duplicates: the crude odds ratio is 5, and below 1 in both configurations."""
    rows = [*networks(((36, 12), (4, 1)), depth=8), *networks(((1, 4), (8, 25)), depth=2)]
    row = row_of(symptom_odds(scores_of(rows)))
    assert row["crude"] == pytest.approx(5, abs=0.02)
    assert row["odds_ratio"] < 0.8
    assert row["p"] > 0.1
    assert (row["lost"], row["plastic"]) == (53, 38)


def test_strata_may_differ_in_more_than_seeds() -> None:
    rows = [*networks(((36, 12), (4, 1)), depth=8), *networks(((1, 4), (8, 25)), depth=2)]
    row = row_of(symptom_odds(scores_of(rows), without=["seed", "depth"]))
    assert row["odds_ratio"] == pytest.approx(row["crude"])


def test_a_common_symptom_fails_the_placebo() -> None:
    """80% of lost networks have it before their onset, and so do 73% of the plastic ones by the median onset."""
    rows = networks(((80, 20), (73, 27)))
    row = row_of(symptom_odds(scores_of(rows)), "before the onset")
    assert (row["lost_share"], row["plastic_share"]) == (0.8, 0.73)
    assert row["low"] < 1 < row["high"]


def test_a_symptom_after_the_onset_does_not_count() -> None:
    rows = [{"lost": 1.0, "onset": 10.0, "saturation_at": 30.0, "seed": seed} for seed in range(10)]
    rows += [{"seed": 20 + seed, "saturation_at": 30.0 if seed < 2 else NAN} for seed in range(10)]
    table = symptom_odds(scores_of(rows))
    assert row_of(table)["lost_share"] == 1
    assert row_of(table, "before the onset")["lost_share"] == 0
    assert row_of(table, "before the onset")["plastic_share"] == 0


def test_networks_not_at_risk_are_left_out() -> None:
    rows = networks(((8, 2), (4, 6)))
    rows += [network(False, False, seed=99, saturation_at_risk=False)] * 1
    assert row_of(symptom_odds(scores_of(rows)))["plastic"] == 10


def test_degenerate_tables_have_a_reason() -> None:
    for table, reason in (
        (((0, 0), (4, 6)), "no losses"), (((4, 6), (0, 0)), "losses only"),
        (((0, 5), (0, 5)), "nobody has the symptom"), (((5, 0), (5, 0)), "everybody has it"),
    ):  # fmt: skip
        row = row_of(symptom_odds(scores_of(networks(table))))
        assert row["reason"] == reason
        assert np.isnan(row["odds_ratio"])
    apart = [*networks(((5, 5), (0, 0)), depth=2), *networks(((0, 0), (5, 5)), depth=3)]
    assert row_of(symptom_odds(scores_of(apart)))["reason"] == "no stratum in which both vary"
    certain = row_of(symptom_odds(scores_of(networks(((5, 0), (0, 5))))))
    assert (certain["odds_ratio"], certain["reason"]) == (np.inf, "no finite logarithm")
    assert certain["p"] < 0.01
    with pytest.raises(AnalysisError, match="no cell has a verdict"):
        symptom_odds(scores_of([{"lost": NAN}]))
    with pytest.raises(AnalysisError, match="unknown configuration field 'sed'"):
        symptom_odds(scores_of([{}]), without=["sed"])


def test_a_window_is_counted_by_hand() -> None:
    """Windows (10, 20] and (20, 30] of 30 tasks; one network has the symptom from task 5, and is lost at task 15."""
    rows = [
        {"seed": 0, "onset": 15.0, "lost": 1.0, "saturation_at": 5.0}, {"seed": 1}, {"seed": 2, "saturation_at": 25.0},
        {"seed": 3, "onset": 5.0, "lost": 1.0, "saturation_at": 2.0}, {"seed": 4, "onset": 30.0, "lost": 1.0},
    ]  # fmt: skip
    row = row_of(symptom_lead(scores_of([{**row, "tasks": 30} for row in rows])))
    assert (row["with_symptom"], row["onsets_with"]) == (1, 1)
    assert (row["without_symptom"], row["onsets_without"]) == (3 + 3, 1)
    assert row["reason"] == "no finite logarithm"


def test_a_symptom_is_known_once_it_has_held() -> None:
    """With hold = 3 a symptom that begins at task 9 is not known at task 10."""
    rows = [{"tasks": 30, "saturation_at": at, "seed": seed} for seed, at in enumerate((8.0, 9.0))]
    row = row_of(symptom_lead(scores_of(rows, hold=3), horizon=10))
    assert row["with_symptom"] == 1
    assert row["without_symptom"] == 1


def simulate(rng: np.random.Generator, effect: float, seeds: int = 12) -> pd.DataFrame:
    """Return networks whose symptom multiplies the hazard by `effect`; both grow with depth."""
    rows = []
    for depth in (1, 2, 3, 4):
        for seed in range(seeds):
            at = rng.geometric(0.01 * depth)
            hazard = 0.006 * depth * np.where(np.arange(1, 101) > at, effect, 1)
            hits = np.flatnonzero(rng.random(100) < hazard)
            onset = float(hits[0] + 1) if len(hits) else NAN
            rows.append({"depth": depth, "seed": seed, "onset": onset, "lost": float(len(hits) > 0),
                         "saturation_at": float(at) if at <= 100 else NAN})  # fmt: skip
    return scores_of(rows)


def test_prediction_keeps_its_level_and_finds_an_effect() -> None:
    """Of sweeps without an effect 3.6% have p < 0.05; with losses 5 times as likely, 91%."""
    rng = np.random.default_rng(0)
    null = [row_of(symptom_lead(simulate(rng, 1.0)))["p"] < 0.05 for _ in range(100)]
    real = [row_of(symptom_lead(simulate(rng, 5.0)))["p"] < 0.05 for _ in range(30)]
    assert np.mean(null) < 0.1
    assert np.mean(real) > 0.7
    assert 0 < row_of(symptom_lead(simulate(rng, 3.0)))["hazard_with"] < 1


def test_windows_need_a_task() -> None:
    with pytest.raises(AnalysisError, match="horizon = 0: must be at least 1 task"):
        symptom_lead(scores_of([{}]), horizon=0)
