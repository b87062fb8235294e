"""What becomes of verdicts and of the edge under other definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_scores import scores_of, sweep_of

from analysis.statistics import edge, specification_curve, specifications
from lop_sweep.errors import AnalysisError

LRS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)


def logistic(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def excesses(seeds: int = 8) -> pd.DataFrame:
    """Scores whose loss grows with the learning rate by known excesses: 0.5 nats at 0.3."""
    rng = np.random.default_rng(0)
    rows = [{"lr": lr, "seed": seed, "excess": 0.5 + 2 * np.log(lr / 0.3) + rng.normal(0, 0.2)}
            for lr in LRS for seed in range(seeds)]  # fmt: skip
    return scores_of(rows)


def scorer(margin: float = 0.1, sign: float = 1.0) -> pd.DataFrame:
    frame = excesses()
    lost = (sign * frame["excess"] > margin).astype(float)
    return frame.assign(lost=lost, verdict=np.where(lost > 0, "lost", "plastic"))


def test_all_combinations_are_specifications() -> None:
    assert specifications({"margin": [0.1, 0.2], "factor": [1.5]}) == [
        {"margin": 0.1, "factor": 1.5}, {"margin": 0.2, "factor": 1.5}
    ]  # fmt: skip


def test_the_edge_follows_the_margin() -> None:
    """A margin of e moves the edge to 0.3 exp((e - 0.5) / 2)."""
    table = specification_curve(scorer, {"margin": [0.1, 0.5, 0.9]}, rng=np.random.default_rng(1))
    assert table["margin"].tolist() == [0.1, 0.5, 0.9]
    np.testing.assert_allclose(table["edge"], 0.3 * np.exp((table["margin"] - 0.5) / 2), rtol=0.06)
    assert (table["edge_low"] <= table["edge"]).all()
    assert (table["edge"] <= table["edge_high"]).all()
    assert (table["lost"] + table["plastic"] == 48).all()
    assert table["lost"].is_monotonic_decreasing
    assert table["agreement"][0] == 1
    assert table["reversed"].tolist() == (table["lost"][0] - table["lost"]).tolist()
    np.testing.assert_allclose(table["agreement"], 1 - table["reversed"] / 48)


def test_named_criteria_are_compared() -> None:
    mean = scorer(0.1)
    rate = scorer(0.5).assign(verdict=lambda f: f["verdict"].where(f["seed"] > 0, "undecided"))
    table = specification_curve({"mean": mean, "rate": rate}, rng=np.random.default_rng(2))
    assert table["criterion"].tolist() == ["mean", "rate"]
    assert table["undecided"].tolist() == [0, 6]


def test_frames_of_earlier_releases_are_read() -> None:
    frame = scorer().rename(columns={"verdict": "phase"})
    assert specification_curve({"now": frame}, rng=np.random.default_rng(3))["lost"][0] > 0


def test_no_edge_has_a_reason(recwarn: pytest.WarningsRecorder) -> None:
    rng = np.random.default_rng(4)
    table = specification_curve(scorer, {"margin": [99.0], "sign": [1.0, -1.0]}, rng=rng)
    assert table["reason"].tolist() == ["no losses"] * 2
    falling = specification_curve(scorer, {"margin": [0.1], "sign": [-1.0]}, rng=rng)
    assert falling["reason"].tolist() == ["losses do not become more frequent with lr"]
    assert specification_curve(scorer, {"margin": [-99.0]}, rng=rng)["reason"].tolist() == ["losses only"]
    frame = scorer()
    assert edge(frame[frame["lr"] == 0.3], rng)[3] == "one learning rate"
    assert edge(frame.assign(lost=np.nan), rng)[3] == "no verdicts"
    one = edge(frame[frame["seed"] == 0], rng)
    assert np.isfinite(one[0])
    assert one[3] == "one seed: no interval"
    assert not recwarn.list


def test_an_edge_is_not_extrapolated() -> None:
    """Losses become more frequent, but 1/2 would only be reached beyond the largest learning rate."""
    rng = np.random.default_rng(0)
    rows = [
        {"lr": lr, "seed": seed, "lost": float(rng.random() < 0.25 * logistic(3 * np.log(lr / 0.3)))}
        for lr in LRS
        for seed in range(20)
    ]
    middle, low, high, reason = edge(scores_of(rows), rng, resamples=50)
    assert reason == "beyond the learning rates"
    assert np.isnan([middle, low, high]).all()


def test_intervals_of_the_edge_cover_the_truth() -> None:
    """8 seeds with effects of 0.7 logits; a plain percentile bootstrap covers in 86%."""
    rng, covered = np.random.default_rng(5), 0
    for _ in range(80):
        effects = rng.normal(0, 0.7, 8)
        rows = [{"lr": lr, "seed": seed, "lost": float(rng.random() < logistic(3 * np.log(lr / 0.3) + effects[seed]))}
                for lr in LRS for seed in range(8)]  # fmt: skip
        _, low, high, _ = edge(scores_of(rows), rng, resamples=150)
        covered += low <= 0.3 <= high
    assert covered / 80 >= 0.87


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((scorer, None), "give a grid with a function"),
        ((dict[str, Any](), {"margin": [1]}), "none with frames"),
        ((scorer, {"margin": []}), "got none for margin"),
        ((scorer, {"margin": range(501)}), "501 specifications, at most 500"),
        ((dict[str, Any](), None), "no specification to compare"),
        (({"a": excesses(), "b": excesses(4)}, None), "must score the same cells"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        specification_curve(*arguments, rng=np.random.default_rng(6))


def test_a_sweep_of_rates_has_its_edge() -> None:
    rng = np.random.default_rng(7)
    frame = sweep_of(lambda c: logistic(2 * np.log(c["lr"] / 0.3)), rng, 12, spread=1.0, lr=LRS, depth=(2, 4))
    middle, low, high, reason = edge(frame, np.random.default_rng(8))
    assert reason == ""
    assert low < middle < high
    assert low < 0.3 * np.exp(np.log(0.3 / 0.7) / 2) < high


def test_a_sharp_edge_is_as_uncertain_as_its_axis() -> None:
    """All seeds agree, so a bootstrap over seeds alone would have no width."""
    rows = [{"lr": lr, "seed": seed, "lost": float(lr > 0.25)} for lr in LRS for seed in range(8)]
    middle, low, high, reason = edge(scores_of(rows), np.random.default_rng(9))
    assert (low, high) == pytest.approx((0.2, 0.3))
    assert low < middle < high
    assert "add learning rates" in reason
