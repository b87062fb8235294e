"""Binomial regression: known coefficients, R's logistic regression by hand, coverage, and degenerate sweeps."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_scores import scores_of, sweep_of
from statsmodels.api import GLM, families

from analysis.statistics import collapse, regression, sharpness
from analysis.statistics.logistic import firth, separated
from lop_sweep.errors import AnalysisError

NAN = np.nan
LRS = (0.1, 0.2, 0.4, 0.8)


def logistic(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def test_one_indicator_gives_the_log_odds_ratio() -> None:
    """60 of 100 against 30 of 100 failures: the odds ratio is (60 * 70) / (40 * 30) = 3.5."""
    rows = [{"depth": depth, "seed": seed, "late_failures": float(k), "late_tasks": 50}
            for depth, k in ((1, 15), (2, 30)) for seed in (0, 1)]  # fmt: skip
    table = regression(scores_of(rows)).set_index("term")
    assert table.loc["depth", "odds_ratio"] == pytest.approx(3.5)
    middle = (np.log(1.5) + np.log(3 / 7)) / 2
    assert table.loc["intercept", "coefficient"] == pytest.approx(middle)


def test_errors_are_those_of_a_sandwich_by_hand() -> None:
    rng = np.random.default_rng(0)
    frame = sweep_of(lambda c: logistic(2 * np.log(c["lr"]) + 2), rng, 6, spread=0.8, lr=LRS)
    X = np.column_stack([np.ones(len(frame)), np.log(frame["lr"]) - np.log(frame["lr"]).mean()])
    k, m = frame["late_failures"].to_numpy(), frame["late_tasks"].to_numpy(float)
    fit = GLM(np.column_stack([k, m - k]), X, family=families.Binomial()).fit()
    pi = fit.mu
    bread = np.linalg.inv((X.T * (m * pi * (1 - pi))) @ X)
    scores = X * (k - m * pi)[:, None]
    sums = np.stack([scores[frame["seed"] == seed].sum(axis=0) for seed in range(6)])
    n = len(frame)
    by_hand = np.sqrt(np.diag(bread @ (sums.T @ sums) @ bread) * 6 / 5 * (n - 1) / (n - 2))
    ours = regression(frame, ["log lr"])
    np.testing.assert_allclose(ours["coefficient"], fit.params)
    np.testing.assert_allclose(ours["error"], by_hand)
    assert ours.attrs["deviance"] == pytest.approx(fit.deviance)


def test_known_coefficients_are_found() -> None:
    def rate(c: dict[str, Any]) -> float:
        return logistic(
            1.5 * np.log(c["lr"] / 0.3) + 0.5 * (c["depth"] - 4) + 0.4 * np.log(c["lr"] / 0.3) * (c["depth"] - 4)
        )

    frame = sweep_of(rate, np.random.default_rng(1), 20, lr=LRS, depth=(2, 4, 6))
    table = regression(frame, ["log lr", "depth", "log lr:depth"]).set_index("term")
    truth = {"log lr": 1.5, "log lr:depth": 0.4}
    for term, value in truth.items():
        assert table.loc[term, "low"] < value < table.loc[term, "high"]
        assert table.loc[term, "p"] < 1e-6


def test_only_fields_that_vary_enter() -> None:
    frame = sweep_of(lambda c: 0.1 * c["depth"], np.random.default_rng(2), 5, depth=(2, 4), lr=LRS, delta=(2.8,))
    assert regression(frame)["term"].tolist() == ["intercept", "depth", "log lr"]
    assert regression(frame, ["depth", "delta"])["term"].tolist() == ["intercept", "depth"]


def test_ignoring_seeds_would_claim_too_much() -> None:
    """Coverage of the effect of depth with 12 seeds: 95% here, under 50% without clusters.

    Half of the seeds are at each depth, so that the seeds' effects add to the error instead of cancelling.
    """
    rng, covered, naive = np.random.default_rng(3), 0, 0
    for _ in range(80):
        effects = rng.normal(0, 0.7, 12)
        rows = [
            {"seed": seed, "depth": 2 + 2 * (seed % 2), "lr": lr,
             "late_failures": float(rng.binomial(25, logistic(effects[seed] - 0.5)))}
            for seed in range(12) for lr in LRS
        ]  # fmt: skip
        frame = scores_of(rows)
        row = regression(frame, ["depth"]).iloc[1]
        covered += row["low"] <= 0 <= row["high"]
        k = frame["late_failures"].to_numpy()
        plain = GLM(np.column_stack([k, 25 - k]), np.column_stack([np.ones(48), frame["depth"]]),
                    family=families.Binomial()).fit()  # fmt: skip
        low, high = plain.conf_int()[1]
        naive += low <= 0 <= high
    assert covered / 80 >= 0.9
    assert naive / 80 < 0.6


def test_verdicts_can_be_explained_instead_of_failures() -> None:
    frame = sweep_of(lambda c: logistic(2 * np.log(c["lr"] / 0.3)), np.random.default_rng(4), 8, lr=LRS)
    assert regression(frame, response="lost").attrs["response"] == "lost"
    assert regression(frame.drop(columns="late_failures")).attrs["response"] == "lost"
    with pytest.raises(AnalysisError, match="response = 'excess': must be one of failures, lost"):
        regression(frame, response="excess")


def test_a_sharp_edge_has_a_reason_instead_of_a_number() -> None:
    rows = [{"lr": lr, "seed": seed, "lost": float(lr > 0.3)} for lr in LRS for seed in range(4)]
    table = regression(scores_of(rows), response="lost").set_index("term")
    assert np.isnan(table.loc["log lr", "coefficient"])
    assert table.loc["log lr", "reason"] == "separated: no finite estimate"


def test_degenerate_sweeps_are_refused_or_explained(recwarn: pytest.WarningsRecorder) -> None:
    none = scores_of([{"lr": lr, "seed": seed} for lr in LRS for seed in range(3)])
    assert regression(none)["reason"].tolist() == ["no failures"] * 2
    alone = sweep_of(lambda c: 0.3, np.random.default_rng(5), 1, lr=LRS)
    table = regression(alone)
    assert table["reason"].tolist() == ["one seed: no error"] * 2
    assert table["coefficient"].notna().all()
    few = sweep_of(lambda c: 0.3, np.random.default_rng(5), 2, lr=LRS)
    assert regression(few)["reason"].tolist() == ["few seeds for so many terms: errors are too small"] * 2
    with pytest.raises(AnalysisError, match="no term varies"):
        regression(scores_of([{"seed": seed} for seed in range(4)]))
    with pytest.raises(AnalysisError, match="no cell has a verdict"):
        regression(scores_of([{"late_failures": NAN, "lost": NAN}]))
    with pytest.raises(AnalysisError, match="unknown term 'rate'"):
        regression(none, ["rate"])
    with pytest.raises(AnalysisError, match="follows from the other terms"):
        regression(sweep_of(lambda c: 0.3, np.random.default_rng(6), 2, delta=(1.0, 2.0)), ["delta", "d'"])
    assert not recwarn.list


def test_the_axis_that_made_the_edge_explains_it_best() -> None:
    """The edge lies at d' = 2, whatever delta and sigma are: d' alone has the smallest AIC."""
    frame = sweep_of(
        lambda c: logistic(4 * (float(sharpness(pd.DataFrame([{"spread": 0.7, **c}]))[0]) - 2)),
        np.random.default_rng(7), 6, delta=(0.5, 1.0, 1.5, 2.0, 2.5), sigma=(0.1, 0.5, 1.0),
    )  # fmt: skip
    table = collapse(frame)
    assert table["candidate"].tolist()[0] == "d'"
    assert table["half"][0] == pytest.approx(2, abs=0.1)
    assert table["candidate"].tolist()[-1] == "nothing"
    assert set(table["candidate"]) == {"delta", "sigma", "d'", "delta + sigma", "nothing"}


def test_a_product_of_axes_collapses_an_edge_along_it() -> None:
    frame = sweep_of(
        lambda c: logistic(3 * np.log(c["lr"] * c["depth"] / 1.5)), np.random.default_rng(8), 6, lr=LRS, depth=(2, 4, 8)
    )
    table = collapse(frame)
    assert table["candidate"].tolist()[0] == "log (lr x depth)"
    assert table["half"][0] == pytest.approx(1.5, rel=0.1)
    own = collapse(frame, {"rate": ["log lr"], "noise": ["sigma"]})
    assert own.set_index("candidate").loc["noise", "reason"] == "does not vary"
    with pytest.raises(AnalysisError, match="none of these axes varies"):
        collapse(scores_of([{"seed": seed} for seed in range(3)]))


def test_the_penalised_fit_is_finite_and_known() -> None:
    """With one intercept, Firth's estimate is the log odds of (k + 1/2) and (n - k + 1/2)."""
    one = np.ones((1, 1))
    beta = firth(one, np.array([[3.0], [0.0]]), np.array([[10.0], [10.0]]))
    np.testing.assert_allclose(beta[:, 0], np.log([3.5 / 7.5, 0.5 / 10.5]), rtol=1e-6)
    X = np.column_stack([np.ones(4), [-2, -1, 1, 2.0]])
    sharp = firth(X, np.array([[0, 0, 5, 5.0]]), np.full((1, 4), 5.0))
    assert np.isfinite(sharp).all()
    assert sharp[0, 0] == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize(
    ("successes", "expected"),
    [([0, 0, 5, 5], True), ([0, 2, 5, 5], True), ([0, 2, 4, 5], False), ([0, 1, 0, 5], False)],
)
def test_separation_is_recognised(successes: list[int], expected: bool) -> None:
    """Also quasi-separation: a single learning rate where some fail and some do not leaves the slope infinite."""
    X = np.column_stack([np.ones(4), [-2, -1, 1, 2.0]])
    assert separated(X, np.array(successes, float), np.full(4, 5.0))[1] == expected


def test_without_statsmodels_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **settings: Any) -> Any:
        if name.startswith("statsmodels"):
            raise ImportError(name)
        return real(name, *arguments, **settings)

    frame = sweep_of(lambda c: 0.3, np.random.default_rng(9), 3, lr=LRS)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AnalysisError, match=r"needs statsmodels.*pip install 'lop-sweep\[statistics\]'"):
        regression(frame)
